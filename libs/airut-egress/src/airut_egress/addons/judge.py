"""The judgement, made on the headers alone: nothing of a denied request is read further or goes anywhere."""

from mitmproxy.http import Headers, HTTPFlow, Request

from airut_egress.addons.filters import inspection_for
from airut_egress.addons.outgoing import outgoing_headers, upgrade_problem
from airut_egress.credentials import substitute
from airut_egress.exchange import Exchange
from airut_egress.inspection import Denied
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
from airut_egress.scrub import acceptable_codings

MAX_HEADERS_BYTES = 64 * 1024


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
            scheme="https" if port.port == 443 else "http",
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
        decision = decide(facts, port.session.policy)
        if not decision.allow and not decision.graphql:
            raise Denied(decision.obstacle, decision.reason if decision.obstacle == "ambiguous-path" else "")
        exchange.inspection = inspection_for(facts, decision, headers, exchange, port.session.policy)
        kept, _ = strip_overrides(outgoing_headers(headers, websocket=exchange.websocket), decision)
        put = substitute(
            kept,
            port.host,
            target=request.data.path,
            tls=port.port == 443,
            credentials=port.session.entries,
        )
        if put.refusal is not None:
            raise Denied("credential", put.refusal)
        self._spend(exchange, flow.request)
        exchange.rule, exchange.credentials, exchange.stripped = decision.rule, put.used, put.stripped
        answerable = acceptable_codings(put.headers) if port.session.needles_for(port.host) else put.headers
        self._rewrite(flow, answerable, put.target)

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
            if number not in {None, self._port.port}:
                raise Denied("mismatch", "the port in the request is not the port that was connected to")

    def _rewrite(self, flow: HTTPFlow, headers: list[tuple[bytes, bytes]], target: bytes) -> None:
        """Make the request what goes out: origin form, one canonical name, the exact path that was judged."""
        request, name = flow.request, self._port.host.encode("ascii")
        request.data.host = self._port.host
        if request.is_http2:
            request.data.authority = name
        else:
            request.data.authority = b""
            headers = [(b"Host", name), *headers]
        request.headers = Headers(headers)
        request.data.path = target


def _asked_host(flow: HTTPFlow) -> str:
    raw = flow.request.data.authority or flow.request.data.headers.get("host", "").encode(
        "utf-8", "surrogateescape"
    )
    return raw.decode("latin-1")[:255]
