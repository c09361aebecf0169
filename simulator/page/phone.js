// The page on which a person holds a simulated phone. It asks the control server once a second, and draws what has changed.
"use strict";

const POLL = 1000;
// Only the console on this computer may hand over a QR code.
const CONSOLE_ORIGIN = /^http:\/\/(127\.0\.0\.1|localhost)(:\d+)?$/;

const $ = (id) => document.getElementById(id);
let chosen = location.hash.slice(1);
let offered = "";
let drawn = {};
let turn = 0;

async function ask(method, path, body) {
  let response, answer;
  try {
    const headers = body === undefined ? {} : { "Content-Type": "application/json" };
    response = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
    answer = await response.json();
  } catch {
    throw new Error(inWords("The simulator does not answer. Is it still running?"));
  }
  if (!response.ok) throw new Error(inWords(answer.error));
  return answer;
}

function say(text, bad = false) {
  const notice = $("notice");
  notice.textContent = text;
  notice.classList.toggle("bad", bad);
  notice.hidden = !text;
}

// Runs what a button starts: the button rests meanwhile, and what went wrong is said in words.
async function act(button, work, done) {
  button.disabled = true;
  try {
    const answer = await work();
    say(done ? done(answer) : "");
  } catch (error) {
    say(error.message, true);
  } finally {
    button.disabled = false;
    await refresh();
  }
}

function element(tag, text, attributes = {}) {
  const made = document.createElement(tag);
  made.textContent = text;
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

// Draws a part of the page only when what it shows has changed, so that focus and scroll position stay.
function draw(name, value, paint) {
  const now = JSON.stringify(value);
  if (drawn[name] === now) return;
  drawn[name] = now;
  paint(value);
}

const person = (jid) => jid.split(/[:@]/)[0];
const clock = (at) => new Date(at * 1000).toLocaleTimeString(document.documentElement.lang, { hour: "2-digit", minute: "2-digit" });

function paintPhones(phones) {
  $("phone-list").replaceChildren(...phones.map((phone) => {
    const item = document.createElement("li");
    const attributes = { type: "button", "data-number": phone.number, "aria-current": String(phone.number === chosen) };
    const button = element("button", phone.name, attributes);
    button.append(element("small", phone.number + (phone.online ? "" : ` · ${inWords("offline")}`)));
    button.addEventListener("click", () => choose(phone.number));
    item.append(button);
    return item;
  }));
  $("known-numbers").replaceChildren(...phones.map((phone) => element("option", phone.name, { value: phone.number })));
}

function paintDevices(devices) {
  $("no-devices").hidden = devices.length > 0;
  $("devices").replaceChildren(...devices.map((device) => {
    const item = element("li", device.label || inWords("Linked device"), { "data-jid": device.jid });
    item.append(element("small", `${inWords(device.connected ? "Connected" : "Not connected")} · ${device.jid}`));
    const button = element("button", inWords("Unlink"), { type: "button", class: "danger", "aria-label": `${inWords("Unlink")} ${device.label} ${device.jid}` });
    button.addEventListener("click", () => act(button, () => ask("POST", `/api/phones/${chosen}/unlink`, { jid: device.jid }), () => inWords("The device is unlinked.")));
    item.append(button);
    return item;
  }));
}

function paintMessages(lines) {
  $("no-messages").hidden = lines.length > 0;
  const list = $("messages");
  list.replaceChildren(...lines.map((line) => {
    const item = element("li", line.text ?? inWords("A message that this phone could not read."), { class: line.direction, "data-id": line.id });
    item.classList.toggle("unreadable", line.text === null);
    const who = {
      in: `${inWords("from")} ${person(line.sender)}`,
      out: `${inWords("to")} ${person(line.chat)}`,
      own: `${inWords("to")} ${person(line.chat)}, ${inWords("by a linked device")}`,
    };
    item.append(element("small", [who[line.direction], clock(line.at), inWords(line.status), line.error].filter(Boolean).join(" · ")));
    return item;
  }));
  list.scrollTop = list.scrollHeight;
}

function paintFaults({ faults, active }) {
  $("fault-list").replaceChildren(...Object.entries(faults).map(([name, fault]) => {
    const item = element("li", inWords(fault.sentence), { "data-fault": name });
    const form = element("form", "", { class: "inputs" });
    for (const [parameter, value] of Object.entries(fault.parameters)) {
      const label = element("label", inWords(parameter === "jid" ? "device" : parameter));
      label.append(element("input", "", { name: parameter, value, autocomplete: "off", placeholder: value === "" ? inWords("all") : "" }));
      form.append(label);
    }
    const button = element("button", inWords(name.replaceAll("_", " ")), { class: "plain", id: `fault-${name}` });
    form.append(button);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      act(button, () => ask("POST", `/api/faults/${name}`, Object.fromEntries(new FormData(form))), () => inWords("Done."));
    });
    item.append(form);
    return item;
  }));
}

function select(number) {
  chosen = number;
  history.replaceState(null, "", `#${number}`);
  drawn = {};
}

async function choose(number) {
  select(number);
  say("");
  await refresh();
}

// An answer that was asked for before something newer is not drawn: it would take back what a person has just done.
async function refresh() {
  const mine = ++turn;
  const { phones } = await ask("GET", "/api/phones");
  if (mine !== turn) return;
  if (!phones.some((phone) => phone.number === chosen)) chosen = phones.length ? phones[0].number : "";
  draw("phones", [phones, chosen], ([known]) => paintPhones(known));
  $("phone").hidden = !chosen;
  $("no-phones").hidden = Boolean(chosen);
  if (chosen) {
    const phone = await ask("GET", `/api/phones/${chosen}`);
    if (mine !== turn) return;
    $("phone-title").textContent = phone.name;
    $("phone-number").textContent = `+${phone.number}`;
    $("online").checked = phone.online;
    draw("devices", phone.devices, paintDevices);
    draw("messages", phone.messages, paintMessages);
  }
  $("offer").hidden = !offered;
  const trouble = await ask("GET", "/api/faults");
  if (mine !== turn) return;
  draw("faults", trouble.faults, () => paintFaults(trouble));
  const active = Object.keys(trouble.active).map((name) => inWords(name.replaceAll("_", " ")));
  $("active-faults").textContent = active.length ? `${inWords("Now:")} ${active.join(", ")}.` : inWords("Nothing is wrong.");
  $("clear-faults").disabled = !active.length;
}

const linked = (answer) => `${inWords("Linked:")} ${answer.jid}`;

function onSubmit(form, button, work, done, clear = []) {
  $(form).addEventListener("submit", (event) => {
    event.preventDefault();
    // Emptied before anything is drawn: what a person types next must stay.
    act($(button), work, (answer) => { clear.forEach((id) => { $(id).value = ""; }); return done(answer); });
  });
}

onSubmit("new-phone", "create-phone", () => {
  const fields = { number: $("new-number").value.replace(/\D/g, ""), name: $("new-name").value.trim() };
  return ask("POST", "/api/phones", fields);
}, (phone) => { select(phone.number); return ""; }, ["new-number", "new-name"]);
onSubmit("scan", "scan-button", () => ask("POST", `/api/phones/${chosen}/scan`, { code: $("qr-text").value.trim() }), linked, ["qr-text"]);
onSubmit("enter-code", "code-button", () => ask("POST", `/api/phones/${chosen}/enter-code`, { code: $("code").value }), linked, ["code"]);
onSubmit("send", "send-button", () => ask("POST", `/api/phones/${chosen}/send`, { to: $("to").value, text: $("text").value }), () => "", ["text"]);

$("scan-offered").addEventListener("click", () => {
  const code = offered;
  act($("scan-offered"), () => ask("POST", `/api/phones/${chosen}/scan`, { code }), (answer) => { offered = ""; return linked(answer); });
});
$("online").addEventListener("change", () => act($("online"), () => ask("POST", `/api/phones/${chosen}/online`, { online: $("online").checked })));
$("clear-faults").addEventListener("click", () => act($("clear-faults"), () => ask("DELETE", "/api/faults"), () => inWords("All trouble is over.")));

window.addEventListener("message", (event) => {
  if (!CONSOLE_ORIGIN.test(event.origin) || event.data?.type !== "oxy-qr" || typeof event.data.code !== "string") return;
  offered = event.data.code;
  $("offer").hidden = !offered;
});
// The console sends its code once it hears that this page is there.
if (window.opener) window.opener.postMessage({ type: "oxy-phone-ready" }, "*");

async function keepFresh() {
  try {
    await refresh();
    if ($("notice").dataset.lost) { delete $("notice").dataset.lost; say(""); }
  } catch (error) {
    say(error.message, true);
    $("notice").dataset.lost = "1";
  }
  setTimeout(keepFresh, POLL);
}
keepFresh();
