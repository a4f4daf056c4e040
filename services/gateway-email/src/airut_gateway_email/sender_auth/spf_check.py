"""SPF (RFC 7208) with pyspf, its DNS questions answered by our own resolver."""

# mypy: allow-untyped-calls
# (pyspf has no types)

import asyncio
import warnings
from collections.abc import Callable
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any, override

import dns.rdata

from airut_gateway_email.addresses import BadAddress, canonical_domain
from airut_gateway_email.sender_auth.dns import LOOKUP_SECONDS, DnsTemporary, NoSuchName, RecordType, Resolver
from airut_gateway_email.sender_auth.verdict import Result

with warnings.catch_warnings():
    # pyspf has invalid escapes in docstrings, of which the compiler warns on the first import.
    warnings.simplefilter("ignore", SyntaxWarning)
    import spf

SPF_SECONDS = 20.0
_RESULTS: dict[str, Result] = {
    "pass": "pass",
    "fail": "fail",
    "softfail": "fail",
    "neutral": "none",
    "none": "none",
    "temperror": "temperror",
    "permerror": "permerror",
}

Ask = Callable[[str, RecordType], list[dns.rdata.Rdata]]


def spf_identity(mail_from: str, helo: str) -> str | None:
    """The domain that SPF speaks about: of MAIL FROM, or of HELO when that is empty (RFC 7208 §2.4)."""
    try:
        return canonical_domain(helo if mail_from in ("", "<>") else mail_from.rpartition("@")[2])
    except BadAddress:
        return None


async def check_spf(peer: str, mail_from: str, helo: str, resolver: Resolver) -> tuple[Result, str]:
    """The result for a client at address `peer`, and a reason for people. Takes `SPF_SECONDS` at most."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + SPF_SECONDS

    def ask(name: str, kind: RecordType) -> list[dns.rdata.Rdata]:
        if loop.time() > deadline:
            raise spf.TempError("no time left")
        answer = asyncio.run_coroutine_threadsafe(resolver.lookup(name, kind), loop)
        try:
            return answer.result(LOOKUP_SECONDS + 1)
        except NoSuchName:
            return []
        except (DnsTemporary, FutureTimeout) as error:
            raise spf.TempError(f"DNS {error}") from error

    sender = "" if mail_from in ("", "<>") else mail_from
    return await asyncio.to_thread(_run, peer, sender, helo, ask)


def _run(peer: str, sender: str, helo: str, ask: Ask) -> tuple[Result, str]:
    try:
        result = str(_Query(peer, sender, helo, ask).check()[0])
    except Exception:  # noqa: BLE001  whatever a hostile record makes pyspf trip over is no pass
        return "permerror", "the record is not usable"
    return _RESULTS.get(result, "permerror"), f"{result}, sent by {peer}"


class _Query(spf.query):
    """pyspf's evaluation over `ask`."""

    def __init__(self, peer: str, sender: str, helo: str, ask: Ask) -> None:
        super().__init__(i=peer, s=sender, h=helo, strict=True)
        self._ask = ask
        self._known: dict[tuple[str, str], list[Any]] = {}

    @override
    def dns(
        self, name: object, qtype: RecordType, cnames: Any = None, ignore_void: bool = False
    ) -> list[Any]:
        """Values of a name's records in the shapes pyspf works with."""
        host = str(name).rstrip(".").lower()
        if len(host) > 253 or not all(0 < len(label) < 64 for label in host.split(".")):
            return []
        key = (host, qtype)
        if key not in self._known:
            self._known[key] = [_value(record) for record in self._ask(host, qtype)]
            if not self._known[key] and not ignore_void:
                self.void_lookups += 1
                if self.void_lookups > spf.MAX_VOID_LOOKUPS:
                    raise spf.PermError("too many void lookups")
        return self._known[key]


def _value(record: Any) -> Any:
    match record.rdtype.name:
        case "MX":
            return record.preference, record.exchange.to_text(omit_final_dot=True)
        case "PTR":
            return record.target.to_text(omit_final_dot=True)
        case "TXT":
            return record.strings
        case _:
            return record.address
