"""Driving a simulator that runs, from the command line, through its control server."""

from __future__ import annotations

import argparse
import json
import sys
import urllib.error
import urllib.request
from typing import Any

from simulator.errors import SimulatorError
from simulator.faults import CATALOGUE

# Longer than a phone waits for the device that it links.
TIMEOUT = 40


def ask(control: str, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """One request to the control server at `control`; SimulatorError with its sentence where it refuses."""
    if not control:
        raise SimulatorError("Say where the simulator is: --control URL, or OXY_SIMULATOR_CONTROL in the environment.")
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(  # noqa: S310
        control.rstrip("/") + path, data, {"Content-Type": "application/json"}, method=method
    )
    # A proxy from the environment must not come between two programs on this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=TIMEOUT) as response:
            answer: dict[str, Any] = json.load(response)
            return answer
    except urllib.error.HTTPError as error:
        raise SimulatorError(json.load(error)["error"]) from None
    except (OSError, ValueError):
        raise SimulatorError(f"No simulator answers at {control}.") from None


def add_commands(commands: Any, control: str) -> None:
    """The commands `phone` and `fault`."""
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--control", default=control, help="address of the control server (OXY_SIMULATOR_CONTROL)")
    phone = commands.add_parser("phone", parents=[shared], help="use a phone")
    phone.add_argument("do", choices=sorted(PHONE_COMMANDS), help="what to do with it")
    phone.add_argument("--number", required=True, help="its phone number, with country code")
    phone.add_argument("--name", default="", help="its owner's name, for a new phone")
    phone.add_argument("--to", default="", help="send: the number or the group to send to")
    phone.add_argument(
        "text",
        nargs="?",
        default="",
        help="the code, the text or the device; read from standard input where it is left out",
    )
    phone.set_defaults(run=_phone)
    fault = commands.add_parser("fault", parents=[shared], help="cause trouble")
    fault.add_argument("name", choices=[*CATALOGUE, "clear", "list"])
    fault.add_argument("parameters", nargs="*", metavar="NAME=VALUE")
    fault.set_defaults(run=_fault)


def _phone(options: argparse.Namespace) -> int:
    ask(options.control, "POST", "/api/phones", {"number": options.number, "name": options.name})
    method, action, field = PHONE_COMMANDS[options.do]
    text = options.text or (sys.stdin.readline().strip() if field else "")
    body: dict[str, Any] = {field: text} if field else {}
    if options.do == "send":
        body["to"] = options.to
    elif options.do in ("online", "offline"):
        body["online"] = options.do == "online"
    answer = ask(options.control, method, f"/api/phones/{options.number}{action}", body if method == "POST" else None)
    for key in ("messages", "devices"):
        if options.do == key:
            _print_each(answer[key])
            return 0
    sys.stdout.write(f"{answer.get('jid') or answer.get('id') or json.dumps(answer)}\n")
    return 0


#: command → HTTP method, path behind the phone, field that takes the text
PHONE_COMMANDS = {
    "show": ("GET", "", ""),
    "messages": ("GET", "", ""),
    "devices": ("GET", "", ""),
    "scan": ("POST", "/scan", "code"),
    "enter-code": ("POST", "/enter-code", "code"),
    "send": ("POST", "/send", "text"),
    "unlink": ("POST", "/unlink", "jid"),
    "online": ("POST", "/online", ""),
    "offline": ("POST", "/online", ""),
}


def _fault(options: argparse.Namespace) -> int:
    if options.name == "list":
        _print_each([{"name": name, **vars(fault)} for name, fault in CATALOGUE.items()])
        return 0
    if options.name == "clear":
        ask(options.control, "DELETE", "/api/faults")
        return 0
    pairs = [parameter.partition("=") for parameter in options.parameters]
    ask(options.control, "POST", f"/api/faults/{options.name}", {name: value for name, _, value in pairs})
    return 0


def _print_each(items: list[dict[str, Any]]) -> None:
    for item in items:
        sys.stdout.write(json.dumps(item, ensure_ascii=False) + "\n")
