"""Listens to Oxy's events, and goes on where it left off. It needs `pip install websockets`.

OXY_URL=ws://localhost:8000/ws/events OXY_TOKEN=oxy_... python event_socket.py last-id.txt
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

URL, TOKEN = os.environ["OXY_URL"], os.environ["OXY_TOKEN"]
place = Path(sys.argv[1])


def handle(message):
    if "id" in message:
        print(message["id"], message["event"], message["session_id"], flush=True)
    elif message.get("gap"):
        print("some events are too old to be had: read the sessions again", flush=True)
    # Stored after the event was handled: if this program ends in between, the event comes again. And stored by renaming, since
    # a file that is being written when the program ends would be empty.
    fresh = place.with_suffix(".new")
    fresh.write_text(str(message.get("id", message.get("last_id"))))
    fresh.replace(place)


async def listen():
    # `connect` used as an iterator comes back by itself, with growing pauses.
    async for socket in connect(URL):
        asked = {"token": TOKEN}
        if place.exists():
            asked["last_id"] = int(place.read_text())
        try:
            await socket.send(json.dumps(asked))
            async for text in socket:
                handle(json.loads(text))
        except ConnectionClosed:
            pass
        if socket.close_code in (4400, 4401, 4403, 4404):
            sys.exit(f"refused: {socket.close_code}")


asyncio.run(listen())
