"""The judgement, made on the headers alone: nothing of a denied request is read further or goes anywhere."""

from datetime import UTC, datetime

from mitmproxy.http import HTTPFlow, Request

from airut_egress.addons.filters import inspection_for
from airut_egress.addons.outgoing import outgoing_headers, upgrade_problem, write_head
from airut_egress.carry import Carried, Outgoing, carry
from airut_egress.exchange import Exchange
from airut_egress.inspection import Denied, Inspection
from airut_egress.interception.authority_form import read_authority
from airut_egress.interception.port import (
    ClientPort,
    check_rules,
    deny,
    is_too_fast,
    problem_of,
    set_exchange,
)
from airut_egress.names import AddressLiteral, BadName
from airut_egress.policy import RequestFacts, decide, strip_overrides
from airut_egress.ports import authority, default_port
from airut_egress.signing import SignatureFilter
from airut_egress.swap import Refused


class Judge:
    """Decides, and makes of an allowed request what goes out."""

    def __init__(self, port: ClientPort) -> None:
        self._port = port

    def requestheaders(self, flow: HTTPFlow) -> None:
        """Allow or deny; the mark is set last, so that everything before it leaves the request denied."""
        exchange = self._begin(flow)
        try:
            self._judge(flow, exchange)
        except Denied as denied:
            deny(self._port, flow, denied)
            return
        if exchange.inspection is not None:
            # The body is collected, and judged in `Bodies`; until then nothing is allowed.
            return
        flow.request.stream = exchange.send
        exchange.allowed = True

    def _begin(self, flow: HTTPFlow) -> Exchange:
        port, request = self._port, flow.request
        exchange = Exchange(
            session=port.session,
            method=request.data.method.decode("latin-1"),
            scheme=port.scheme,
            host=port.host or _asked_host(flow) or port.destination[0],
            port=port.port,
            path=request.data.path.partition(b"?")[0].decode("utf-8", "replace"),
            cut=port.abort,
        )
        port.exchanges.add(exchange)
        set_exchange(flow, exchange)
        return exchange

    def _judge(self, flow: HTTPFlow, exchange: Exchange) -> None:
        port, request = self._port, flow.request
        check_rules(port)
        if is_too_fast(flow):
            raise Denied("rate")
        if problem := problem_of(flow):
            raise Denied("protocol", problem)
        self._check_names(flow)
        exchange.host = port.host
        headers = list(request.headers.fields)
        exchange.websocket, problem = upgrade_problem(request.method, request.http_version, headers)
        if problem is not None:
            raise Denied("protocol", problem)
        facts = RequestFacts(exchange.method, exchange.scheme, port.host, port.port, request.data.path)
        decision = decide(facts, port.session.policy, port.ports)
        if not decision.allow and not decision.graphql:
            raise Denied(decision.obstacle, decision.reason if decision.obstacle == "ambiguous-path" else "")
        exchange.inspection = inspection_for(facts, decision, headers, exchange, port.session.policy)
        kept, _ = strip_overrides(outgoing_headers(headers, websocket=exchange.websocket), decision)
        carried = self._carry(request, kept)
        self._spend(exchange, request)
        exchange.rule, exchange.credentials, exchange.stripped = decision.rule, carried.used, carried.stripped
        self._hold_body(exchange, carried)
        write_head(request, port, carried.headers, carried.target)

    def _carry(self, request: Request, headers: list[tuple[bytes, bytes]]) -> Carried:
        port = self._port
        tls = port.scheme == "https"
        if tls and (problem := port.session.entries.missing_token(port.host)):
            raise Denied("token", problem)
        outgoing = Outgoing(
            method=request.method,
            host=port.host,
            authority=authority(port.host, port.port, port.scheme),
            target=request.data.path,
            headers=headers,
            tls=tls,
            http2=request.is_http2,
            scrubbed=bool(port.session.needles_for(port.host)),
        )
        try:
            return carry(outgoing, port.session.entries, now=datetime.now(UTC))
        except Refused as refusal:
            raise Denied("credential", str(refusal)) from None

    def _hold_body(self, exchange: Exchange, carried: Carried) -> None:
        """Hold the body to what was signed."""
        exchange.gate = carried.gate
        if carried.gate is None and carried.waiting is None:
            return
        if exchange.inspection is not None:
            # It would be written anew, and no longer be what was signed.
            raise Denied("credential", "a request whose body is inspected cannot be signed")
        if carried.waiting is not None:
            exchange.signature = SignatureFilter(carried.waiting)
            exchange.inspection = Inspection((exchange.signature,))

    def _spend(self, exchange: Exchange, request: Request) -> None:
        """Count the head, and refuse a body that is known to be too much before the upstream hears of it."""
        head = len(request.data.path) + sum(len(name) + len(value) for name, value in request.headers.fields)
        length = request.headers.get("content-length", "0")
        known = int(length) if length.isascii() and length.isdigit() else 0
        if not self._port.session.may_send(exchange.host, head + known):
            raise Denied("budget")
        self._port.session.count_sent(exchange.host, head)

    def _check_names(self, flow: HTTPFlow) -> None:
        """Host, `:authority` and the authority of an absolute target are all the name that was dialled."""
        request = flow.request
        given = [value for name, value in request.headers.fields if name.lower() == b"host"]
        if request.data.authority:
            given.append(request.data.authority)
        if not given:
            raise Denied("mismatch", "the request names no host")
        for raw in given:
            try:
                name, number = read_authority(raw)
            except AddressLiteral:
                raise Denied("literal") from None
            except BadName as error:
                raise Denied("mismatch", str(error)) from None
            if not self._port.adopt(name):
                if self._port.is_literal:
                    raise Denied("literal")
                raise Denied("mismatch", "the name in the request is not the name that was connected to")
            if (number or default_port(self._port.scheme)) != self._port.port:
                raise Denied("mismatch", "the port in the request is not the port that was connected to")


def _asked_host(flow: HTTPFlow) -> str:
    raw = flow.request.data.authority or flow.request.data.headers.get("host", "").encode(
        "utf-8", "surrogateescape"
    )
    return raw.decode("latin-1")[:255]
