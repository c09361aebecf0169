"""A webhook receiver that verifies Oxy's signatures. It needs Python 3.9 or newer and nothing else.

OXY_WEBHOOK_SECRET=whsec_... PORT=9000 python webhook_receiver.py
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SECRET = os.environ["OXY_WEBHOOK_SECRET"]
TOLERANCE = 300  # seconds that a signature is good for: an old request that somebody recorded is refused
LARGEST = 1_000_000  # bytes; no event is larger

# A delivery can come twice: when its answer is lost, Oxy sends it again with the same id.
# A real program keeps these where it keeps its data, and in the same transaction.
seen = set()


def is_genuine(header, body):
    """Whether `X-Oxy-Signature` (t=<unix time>,v1=<hex>) is the signature of this body, and recent."""
    parts = dict(part.split("=", 1) for part in header.split(",") if "=" in part)
    sent_at = parts.get("t", "")
    if not sent_at.isascii() or not sent_at.isdigit() or abs(time.time() - int(sent_at)) > TOLERANCE:
        return False
    expected = hmac.new(SECRET.encode(), sent_at.encode() + b"." + body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected.encode(), parts.get("v1", "").encode())


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        length = int(self.headers.get("Content-Length", "0"))
        if length > LARGEST:
            return self.answer(413)
        body = self.rfile.read(length)  # the bytes as they came: parsing and printing JSON again would change them
        if not is_genuine(self.headers.get("X-Oxy-Signature", ""), body):
            return self.answer(401)
        delivery = self.headers["X-Oxy-Delivery"]
        if delivery not in seen:
            seen.add(delivery)
            event = json.loads(body)
            print(event["id"], event["event"], event["session_id"], flush=True)
        self.answer(204)  # answer soon: what takes long belongs into a queue of your own

    def answer(self, status):
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *arguments):
        pass


server = ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "9000"))), Receiver)
print("listening on", server.server_port, flush=True)
server.serve_forever()
