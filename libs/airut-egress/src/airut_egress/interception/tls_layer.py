"""TLS towards the sandbox, with a bounded ClientHello."""

from typing import Final

from mitmproxy.proxy import commands
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.events import Event, HookCompleted
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
        self._port = port

    def handle_event(self, event: Event) -> CommandGenerator[None]:
        """Run the hooks of both handshakes here: mitmproxy makes a task of each, six for a connection. What a hook
        raises is a crash of the layer, and ends the connection."""
        upcoming: list[Event] = [event]
        while upcoming:
            for command in super().handle_event(upcoming.pop(0)):
                if isinstance(command, commands.StartHook) and command.name.startswith("tls_"):
                    self._port.run_hook(command)
                    if command.blocking and not self._port.ended:
                        upcoming.append(HookCompleted(command))
                else:
                    yield command

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
