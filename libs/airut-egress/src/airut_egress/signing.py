"""Access keys whose surrogates sign in the sandbox, and what becomes of their requests."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Self

from airut_common.config.credentials import SigningCredential
from airut_common.secrets import Secret

from .inspection import Denied
from .policy import HostPattern
from .scopes import read_scopes
from .sigv4 import (
    BodyCheck,
    ChunkedResigner,
    KeyPair,
    Refused,
    Resigned,
    find_key_id,
    resign,
)

Header = tuple[bytes, bytes]
#: These carry the signature; they are judged by it and by nothing else.
SIGNATURE_HEADERS = frozenset({b"authorization", b"x-amz-security-token"})


@dataclass(frozen=True, slots=True)
class SigningEntry:
    """One access key of a session, ready to be applied."""

    name: str
    surrogate: KeyPair
    real: KeyPair = field(repr=False)
    scopes: tuple[HostPattern, ...]
    services: frozenset[str] | None
    """Signing names that the key may be used for; None for all."""
    regions: frozenset[str] | None

    @classmethod
    def build(
        cls, name: str, config: SigningCredential, values: Mapping[str, Secret], stand_ins: Mapping[str, str]
    ) -> Self:
        """Put a rule of the configuration, its values and their surrogates together, all by their names.

        Raises:
            BadCredential: a scope cannot be used.
        """

        def pair(value_of: Callable[[str], str]) -> KeyPair:
            token = None if config.session_token is None else value_of(config.session_token)
            return KeyPair(value_of(name), value_of(config.secret_key), token)

        return cls(
            name=name,
            surrogate=pair(lambda part: stand_ins[part]),
            real=pair(lambda part: values[part].reveal()),
            scopes=read_scopes(name, config.scopes),
            services=None if config.services is None else frozenset(config.services),
            regions=None if config.regions is None else frozenset(config.regions),
        )

    def covers(self, host: str) -> bool:
        """Whether the key may be used on a canonical host."""
        return any(scope.matches(host) for scope in self.scopes)


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """A request as it will be sent but for the key it is signed with."""

    entry: SigningEntry
    method: str
    host: str
    target: bytes
    headers: Sequence[Header] = field(repr=False)
    now: datetime

    def resign(self, body: bytes | None = None) -> Resigned:
        """Under the real key, by the headers alone or, where no header has its digest, with the body.

        Raises:
            Refused: anything is unsigned that must be, malformed, too old, out of limits or tampered with.
        """
        entry = self.entry
        return resign(
            method=self.method,
            host=self.host,
            raw_target=self.target,
            headers=self.headers,
            surrogate=entry.surrogate,
            real=entry.real,
            now=self.now,
            body=body,
            services=entry.services,
            regions=entry.regions,
        )


def signer_of(
    headers: Sequence[Header], host: str, target: bytes, entries: Sequence[SigningEntry]
) -> SigningEntry | None:
    """The entry under whose surrogate a request is signed; None when it is under none.

    Raises:
        Refused: it is not for this host, or nobody can say what the request is signed with.
    """
    if not entries:
        return None
    try:
        key_id = find_key_id(headers, target)
    except Refused:
        if any(entry.covers(host) for entry in entries):
            raise
        return None
    entry = next((entry for entry in entries if entry.surrogate.access_key_id == key_id), None)
    if entry is not None and not entry.covers(host):
        raise Refused(f"credential {entry.name} is not for this host")
    return entry


class HeldToDigest:
    """Passes a body on and keeps its last piece until the whole is known to be what was signed."""

    def __init__(self, check: BodyCheck) -> None:
        self._check = check
        self._held = b""

    def __call__(self, data: bytes) -> bytes:
        """The next piece, or nothing at the end; returns what may go on.

        Raises:
            Refused: the body is another one.
        """
        if data:
            self._check.update(data)
        else:
            self._check.finish()
        passed, self._held = self._held, data
        return passed


class SignedChunks:
    """Signs the chunks of a body anew as they pass."""

    def __init__(self, chunks: ChunkedResigner) -> None:
        self._chunks = chunks

    def __call__(self, data: bytes) -> bytes:
        """The next piece, or nothing at the end; returns what may go on.

        Raises:
            Refused: a signature does not match, or the framing is wrong.
        """
        if data:
            return self._chunks.feed(data)
        self._chunks.finish()
        return b""


class SignatureFilter:
    """Signs a request whose signature covers a body that no header tells of."""

    def __init__(self, signed: SignedRequest) -> None:
        self._signed = signed
        self._done: Resigned | None = None

    def __call__(self, body: bytes) -> bytes:
        """The same body, signed.

        Raises:
            Denied: it is not the one that the sandbox signed.
        """
        try:
            self._done = self._signed.resign(body)
        except Refused as refused:
            raise Denied("credential", str(refused)) from None
        return body

    @property
    def resigned(self) -> Resigned:
        """Headers and target to be sent.

        Raises:
            RuntimeError: nothing has been signed.
        """
        if self._done is None:
            raise RuntimeError("a request would go out that was not signed")
        return self._done
