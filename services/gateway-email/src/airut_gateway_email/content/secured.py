"""Pure: signed and encrypted text (S/MIME, RFC 8551; OpenPGP, RFC 3156 and 9580).

Such signatures are not verified and prove nothing here: who the author is, the mail's domain has shown before. What was
signed is only taken out of its wrapping. There are no keys to read encrypted mail with.
"""

import re

from asn1crypto.cms import ContentInfo

from airut_gateway_email.errors import MailRefused, undecodable

SMIME = frozenset({"application/pkcs7-mime", "application/x-pkcs7-mime"})

_CLEARTEXT = re.compile(
    r"\s*-----BEGIN PGP SIGNED MESSAGE-----\n(?:[A-Za-z]+: [^\n]*\n)*\n(.*)\n-----BEGIN PGP SIGNATURE-----",
    re.DOTALL,
)
_ENCRYPTED = "-----BEGIN PGP MESSAGE-----"


def encrypted() -> MailRefused:
    """The refusal of a mail that only its author and somebody else can read."""
    return MailRefused(
        "the mail is encrypted and there is no key here to read it; send it signed or plain",
        code=554,
        status="5.7.5",
    )


def opaque_content(data: bytes) -> bytes:
    """The MIME entity within `signed-data` (RFC 5652 §5), DER or BER.

    Raises:
        MailRefused: it is encrypted, or it cannot be read.
    """
    try:
        info = ContentInfo.load(data)  # type: ignore[no-untyped-call]
        kind = info["content_type"].native
        content = info["content"]["encap_content_info"]["content"].native if kind == "signed_data" else None
    except (ValueError, TypeError, KeyError, RecursionError):
        raise undecodable("its S/MIME part is broken") from None
    if kind in ("enveloped_data", "authenticated_enveloped_data"):
        raise encrypted()
    if not isinstance(content, bytes):
        raise undecodable("its S/MIME part holds no signed text")
    return content


def without_armour(text: str) -> str:
    """Text as it was before an OpenPGP program signed it in place (RFC 9580 §7).

    Raises:
        MailRefused: it is nothing but an encrypted message.
    """
    lines = text.replace("\r\n", "\n")
    if lines.lstrip().startswith(_ENCRYPTED):
        raise encrypted()
    signed = _CLEARTEXT.match(lines)
    if signed is None:
        return text
    return "\n".join(line.removeprefix("- ") for line in signed[1].split("\n"))
