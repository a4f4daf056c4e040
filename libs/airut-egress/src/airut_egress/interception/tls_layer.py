"""TLS towards the sandbox, with a bounded ClientHello."""

from typing import Final

from mitmproxy.proxy.context import Context
from mitmproxy.proxy.events import Event
from mitmproxy.proxy.layer import CommandGenerator, Layer
from mitmproxy.proxy.layers.tls import ClientTLSLayer

from .http_layer import EgressHttpLayer
from .port import ClientPort

_MAX_CLIENT_HELLO: Final = 64 * 1024
_CLIENT_HELLO: Final = b"\x01"


class Ground(Layer):
    """What mitmproxy's TLS layer expects to stand on; events never come by here."""

    def _handle_event(self, _event: Event) -> CommandGenerator[None]:
        raise RuntimeError("an event for the ground")


class SandboxTlsLayer(ClientTLSLayer):
    """Ends the sandbox's TLS; inside of it there is HTTP and nothing else."""

    def __init__(self, context: Context, port: ClientPort) -> None:
        Ground(context)
        super().__init__(context)
        self.child_layer = EgressHttpLayer(context, port)

    def receive_handshake_data(self, data: bytes) -> CommandGenerator[tuple[bool, str | None]]:
        """Go on with the handshake."""
        if not self.client_hello_parsed:
            start = bytes(self.recv_buffer[:6]) + data[:6]
            if (
                start[5:6] not in {b"", _CLIENT_HELLO}
                or len(self.recv_buffer) + len(data) > _MAX_CLIENT_HELLO
            ):
                return False, "this is no ClientHello, or a very large one"
        return (yield from super().receive_handshake_data(data))
