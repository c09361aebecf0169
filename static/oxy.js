// The live feed of a page: says when it is down, and brings it back.
import { showTimes } from "./times.js";

const SILENCE = 40000; // the server speaks at least every 15 s
let heard = Date.now();

const byId = (id) => document.getElementById(id);
const feed = () => byId("feed");

function announce() {
  const [status, place] = [byId("status"), byId("announce")];
  if (!status || place.dataset.status === status.dataset.status) return;
  if (place.dataset.status) place.textContent = status.textContent;
  place.dataset.status = status.dataset.status;
}

// A new element gets a new socket, and takes the old one's down with it, whatever state that one is in.
function renew() {
  heard = Date.now();
  const fresh = feed().cloneNode(true);
  fresh.dataset.state = "down";
  htmx.swap(feed(), fresh.outerHTML, { swapStyle: "outerHTML" });
}

htmx.config.wsReconnectDelay = (tries) => Math.min(500 * 2 ** tries, 8000) * (0.5 + Math.random() / 2);

// Whoever shows the same content already is left alone: no blinking, no lost focus.
document.addEventListener("htmx:oobBeforeSwap", (event) => {
  const news = event.detail.fragment.firstElementChild;
  if (news && news.dataset.v && news.dataset.v === event.detail.target.dataset.v) event.detail.shouldSwap = false;
});

// The feed may be faster than the answer to a click, and have replaced the button: then it has shown everything already.
document.addEventListener("htmx:beforeSwap", (event) => {
  if (!event.detail.requestConfig.elt.isConnected) event.detail.shouldSwap = false;
});

document.addEventListener("htmx:wsAfterMessage", () => {
  heard = Date.now();
  feed().dataset.state = "up";
  showTimes();
  announce();
});

document.addEventListener("htmx:wsClose", (event) => {
  feed().dataset.state = "down";
  const code = event.detail.event.code;
  if (code === 4401 || code === 4403) location.reload(); // the server sends whoever may not see this to the login page
  else if (![1006, 1011, 1012, 1013, 4404].includes(code)) setTimeout(renew, 1000); // htmx retries only these four
});

document.addEventListener("htmx:afterRequest", (event) => {
  byId("trouble").hidden = event.detail.successful || [409, 422].includes(event.detail.xhr.status);
  showTimes();
});
document.addEventListener("visibilitychange", () => {
  if (!document.hidden && feed().dataset.state === "down") renew();
});
window.addEventListener("online", () => renew());

setInterval(() => {
  if (Date.now() - heard > SILENCE) renew();
}, 5000);
announce();
