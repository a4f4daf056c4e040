"""What layers and addons know of the connection they work for."""

from collections.abc import Mapping
from typing import Final, Protocol, cast

from mitmproxy.http import HTTPFlow
from mitmproxy.proxy.commands import StartHook

from airut_egress.exchange import Exchange
from airut_egress.inspection import Denied
from airut_egress.ports import Scheme
from airut_egress.session import Session
from airut_egress.statuses import status_for

_EXCHANGE: Final = "airut.exchange"
_PROBLEM: Final = "airut.problem"
_DETAIL: Final = "airut.detail"
_TOO_FAST: Final = "airut.too-fast"


class ClientPort(Protocol):
    """One accepted connection of a sandbox."""

    session: Session
    generation: int
    """The session's when this connection was accepted."""
    destination: tuple[str, int]
    """What the sandbox dialled: an address, and the port."""
    host: str
    """Canonical name behind the address; empty when it is an address of no name."""
    exchanges: set[Exchange]
    """Begun and not finished."""

    ports: Mapping[int, Scheme]
    """Those that are open."""

    @property
    def port(self) -> int:
        """The port that the sandbox dialled."""

    @property
    def scheme(self) -> Scheme:
        """What that port is for. `https` is verified TLS on both sides."""

    @property
    def is_literal(self) -> bool:
        """Whether the sandbox dialled an address that stands for no name."""

    @property
    def ended(self) -> bool:
        """Whether nothing more may happen on it."""

    def adopt(self, name: str) -> bool:
        """Whether a canonical name is the one behind the address; it may be learnt from the client only where
        the address follows from it."""

    def denied(self, obstacle: str, detail: str = "", *, asked: str = "") -> None:
        """Record that this connection was denied. `asked`: the name that the client gave, if another."""

    def refuse(self, obstacle: str, *, asked: str = "", farewell: bytes = b"") -> None:
        """Record that this connection was denied and end it."""

    def run_hook(self, hook: StartHook) -> None:
        """Hand a hook to its addon; what the addon raises goes through."""

    def abort(self, reason: str) -> None:
        """Cut it at once."""


def exchange_of(flow: HTTPFlow) -> Exchange:
    """The record of a flow.

    Raises:
        KeyError: the flow was never judged.
    """
    return cast(Exchange, flow.metadata[_EXCHANGE])


def set_exchange(flow: HTTPFlow, exchange: Exchange) -> None:
    """Give a flow its record."""
    flow.metadata[_EXCHANGE] = exchange


def is_allowed(flow: HTTPFlow) -> bool:
    """Whether a flow has passed every check; False for one that was never judged."""
    found = flow.metadata.get(_EXCHANGE)
    return isinstance(found, Exchange) and found.allowed


def deny(port: ClientPort, flow: HTTPFlow, denied: Denied) -> None:
    """Note why a request does not go out; its one event is recorded."""
    exchange = exchange_of(flow)
    exchange.obstacle = denied.obstacle
    exchange.status = status_for(denied.obstacle)
    exchange.credentials = ()
    set_detail(flow, denied.detail)
    exchange.finish("deny", denied.obstacle)
    port.exchanges.discard(exchange)


def check_rules(port: ClientPort) -> None:
    """Whether the rules are still those by which the connection was accepted (field notes 33).

    Raises:
        Denied: they have changed, or the session is over.
    """
    if port.generation != port.session.generation or port.session.closed:
        raise Denied("policy-changed", "the rules of this sandbox have changed; connect again")


def set_problem(flow: HTTPFlow, text: str) -> None:
    """Note what the parser found wrong with a request."""
    flow.metadata[_PROBLEM] = text


def problem_of(flow: HTTPFlow) -> str | None:
    """What the parser found wrong with a request."""
    return flow.metadata.get(_PROBLEM)


def mark_too_fast(flow: HTTPFlow) -> None:
    """Note that a sandbox makes more requests than it may."""
    flow.metadata[_TOO_FAST] = True


def is_too_fast(flow: HTTPFlow) -> bool:
    """Whether a request is one too many."""
    return _TOO_FAST in flow.metadata


def set_detail(flow: HTTPFlow, text: str) -> None:
    """Note what the answer to a denied request says beside its obstacle."""
    flow.metadata[_DETAIL] = text


def detail_of(flow: HTTPFlow) -> str:
    """What the answer to a denied request says beside its obstacle."""
    return str(flow.metadata.get(_DETAIL, ""))
