// Keeps a webhook's deliveries fresh: the page is read again every few seconds, and the table replaced where it changed.
import { showTimes } from "./times.js";

const EVERY = 3000;
const table = () => document.getElementById("deliveries");
let shown = ""; // what the server said last: the table itself has its times rewritten

async function refresh() {
  if (document.hidden || table().contains(document.activeElement)) return;
  const answer = await fetch(location.pathname + location.search, { headers: { Accept: "text/html", "X-Oxy-Language": document.documentElement.lang } });
  if (!answer.ok || answer.redirected) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("deliveries");
  if (!fresh || table().contains(document.activeElement)) return;
  // Each form carries a token of its own: only what people see counts.
  if (fresh.textContent === shown) return;
  shown = fresh.textContent;
  table().replaceWith(document.adoptNode(fresh));
  showTimes();
}

// After a secret was shown, or a form refused, the page's address takes no GET.
if (!/\/(new|change|rotate)$/.test(location.pathname)) setInterval(() => refresh().catch(() => {}), EVERY);
