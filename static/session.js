// A session's page: kills a QR code on the screen at the moment it dies, and hands it to the simulated phone.
let ahead = -Infinity; // server time minus performance.now(), by the message that travelled fastest
let shown = null; // the code on the screen, and when it dies by each of this machine's two clocks
let phone = null; // the window of the simulated phone
let ready = false;

const byId = (id) => document.getElementById(id);

function readClock() {
  ahead = Math.max(ahead, Number(byId("clock").dataset.now) - performance.now());
  const qr = byId("qr");
  shown = null;
  if (!qr || qr.dataset.state !== "live") return;
  const end = Number(qr.dataset.expires) - ahead;
  // The monotonic clock stands still while a machine sleeps; the other one does not.
  shown = { qr, end, wall: Date.now() + end - performance.now(), life: qr.dataset.expires - qr.dataset.issued };
  tick();
}

function tick() {
  if (!shown || !shown.qr.isConnected) return;
  const left = Math.min(shown.end - performance.now(), shown.wall - Date.now());
  if (left <= 0) {
    shown.qr.dataset.state = "dead";
    delete shown.qr.dataset.code;
    shown = null;
    return;
  }
  byId("qr-clock").setAttribute("stroke-dashoffset", 1 - left / shown.life);
  byId("qr-left").textContent = `${Math.ceil(left / 1000)} s`;
  clearTimeout(tick.timer);
  tick.timer = setTimeout(tick, Math.min(left, 250));
}

function handOver() {
  const qr = byId("qr");
  if (phone && qr && qr.dataset.code) {
    phone.postMessage({ type: "oxy-qr", code: qr.dataset.code }, new URL(qr.dataset.control).origin);
  }
}

document.addEventListener("click", (event) => {
  if (!event.target.closest("#simulated-scan")) return;
  const control = byId("qr").dataset.control;
  if (phone && !phone.closed && ready) {
    phone.focus();
    handOver();
  } else {
    ready = false;
    phone = window.open(control, "oxy-phone");
  }
});

window.addEventListener("message", (event) => {
  if (event.source !== phone || !event.data || event.data.type !== "oxy-phone-ready") return;
  const qr = byId("qr");
  if (!qr || !qr.dataset.control || event.origin !== new URL(qr.dataset.control).origin) return;
  ready = true;
  handOver();
});

document.addEventListener("htmx:wsAfterMessage", readClock);
document.addEventListener("htmx:afterRequest", readClock);
document.addEventListener("visibilitychange", tick);
readClock();
