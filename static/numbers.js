// Phone numbers: written as their country writes them while somebody types, and what is wrong with one said beside it.
let asked = 0;

const digits = (text) => text.replace(/\D/g, "");

async function check(field) {
  const mine = (asked += 1);
  const place = document.getElementById(`${field.id}-check`);
  // An address or a name of a group is no number.
  if (!digits(field.value) || /[^\d\s()+./-]/.test(field.value)) {
    place.textContent = "";
    return;
  }
  const headers = { "X-Oxy-Language": document.documentElement.lang };
  const answer = await fetch(`${field.dataset.check}?phone=${encodeURIComponent(field.value)}`, { headers });
  if (!answer.ok || answer.redirected || mine !== asked) return;
  const { shown, problem } = await answer.json();
  if (digits(shown) !== digits(field.value)) return;
  // Only at the end of the line: nobody's caret is moved while they correct the middle.
  if (field.selectionStart === field.value.length) field.value = shown;
  // While somebody is still typing, a number is only unfinished.
  place.textContent = problem && document.activeElement !== field ? problem : shown;
}

document.addEventListener("input", (event) => {
  const field = event.target;
  if (!field.dataset.check || (event.inputType || "").startsWith("delete")) return;
  clearTimeout(field.timer);
  field.timer = setTimeout(() => check(field).catch(() => {}), 150);
});
document.addEventListener("focusout", (event) => {
  if (event.target.dataset.check) check(event.target).catch(() => {});
});
