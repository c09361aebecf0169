"""An HTTP proxy for CONNECT that brings every host to a local port: how a client that dials web.whatsapp.com gets here."""

from __future__ import annotations

import asyncio
from contextlib import suppress

HEAD_LIMIT = 16 * 1024
HEAD_TIMEOUT = 10
CHUNK = 64 * 1024


class ConnectProxy:
    """`hosts` lists, in order, what clients asked for. Hosts with a port of their own go there, all others to `target_port`."""

    def __init__(self, target_port: int, others: dict[str, int] | None = None) -> None:
        self.hosts: list[str] = []
        self._target_port, self._others = target_port, others or {}
        self._server: asyncio.Server | None = None
        self._tunnels: set[asyncio.StreamWriter] = set()

    async def start(self, port: int) -> int:
        """Listen on 127.0.0.1; 0 lets the system choose. The port in use."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port, limit=HEAD_LIMIT)
        return int(self._server.sockets[0].getsockname()[1])

    def stop(self) -> None:
        """Stop listening and cut what is open."""
        if self._server:
            self._server.close()
            self._server = None
        for writer in list(self._tunnels):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tunnels.add(writer)
        try:
            async with asyncio.timeout(HEAD_TIMEOUT):
                head = await reader.readuntil(b"\r\n\r\n")
            await self._tunnel(head, reader, writer)
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            self._tunnels.discard(writer)
            writer.transport.abort()

    async def _tunnel(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        method, _, rest = head.partition(b" ")
        if method != b"CONNECT":
            writer.write(b"HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()
            return
        self.hosts.append(rest.split(b" ", 1)[0].decode("latin-1"))
        port = self._others.get(self.hosts[-1].partition(":")[0], self._target_port)
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            writer.write(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()
            return
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        both = [asyncio.ensure_future(_pump(reader, far_writer)), asyncio.ensure_future(_pump(far_reader, writer))]
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in both:
                pump.cancel()
            await asyncio.gather(*both, return_exceptions=True)
            # What is in the buffers still goes out: the last stanza before a close must arrive.
            far_writer.close()
            with suppress(OSError, TimeoutError):
                async with asyncio.timeout(1):
                    await writer.drain()
                    writer.close()
                    await writer.wait_closed()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while chunk := await reader.read(CHUNK):
            writer.write(chunk)
            await writer.drain()
