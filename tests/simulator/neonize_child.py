"""The real neonize in a process of its own, driven by lines of JSON: commands on standard input, events on a descriptor.

Run as `python neonize_child.py STORE UUID DESCRIPTOR` with the simulator's environment. It stands for no part of the
product: it is the shortest client with which the simulator can be tried.
"""

from __future__ import annotations

import ctypes
import json
import logging
import os
import sys
import threading
import types
from typing import Any

EVENTS = os.fdopen(int(sys.argv[3]), "w", buffering=1)
LOCK = threading.Lock()
WHATSAPP_ROOT = bytes.fromhex("142375574d0a587166aae71ebe516437c4a28b73e3695c6ce1f7f9545da8ee6b")


def tell(event: str, **fields: Any) -> None:
    with LOCK:
        EVENTS.write(json.dumps({"event": event, **fields}) + "\n")


def trust_simulator(root: bytes) -> None:
    """Overwrite the pinned Noise root key in the loaded library (wire.md, 1)."""
    hits = []
    with open("/proc/self/maps") as maps:
        for line in maps:
            span, mode, *_ = line.split()
            if "neonize" in line and mode.startswith("rw"):
                start, end = (int(part, 16) for part in span.split("-"))
                data = ctypes.string_at(start, end - start)
                hits += (
                    [start + i for i in range(len(data)) if data.startswith(WHATSAPP_ROOT, i)]
                    if WHATSAPP_ROOT in data
                    else []
                )
    if len(hits) != 1:
        raise SystemExit(f"the root key stands {len(hits)} times in the library")
    ctypes.memmove(hits[0], root, 32)


def main() -> None:
    store, uuid = sys.argv[1:3]
    # neonize wants libmagic at its import, for media alone, which no test here sends.
    sys.modules["magic"] = types.ModuleType("magic")
    from neonize.client import NewClient
    from neonize.events import (
        ClientOutdatedEv,
        ConnectedEv,
        DisconnectedEv,
        GroupInfoEv,
        JoinedGroupEv,
        LoggedOutEv,
        MessageEv,
        PairStatusEv,
        ReceiptEv,
        StreamReplacedEv,
        TemporaryBanEv,
        UndecryptableMessageEv,
    )
    from neonize.utils.enum import Presence
    from neonize.utils.jid import build_jid

    logging.getLogger().setLevel(os.environ.get("NEONIZE_LOG") or "ERROR")
    logging.getLogger("whatsmeow").setLevel(os.environ.get("NEONIZE_LOG") or "ERROR")
    trust_simulator(bytes.fromhex(os.environ["OXY_SIMULATOR_ROOT"]))

    class Client(NewClient):
        def _NewClient__onLoginStatus(self, uuid: int, status: int) -> None:
            tell("status", name=ctypes.string_at(status).decode())

    client = Client(store, uuid=uuid)
    client.event.qr(lambda _, code: tell("qr", code=code.decode()))

    @client.event(MessageEv)
    def _message(_: Any, event: Any) -> None:
        text = event.Message.conversation or event.Message.extendedTextMessage.text
        source = event.Info.MessageSource
        sender = f"{source.Sender.User}@{source.Sender.Server}"
        tell("message", text=text, id=event.Info.ID, sender=sender, from_me=source.IsFromMe, group=source.IsGroup)

    @client.event(ReceiptEv)
    def _receipt(_: Any, event: Any) -> None:
        tell("receipt", ids=list(event.MessageIDs), type=event.Type)

    @client.event(TemporaryBanEv)
    def _ban(_: Any, event: Any) -> None:
        tell("ban", code=event.Code, expire=event.Expire)

    for name, kind in {
        "connected": ConnectedEv,
        "disconnected": DisconnectedEv,
        "logged-out": LoggedOutEv,
        "replaced": StreamReplacedEv,
        "paired": PairStatusEv,
        "undecryptable": UndecryptableMessageEv,
        "outdated": ClientOutdatedEv,
        "joined": JoinedGroupEv,
        "group-info": GroupInfoEv,
    }.items():
        client.event(kind)(lambda _, event, name=name: tell(name))

    def connect() -> None:
        try:
            client.connect()
        except Exception as error:
            tell("connect-failed", error=str(error))
        tell("connect-returned")

    def run(do: str, args: dict[str, Any]) -> Any:
        if do == "send":
            return client.send_message(build_jid(args["to"], args.get("server", "s.whatsapp.net")), args["text"]).ID
        if do == "pair":
            return client.PairPhone(args["number"], True)
        if do == "present":
            return client.send_presence(Presence.AVAILABLE)
        if do == "create_group":
            return client.create_group(args["name"], [build_jid(number) for number in args["members"]]).JID.User
        if do == "on_whatsapp":
            return [found.IsIn for found in client.is_on_whatsapp(*args["numbers"])]
        if do == "logout":
            return client.logout()
        if do == "me":
            return client.get_me().PushName
        raise ValueError(do)

    def obey(line: str) -> None:
        command = json.loads(line)
        try:
            tell("done", n=command["n"], result=run(command["do"], command["args"]))
        except Exception as error:
            tell("done", n=command["n"], error=str(error) or type(error).__name__)

    threading.Thread(target=connect, daemon=True).start()
    for line in sys.stdin:
        threading.Thread(target=obey, args=(line,), daemon=True).start()
    os._exit(0)


if __name__ == "__main__":
    main()
