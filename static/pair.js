// A customer's pairing page: hands the token behind the # to the server, and takes it out of the address.
const place = document.getElementById("pair-link");

async function open(token) {
  history.replaceState(null, "", location.pathname);
  const headers = JSON.parse(document.body.getAttribute("hx-headers"));
  await fetch(place.dataset.open, { method: "POST", headers, body: new URLSearchParams({ token }) });
  location.reload();
}

function read() {
  if (location.hash.length > 1) open(location.hash.slice(1));
}

window.addEventListener("hashchange", read);
read();
