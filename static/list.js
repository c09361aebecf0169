// The list of sessions: ticks outlive the news, and one tick takes the whole page.
const ticks = (root) => [...root.querySelectorAll('input[name="session"]')];
const byId = (id) => document.getElementById(id);

function showAll() {
  const all = byId("tick-all");
  if (!all) return;
  const on = ticks(document).filter((tick) => tick.checked).length;
  all.checked = on > 0 && on === ticks(document).length;
  all.indeterminate = on > 0 && !all.checked;
}

document.addEventListener("change", (event) => {
  if (event.target.id === "tick-all") for (const tick of ticks(document)) tick.checked = event.target.checked;
  showAll();
});

// What somebody has ticked and chosen moves into the new list before it takes the old one's place.
document.addEventListener("htmx:oobBeforeSwap", (event) => {
  if (event.detail.target.id !== "panel-list") return;
  const ticked = new Set(ticks(document).filter((tick) => tick.checked).map((tick) => tick.value));
  for (const tick of ticks(event.detail.fragment)) tick.toggleAttribute("checked", ticked.has(tick.value));
  const [old, fresh] = [byId("which"), event.detail.fragment.querySelector("#which")];
  if (old && fresh) fresh.options[old.selectedIndex].setAttribute("selected", "");
});
document.addEventListener("htmx:oobAfterSwap", showAll);

// Done: what was ticked for it is not ticked for the next thing.
document.addEventListener("htmx:afterRequest", (event) => {
  if (event.target.id !== "many" || !event.detail.successful) return;
  for (const tick of ticks(document)) tick.checked = false;
  showAll();
});

// The order of a small screen, where the table has no headings to press.
document.addEventListener("change", (event) => event.target.name === "sort" && event.target.form.requestSubmit());
