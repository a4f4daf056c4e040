"""WebSocket frames, parsed and sent on as they come: a message is never held as a whole (field notes 17)."""

import dataclasses
from typing import Any

import wsproto.events
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.layer import CommandGenerator
from mitmproxy.proxy.layers.websocket import WebsocketEndHook, WebsocketLayer
from wsproto.connection import ConnectionState

from airut_egress.exchange import Exchange

from .port import exchange_of

Message = wsproto.events.Message[Any]


class StreamingWebsocketLayer(WebsocketLayer):
    """Relays frames between sandbox and upstream and counts what they carry."""

    def relay_messages(self, event: events.Event) -> CommandGenerator[None]:
        """Take in what one side sent, hand its frames to the other."""
        if not isinstance(event, events.ConnectionEvent):
            raise TypeError("nobody injects messages here")
        from_client = event.connection == self.context.client
        source, target = (self.client_ws, self.server_ws) if from_client else (self.server_ws, self.client_ws)
        source.receive_data(event.data if isinstance(event, events.DataReceived) else None)
        exchange = exchange_of(self.flow)
        for part in source.events():
            match part:
                case wsproto.events.Message():
                    payload = part.data.encode() if isinstance(part.data, str) else bytes(part.data)
                    if from_client:
                        exchange.send(payload)
                        yield target.send2(part)
                    else:
                        yield target.send2(_scrubbed(part, payload, exchange))
                case wsproto.events.Ping() | wsproto.events.Pong():
                    yield target.send2(part)
                case wsproto.events.CloseConnection():
                    yield from self._close(part)
                    return

    def _close(self, part: wsproto.events.CloseConnection) -> CommandGenerator[None]:
        for side in (self.server_ws, self.client_ws):
            if side.state in {ConnectionState.OPEN, ConnectionState.REMOTE_CLOSING}:
                yield side.send2(part)
            yield commands.CloseConnection(side.conn)
        yield WebsocketEndHook(self.flow)
        self.flow.live = False
        self._handle_event = self.done


def _scrubbed(part: Message, payload: bytes, exchange: Exchange) -> Message:
    """The same part of a message without real credentials; its last part brings what was held."""
    exchange.bytes_in += len(payload)
    scrubber = exchange.scrubber
    if scrubber is None:
        return part
    pieces = scrubber(payload) if payload else []
    if part.message_finished:
        pieces += scrubber(b"")
    data = b"".join(pieces)
    # Only ASCII is held or replaced, so what was cut between characters still is.
    return dataclasses.replace(part, data=data.decode() if isinstance(part.data, str) else data)
