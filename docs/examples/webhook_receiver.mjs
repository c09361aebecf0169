// A webhook receiver that verifies Oxy's signatures. It needs Node 18 or newer and nothing else.
//
//     OXY_WEBHOOK_SECRET=whsec_... PORT=9000 node webhook_receiver.mjs

import { createHmac, timingSafeEqual } from "node:crypto";
import { createServer } from "node:http";

const SECRET = process.env.OXY_WEBHOOK_SECRET;
if (!SECRET) throw new Error("OXY_WEBHOOK_SECRET is not set.");
const TOLERANCE = 300; // seconds that a signature is good for: an old request that somebody recorded is refused
const LARGEST = 1_000_000; // bytes; no event is larger

// A delivery can come twice: when its answer is lost, Oxy sends it again with the same id.
// A real program keeps these where it keeps its data, and in the same transaction.
const seen = new Set();

// Whether `X-Oxy-Signature` (t=<unix time>,v1=<hex>) is the signature of this body, and recent.
function isGenuine(header, body) {
  const [, sentAt, signature] = /^t=(\d{1,15}),v1=([0-9a-f]{64})$/.exec(header ?? "") ?? [];
  if (!sentAt || Math.abs(Date.now() / 1000 - Number(sentAt)) > TOLERANCE) return false;
  const expected = createHmac("sha256", SECRET).update(`${sentAt}.`).update(body).digest();
  return timingSafeEqual(expected, Buffer.from(signature, "hex"));
}

const server = createServer(async (request, response) => {
  const parts = [];
  let size = 0;
  for await (const part of request) {
    size += part.length;
    if (size > LARGEST) return response.writeHead(413, { Connection: "close" }).end();
    parts.push(part);
  }
  const body = Buffer.concat(parts); // the bytes as they came: parsing and printing JSON again would change them
  if (!isGenuine(request.headers["x-oxy-signature"], body)) return response.writeHead(401).end();
  const delivery = request.headers["x-oxy-delivery"];
  if (!seen.has(delivery)) {
    seen.add(delivery);
    const event = JSON.parse(body);
    console.log(event.id, event.event, event.session_id);
  }
  response.writeHead(204).end(); // answer soon: what takes long belongs into a queue of your own
});

server.listen(Number(process.env.PORT ?? 9000), "127.0.0.1", () => console.log("listening on", server.address().port));
