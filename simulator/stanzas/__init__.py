"""What the server does with each stanza of a client: one handler a kind, found by tag, or by namespace for an iq."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulator.nodes import Node

from . import groups, keys, linking, queries, relay, users

if TYPE_CHECKING:
    from simulator.stream import Stream

#: Before a device is linked, only these namespaces are served.
UNLINKED = {"md", "w:p", "urn:xmpp:ping"}

IQ_HANDLERS = {**queries.HANDLERS, **keys.HANDLERS, **users.HANDLERS, **groups.HANDLERS, **linking.HANDLERS}


def dispatch(stream: Stream, stanza: Node) -> None:
    """Hand a stanza to its handler. Kinds that mean nothing to others (ib, call, …) have none and are only recorded."""
    if stanza.tag == "iq":
        _dispatch_iq(stream, stanza)
    elif stream.party and (handler := relay.HANDLERS.get(stanza.tag)):
        handler(stream, stanza)


def _dispatch_iq(stream: Stream, request: Node) -> None:
    namespace = request.get("xmlns")
    handler = IQ_HANDLERS.get(namespace)
    if handler is None:
        stream.refuse(request, 501, "feature-not-implemented")
    elif stream.party is None and namespace not in UNLINKED:
        stream.refuse(request, 401, "not-authorized")
    else:
        handler(stream, request)
