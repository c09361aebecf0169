"""The control server: phones and faults over HTTP, and the page on which a person holds a phone."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simulator.errors import PhoneError, SimulatorError
from simulator.faults import CATALOGUE
from simulator.http import HttpServer, Refused, Request, Response
from simulator.nodes import Jid, NodeError
from simulator.phone import Phone

if TYPE_CHECKING:
    from simulator.simulation import Simulator

PAGE = Path(__file__).parent / "page"
FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/words.js": ("words.js", "text/javascript; charset=utf-8"),
    "/phone.js": ("phone.js", "text/javascript; charset=utf-8"),
    "/phone.css": ("phone.css", "text/css; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
LINES_SHOWN = 200

Handler = Callable[["ControlServer", Request, str], Awaitable[Response]]


class ControlServer:
    """Bound to one simulator; runs in its thread."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        self._http = HttpServer(self._handle)

    async def start(self) -> None:
        """Listen on the simulator's control port; SimulatorError where it is taken."""
        ports = self._simulator.ports
        try:
            ports.control = await self._http.start(ports.control)
        except OSError as error:
            raise SimulatorError.port_taken(ports.control) from error

    def stop(self) -> None:
        self._http.stop()

    async def _handle(self, request: Request) -> Response:
        if request.method == "GET" and request.path in FILES:
            name, type_ = FILES[request.path]
            return Response(200, (PAGE / name).read_bytes(), type_)
        for method, pattern, handler in ROUTES:
            if method == request.method and (match := re.fullmatch(pattern, request.path)):
                try:
                    return await handler(self, request, match[1] if match.groups() else "")
                except PhoneError as error:
                    raise Refused(409, error.reason, str(error)) from error
                except SimulatorError as error:
                    raise Refused(400, "bad-request", str(error)) from error
                except NodeError as error:
                    raise Refused(400, "bad-request", "That is not an address on WhatsApp.") from error
        raise Refused(404, "not-found", "There is nothing here.")

    # -- phones ----------------------------------------------------------------------------------------------------------

    async def _list(self, request: Request, _: str) -> Response:
        return Response.of({"phones": [self._summary(phone) for phone in self._simulator.world.phones.values()]})

    async def _create(self, request: Request, _: str) -> Response:
        fields = _fields(request, "number", name="")
        return Response.of(self._summary(Phone.get(self._simulator.world, fields["number"], fields["name"])), 201)

    async def _show(self, request: Request, number: str) -> Response:
        phone = self._phone(number)
        lines = [asdict(line) for line in self._simulator.world.state.lines(number)[-LINES_SHOWN:]]
        live = self._simulator.connections.live
        devices = []
        for device in phone.devices:
            jid = str(phone.account.jid(device.device))
            devices.append({"jid": jid, "label": device.label, "added_at": device.added_at, "connected": jid in live})
        return Response.of({**self._summary(phone), "devices": devices, "messages": lines})

    async def _scan(self, request: Request, number: str) -> Response:
        jid = await self._phone(number).scan(_fields(request, "code")["code"])
        return Response.of({"jid": str(jid)})

    async def _enter_code(self, request: Request, number: str) -> Response:
        jid = await self._phone(number).enter_code(_fields(request, "code")["code"])
        return Response.of({"jid": str(jid)})

    async def _send(self, request: Request, number: str) -> Response:
        fields = _fields(request, "to", "text")
        return Response.of({"id": self._phone(number).send_text(fields["to"], fields["text"])}, 201)

    async def _create_group(self, request: Request, number: str) -> Response:
        fields = _fields(request, "subject", members="")
        members = re.findall(r"\d+", fields["members"])
        return Response.of({"jid": str(self._phone(number).create_group(fields["subject"], members))}, 201)

    async def _unlink(self, request: Request, number: str) -> Response:
        self._phone(number).unlink(Jid.parse(_fields(request, "jid")["jid"]))
        return Response.of({})

    async def _switch(self, request: Request, number: str) -> Response:
        phone = self._phone(number)
        online = request.json().get("online")
        if not isinstance(online, bool):
            raise Refused(400, "bad-request", "Say whether it is online: true or false.")
        phone.go_online() if online else phone.go_offline()
        return Response.of(self._summary(phone))

    def _phone(self, number: str) -> Phone:
        phone = self._simulator.world.phones.get(number)
        if phone is None:
            raise Refused(404, "no-such-phone", "There is no phone with this number.")
        return phone

    @staticmethod
    def _summary(phone: Phone) -> dict[str, Any]:
        account = phone.account
        return {
            "number": account.number,
            "name": account.name,
            "jid": str(account.jid()),
            "lid": str(account.lid_jid()),
            "online": phone.is_online,
        }

    # -- the rest --------------------------------------------------------------------------------------------------------

    async def _status(self, request: Request, _: str) -> Response:
        simulator = self._simulator
        return Response.of(
            {**simulator.ready_line, "connections": simulator.connections.live, "faults": simulator.world.faults.active}
        )

    async def _faults(self, request: Request, _: str) -> Response:
        catalogue = {name: asdict(fault) for name, fault in CATALOGUE.items()}
        return Response.of({"faults": catalogue, "active": self._simulator.world.faults.active})

    async def _cause(self, request: Request, name: str) -> Response:
        await self._simulator.world.faults.cause(name, **request.json())
        return Response.of({"active": self._simulator.world.faults.active})

    async def _clear(self, request: Request, _: str) -> Response:
        await self._simulator.world.faults.clear()
        return Response.of({"active": {}})


def _fields(request: Request, *required: str, **optional: str) -> dict[str, str]:
    """Texts from the body; Refused where one is missing or is no text."""
    body = request.json()
    fields: dict[str, Any] = {name: body.get(name, optional.get(name)) for name in (*required, *optional)}
    for name, value in fields.items():
        if not isinstance(value, str) or (name in required and not value.strip()):
            raise Refused(400, "bad-request", f"The field {name!r} is missing.")
    return fields


ROUTES: list[tuple[str, str, Handler]] = [
    ("GET", "/api/status", ControlServer._status),
    ("GET", "/api/phones", ControlServer._list),
    ("POST", "/api/phones", ControlServer._create),
    ("GET", r"/api/phones/(\d+)", ControlServer._show),
    ("POST", r"/api/phones/(\d+)/scan", ControlServer._scan),
    ("POST", r"/api/phones/(\d+)/enter-code", ControlServer._enter_code),
    ("POST", r"/api/phones/(\d+)/send", ControlServer._send),
    ("POST", r"/api/phones/(\d+)/groups", ControlServer._create_group),
    ("POST", r"/api/phones/(\d+)/unlink", ControlServer._unlink),
    ("POST", r"/api/phones/(\d+)/online", ControlServer._switch),
    ("GET", "/api/faults", ControlServer._faults),
    ("POST", "/api/faults/([a-z_0-9]+)", ControlServer._cause),
    ("DELETE", "/api/faults", ControlServer._clear),
]
