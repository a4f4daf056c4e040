"""A record for people."""

from collections.abc import Iterator

from airut_mail_auth.record import DkimEvidence, Record, SpfEvidence


def lines_of(record: Record) -> Iterator[tuple[str, str]]:
    """The record as lines for people: a label and a text each."""
    yield "verdict", f"{record.verdict} ({record.rule})"
    yield "because", record.explanation
    yield "author", record.author or "not exactly one"
    if record.dmarc is not None:
        found = record.dmarc
        where = f"at {found.record_at}: {found.record}" if found.record_at else "no record"
        yield "DMARC", f"{where}; policy {found.policy or 'none published'}"
        yield "", f"organizational domain {found.organizational_domain}; asked {', '.join(found.asked)}"
    for signature in record.dkim:
        key = f", key of {signature.key_bits} bits" if signature.key_bits else ""
        weak = " (weak)" if signature.weak_key else ""
        name = f"{signature.selector}._domainkey.{signature.domain or '?'}"
        yield "DKIM", f"{_outcome(signature)}: {name}, {signature.algorithm}{key}{weak}"
        yield "", f"covers {', '.join(signature.signed)}"
    for check in record.spf:
        yield "SPF", f"{_outcome(check)}: {check.identity} {check.domain}"
    if record.arc is not None:
        yield (
            "ARC",
            f"{record.arc.result}: {record.arc.detail}; sealed by {', '.join(record.arc.sealers) or 'nobody'}",
        )
    if record.header is not None:
        yield "header", record.header.value or "none of the trusted server"
    yield "judged at", record.judged_at.isoformat()


def _outcome(one: DkimEvidence | SpfEvidence) -> str:
    aligned = {True: "aligned", False: "not aligned", None: "alignment not known"}[one.aligned]
    return f"{one.result}, {aligned}{f' ({one.detail})' if one.detail else ''}"
