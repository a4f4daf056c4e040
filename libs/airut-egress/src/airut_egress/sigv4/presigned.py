"""Signatures in the query: presigned URLs.

Source: Amazon S3 API Reference, "Authenticating Requests: Using Query Parameters". What is made here is good for
as long as the surrogate's own URL was, and must never be shown to the sandbox.
"""

import re
from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from typing import Final

from airut_egress.swap import Refused

from .canonical import Parameter, encode
from .claims import AUTH_PARAMETERS, FRAMING, Claim, check_algorithm, read_signed_headers
from .keys import Credential, KeyPair

SIGNATURE: Final = b"X-Amz-Signature"
SESSION: Final = b"X-Amz-Security-Token"
_CREDENTIAL: Final = b"X-Amz-Credential"
_MAX_EXPIRES: Final = 7 * 24 * 3600  # S3 takes no more
_DEFAULT_EXPIRES: Final = 15 * 60  # of services other than S3, which do not ask for the parameter
_HEX: Final = re.compile(r"[0-9a-f]+", re.ASCII)
_SECONDS: Final = re.compile(r"[0-9]{1,6}", re.ASCII)


def auth_parameters(parameters: Iterable[Parameter]) -> dict[bytes, str]:
    """The parameters of the signature, by their names.

    Raises:
        Refused: one is repeated, spelled in another way than AWS does, or is not ASCII.
    """
    found: dict[bytes, str] = {}
    for parameter in parameters:
        name = AUTH_PARAMETERS.get(parameter.name.lower())
        if name is None:
            continue
        if name in found or not parameter.raw.startswith(name + b"=") or not parameter.value.isascii():
            raise Refused(f"the query parameter {name.decode()} is repeated or malformed")
        found[name] = parameter.value.decode("ascii")
    return found


def read_claim(found: dict[bytes, str]) -> Claim:
    """The claim of a request whose form is `query`, from its `auth_parameters`.

    Raises:
        Refused: a part is missing or malformed.
    """
    algorithm = check_algorithm(_needed(found, b"X-Amz-Algorithm"))
    signature = _needed(found, SIGNATURE)
    if _HEX.fullmatch(signature) is None:
        raise Refused("X-Amz-Signature is malformed")
    signed = read_signed_headers(_needed(found, b"X-Amz-SignedHeaders"))
    if FRAMING in signed:
        raise Refused(f"the header {FRAMING} must not be signed in a presigned request")
    return Claim(
        form="query",
        algorithm=algorithm,
        credential=Credential.parse(_needed(found, _CREDENTIAL), algorithm),
        signed=signed,
        signature=signature,
        expires=_expires(found.get(b"X-Amz-Expires", str(_DEFAULT_EXPIRES))),
    )


def unsigned(parameters: Iterable[Parameter]) -> list[Parameter]:
    """What the signature is made over: all parameters but the signature."""
    return [parameter for parameter in parameters if parameter.name != SIGNATURE]


def with_keys(parameters: Iterable[Parameter], claim: Claim, real: KeyPair) -> tuple[list[Parameter], Claim]:
    """The parameters and what they will claim under the real key; without a signature."""
    credential = Credential(real.access_key_id, claim.credential.scope)
    replaced = {
        _CREDENTIAL: f"{credential.key_id}/{credential.scope.text}".encode("ascii"),
        SESSION: None if real.session_token is None else real.session_token.encode(),
    }
    changed: list[Parameter] = []
    for parameter in unsigned(parameters):
        if parameter.name not in replaced:
            changed.append(parameter)
            continue
        value = replaced.pop(parameter.name)
        if value is not None:
            changed.append(_made(parameter.name, value))
    changed += [_made(name, value) for name, value in replaced.items() if value is not None]
    return changed, replace(claim, credential=credential, signature="")


def target(path: bytes, parameters: Iterable[Parameter], signature: str) -> bytes:
    """The request target: everything else as it was received, the signature last."""
    parts = [*(parameter.raw for parameter in parameters), SIGNATURE + b"=" + signature.encode("ascii")]
    return path + b"?" + b"&".join(parts)


def _made(name: bytes, value: bytes) -> Parameter:
    return Parameter(name, value, name + b"=" + encode(value))


def _needed(found: dict[bytes, str], name: bytes) -> str:
    if name not in found:
        raise Refused(f"a presigned request needs {name.decode()}")
    return found[name]


def _expires(text: str) -> timedelta:
    if _SECONDS.fullmatch(text) is None or not 1 <= int(text) <= _MAX_EXPIRES:
        raise Refused("X-Amz-Expires is not a number of seconds from 1 to 604800")
    return timedelta(seconds=int(text))
