"""Pure: DMARC policy records (RFC 9989 §4.7, §4.8). Records written for RFC 7489 are read by the same rules:
`pct`, `ri` and `rf` are unknown tags now and change nothing (§A.6)."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from airut_mail_auth.record import Policy

_VERSION = re.compile(r"v[ \t]*=[ \t]*DMARC1[ \t]*(?:;|$)")
_URI = re.compile(r"[a-z][a-z0-9+.-]*:[^\s,!]+(?:![0-9]+[kmgt]?)?", re.IGNORECASE)
_POLICIES: dict[str, Policy] = {"none": "none", "quarantine": "quarantine", "reject": "reject"}
_MILDER: dict[Policy, Policy] = {"reject": "quarantine", "quarantine": "none", "none": "none"}


@dataclass(frozen=True)
class DmarcRecord:
    """What a domain says about mail in its name."""

    p: Policy | None
    """None: the record asks for nothing that could be applied (§4.10.1), so DMARC does not apply."""
    sp: Policy | None = None
    np: Policy | None = None
    strict_dkim: bool = False
    strict_spf: bool = False
    psd: Literal["y", "n", "u"] = "u"
    testing: bool = False
    text: str = field(default="", compare=False)

    def applied(self, *, to_subdomain: bool, subdomain_exists: bool = True) -> Policy | None:
        """The policy for a mail, test mode (`t=y`, one step milder) included.

        Args:
            to_subdomain: The author's domain is below the one that published this.
            subdomain_exists: It exists in the DNS; otherwise `np` comes first.
        """
        chosen = self.p
        if chosen is not None and to_subdomain:
            chosen = self.sp or chosen
            if not subdomain_exists and self.np is not None:
                chosen = self.np
        if chosen is not None and self.testing:
            chosen = _MILDER[chosen]
        return chosen


def pick_record(texts: Sequence[bytes]) -> DmarcRecord | None:
    """The one DMARC record among the TXT records of a name. Several count as none (§4.10 step 2)."""
    records = [text for raw in texts if _VERSION.match(text := raw.decode("latin-1").strip())]
    return _parse(records[0]) if len(records) == 1 else None


def _parse(text: str) -> DmarcRecord:
    tags: dict[str, str] = {}
    for part in text.split(";"):
        name, equals, value = part.partition("=")
        if equals:
            # A repeated tag is outside of the grammar; the first one stands.
            tags.setdefault(name.strip().lower(), value.strip())
    p, sp, np = _policies(tags)
    psd = tags.get("psd", "u").lower()
    return DmarcRecord(
        p=p,
        sp=sp,
        np=np,
        strict_dkim=tags.get("adkim", "r").lower() == "s",
        strict_spf=tags.get("aspf", "r").lower() == "s",
        psd="y" if psd == "y" else "n" if psd == "n" else "u",
        testing=tags.get("t", "n").lower() == "y",
        text=text,
    )


def _policies(tags: dict[str, str]) -> tuple[Policy | None, Policy | None, Policy | None]:
    """§4.10.1: without valid policies it is `p=none` if reports are asked for, else there is no policy."""
    found = {name: _POLICIES.get(tags[name].lower()) for name in ("p", "sp", "np") if name in tags}
    if found.get("p") is not None and None not in found.values():
        return found["p"], found.get("sp"), found.get("np")
    wants_reports = any(_URI.fullmatch(uri.strip()) for uri in tags.get("rua", "").split(","))
    return ("none" if wants_reports else None), None, None
