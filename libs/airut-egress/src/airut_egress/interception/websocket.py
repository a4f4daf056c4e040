"""WebSocket frames, parsed and sent on as they come: a message is never held as a whole (field notes 17)."""

import wsproto.events
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.layer import CommandGenerator
from mitmproxy.proxy.layers.websocket import WebsocketEndHook, WebsocketLayer
from wsproto.connection import ConnectionState

from .port import exchange_of


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
                    (exchange.count_out if from_client else exchange.count_in)(payload)
                    yield target.send2(part)
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
