"""What mitmproxy does for each message and layer, and nobody here uses."""

from typing import Self

from mitmproxy.http import MessageData
from mitmproxy.proxy.context import Context


class LeanContext(Context):
    """Forks by copying. mitmproxy's makes another upstream connection for each fork, and throws it away."""

    @classmethod
    def of(cls, other: Context) -> Self:
        """The same context."""
        made = cls.__new__(cls)
        made.client, made.server, made.options = other.client, other.server, other.options
        made.layers = other.layers.copy()
        return made

    def fork(self) -> Self:
        """A context that shares all but its layers."""
        return self.of(self)


def skip_type_checks() -> None:
    """mitmproxy checks the types of a message's fields at each start of one, unless Python runs without assertions,
    which must stay: they end connections. What an addon assigns is not checked there either."""
    MessageData.__post_init__ = lambda _: None  # type: ignore[method-assign]
