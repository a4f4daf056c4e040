"""Pure: the forms in which header fields are hashed (RFC 6376 §3.4, §3.7). Linear in time and memory."""

import re
from collections.abc import Iterator, Sequence

from airut_mail_auth.message import Field

_SPACES = re.compile(rb"[ \t]+")


def header_form(raw: bytes, *, relaxed: bool) -> bytes:
    """One header field as it is hashed, without a CRLF at its end."""
    if not relaxed:
        return raw
    name, _, value = raw.partition(b":")
    unfolded = value.replace(b"\r\n", b"")
    return name.strip(b" \t").lower() + b":" + _SPACES.sub(b" ", unfolded).strip(b" ")


def without_signature(raw: bytes) -> bytes:
    """A signature's own field with the value of `b=` deleted, surrounding white space included (§3.7)."""
    name, colon, value = raw.partition(b":")
    return name + colon + b";".join(map(_emptied, value.split(b";")))


def _emptied(spec: bytes) -> bytes:
    name, equals, _ = spec.partition(b"=")
    return name + equals if equals and name.strip(b" \t\r\n") == b"b" else spec


def select_fields(fields: Sequence[Field], names: Sequence[str], own: Field) -> Iterator[Field]:
    """The fields that `h=` names, each mention the next one upwards; one without a field stands for none (§5.4.2).

    Args:
        fields: The header, topmost first.
        names: `h=`, in lower case.
        own: The signature's field, which is never among them.
    """
    waiting: dict[str, list[Field]] = {}
    for field in fields:
        if field is not own:
            waiting.setdefault(field.name, []).append(field)
    for name in names:
        if waiting.get(name):
            yield waiting[name].pop()


def signed_header(fields: Sequence[Field], names: Sequence[str], own: Field, *, relaxed: bool) -> bytes:
    """What the signature of a header is made over (§3.7)."""
    chosen = [header_form(field.raw, relaxed=relaxed) for field in select_fields(fields, names, own)]
    return b"\r\n".join([*chosen, header_form(without_signature(own.raw), relaxed=relaxed)])
