"""Signatures in the Authorization header.

Source: AWS IAM User Guide, "Create a signed AWS API request", step 6.
"""

from dataclasses import replace
from typing import Final

from .claims import FRAMING, Claim, Headers
from .keys import Credential, KeyPair

SESSION: Final = "x-amz-security-token"


def with_keys(headers: Headers, claim: Claim, real: KeyPair) -> tuple[list[tuple[bytes, bytes]], Claim]:
    """The headers and what they will claim under the real key; the signature is still to be made.

    The session token is part of what is signed, so it is changed first, and SignedHeaders with it. The framing is
    between us and the upstream, and left out.
    """
    token = None if real.session_token is None else real.session_token.encode()
    changed: list[tuple[bytes, bytes]] = []
    for name, value in headers:
        if name.lower() != SESSION.encode():
            changed.append((name, value))
        elif token is not None:
            changed.append((name, token))
    present = SESSION in claim.signed
    if token is not None and not present:
        changed.append((SESSION.encode(), token))
    others = set(claim.signed) - {SESSION, FRAMING}
    signed = tuple(sorted(others | ({SESSION} if token is not None else set())))
    credential = Credential(real.access_key_id, claim.credential.scope)
    return changed, replace(claim, credential=credential, signed=signed, signature="")


def with_signature(headers: Headers, claim: Claim, signature: str) -> list[tuple[bytes, bytes]]:
    """The headers with a new Authorization in the place of the old one."""
    value = (
        f"{claim.algorithm} Credential={claim.credential.key_id}/{claim.credential.scope.text}, "
        f"SignedHeaders={';'.join(claim.signed)}, Signature={signature}"
    ).encode("ascii")
    return [(name, value if name.lower() == b"authorization" else old) for name, old in headers]
