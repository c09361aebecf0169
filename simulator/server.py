"""The sockets: a TLS WebSocket behind the CONNECT proxy for clients of the real address, and a plain one for Baileys."""

from __future__ import annotations

import asyncio
import itertools
import ssl
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

from websockets.asyncio.server import Server as WebSocketServer
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from simulator import media
from simulator.errors import SimulatorError
from simulator.framing import MAX_FRAME
from simulator.http import HttpServer, Refused
from simulator.http import Request as HttpRequest
from simulator.http import Response as HttpResponse
from simulator.proxy import ConnectProxy
from simulator.stream import Stream

if TYPE_CHECKING:
    from simulator.world import World


@dataclass
class Ports:
    """Where the simulator listens on 127.0.0.1; 0 lets the system choose, and the choice is kept."""

    proxy: int = 0
    tls: int = 0
    ws: int = 0
    control: int = 0


class ClientServer:
    """Everything that a client can connect to. It can be closed and opened again on the same ports: an outage."""

    def __init__(self, world: World, context: ssl.SSLContext, ports: Ports) -> None:
        self.world = world
        self.ports = ports
        # Behind the proxy alone, so that its port is nobody's concern.
        self._media = HttpServer(self._serve_media, context=context, body_limit=media.LIMIT)
        self._is_unavailable = False
        self.proxy: ConnectProxy | None = None
        self._context = context
        self._listeners: list[WebSocketServer] = []
        self._sockets: set[ServerConnection] = set()
        self._numbers = itertools.count(1)

    async def open(self) -> None:
        """Listen. SimulatorError where a port is taken; no-op where it is open."""
        self._is_unavailable = False
        if self._listeners:
            return
        self.ports.tls = await self._listen(self.ports.tls, self._context)
        self.ports.ws = await self._listen(self.ports.ws, None)
        self.proxy = ConnectProxy(self.ports.tls, {media.HOST: await self._media.start(0)})
        try:
            self.ports.proxy = await self.proxy.start(self.ports.proxy)
        except OSError as error:
            raise SimulatorError.port_taken(self.ports.proxy) from error

    async def shut(self, *, refuse: bool) -> None:
        """Cut every connection, and take no new one until `open`: the ports are closed, or answer 503."""
        self._is_unavailable = True
        if refuse:
            for listener in self._listeners:
                listener.close(close_connections=False)
            self._listeners.clear()
        for socket in list(self._sockets):
            socket.transport.abort()
        if refuse and self.proxy:
            self.proxy.stop()
            self._media.stop()

    async def _listen(self, port: int, context: ssl.SSLContext | None) -> int:
        try:
            listener = await serve(
                self._serve,
                "127.0.0.1",
                port,
                ssl=context,
                process_request=self._admit,
                compression=None,
                ping_interval=None,
                max_size=MAX_FRAME + 64,
                close_timeout=1,
            )
        except OSError as error:
            raise SimulatorError.port_taken(port) from error
        self._listeners.append(listener)
        return int(next(iter(listener.sockets)).getsockname()[1])

    def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        if self._is_unavailable:
            return connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, "The simulator plays an outage.\n")
        return None

    async def _serve_media(self, request: HttpRequest) -> HttpResponse:
        if self._is_unavailable:
            raise Refused(503, "outage", "The simulator plays an outage.")
        if status := self.world.faults.media_status:
            raise Refused(status, "refused", "The simulator takes no files, and gives none.")
        return await self.world.media.handle(request)

    async def _serve(self, socket: ServerConnection) -> None:
        outgoing: asyncio.Queue[bytes | None] = asyncio.Queue()
        stream = Stream(self.world, next(self._numbers), outgoing.put_nowait, lambda: outgoing.put_nowait(None))
        stream.cut = socket.transport.abort
        self._sockets.add(socket)
        writer = asyncio.create_task(_write(socket, outgoing))
        try:
            async for data in socket:
                stream.receive(data if isinstance(data, bytes) else data.encode())
        except ConnectionClosed:
            pass
        finally:
            self._sockets.discard(socket)
            stream.gone()
            writer.cancel()


async def _write(socket: ServerConnection, outgoing: asyncio.Queue[bytes | None]) -> None:
    try:
        while (data := await outgoing.get()) is not None:
            await socket.send(data)
        await socket.close()
    except ConnectionClosed:
        pass
