"""Requests whose headers are allowed, when their bodies are complete."""

from mitmproxy.http import HTTPFlow, Request

from airut_egress.addons.outgoing import write_head
from airut_egress.carry import sendable
from airut_egress.exchange import Exchange
from airut_egress.inspection import Denied, Inspection
from airut_egress.interception.port import ClientPort, check_rules, deny, exchange_of


class Bodies:
    """Judges what has to be judged as a whole, and lets nothing follow a body."""

    def __init__(self, port: ClientPort) -> None:
        self._port = port

    def request(self, flow: HTTPFlow) -> None:
        """The body is complete. An inspected one has not been sent; the mark that lets it go is set last.

        What follows a body is dropped: trailers would come past the judgement with headers of all kinds, and nobody
        has to pass them on (RFC 9110 §6.5.1, field notes 21).
        """
        flow.request.trailers = None
        exchange = exchange_of(flow)
        if exchange.inspection is None or exchange.obstacle:
            return
        try:
            self._inspect(flow.request, exchange, exchange.inspection)
        except Denied as denied:
            deny(self._port, flow, denied)
            return
        exchange.allowed = True

    def _inspect(self, request: Request, exchange: Exchange, inspection: Inspection) -> None:
        check_rules(self._port)
        body = inspection.judge(request.raw_content or b"")
        if exchange.signature is not None:
            signed = exchange.signature.resigned
            write_head(request, self._port, sendable(signed.headers), signed.target)
        if request.headers.pop("transfer-encoding", None) is not None or body:
            request.headers["content-length"] = str(len(body))
        request.raw_content = body
        if not exchange.session.may_send(exchange.host, len(body)):
            # Its length was not known before (field notes 22); the upstream has heard nothing yet.
            raise Denied("budget")
        exchange.send(body)
