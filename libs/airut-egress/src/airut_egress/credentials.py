"""Masked credentials: the one place where a real value takes its surrogate's place.

A surrogate is worth nothing: it is replaced only in the headers its rule names, for the hosts its rule names,
on verified TLS. Everything here is pure; a request goes on only when `Substitution.refusal` is None.
"""

import fnmatch
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, Self

from airut_common.config.credentials import GithubAppCredential, MaskedCredential, SigningCredential
from airut_common.secrets import Secret

from .carriers import is_carrier, normal_name, strip_query
from .policy import HostPattern, Policy
from .scopes import read_scopes
from .surrogates import BadCredential, check_value, surrogate
from .swap import Refused, Swap, readable, swap_cookies, swap_value

__all__ = [
    "BadCredential",
    "MaskedEntry",
    "Substitution",
    "manages",
    "substitute",
    "surrogate",
    "unusable",
]

Headers = Sequence[tuple[bytes, bytes]]

_HEADER_PATTERN: Final = re.compile(r"[A-Za-z0-9!#$%&'+.^_`|~*?-]+", re.ASCII)
# These decide where and how a request is read, and can never carry a credential.
_NOT_CREDENTIALS: Final = frozenset(
    {"host", "content-length", "transfer-encoding", "connection", "upgrade", "te"}
)


@dataclass(frozen=True, slots=True)
class MaskedEntry:
    """One masked credential of a session, ready to be applied."""

    name: str
    swap: Swap = field(repr=False)
    scopes: tuple[HostPattern, ...]
    exact: frozenset[str]
    """Credential headers, by `normal_name`."""
    globs: re.Pattern[str] | None
    """Header names that are only scanned."""
    allow_foreign: bool

    @classmethod
    def build(
        cls, name: str, config: MaskedCredential | GithubAppCredential, real: Secret, stand_in: str
    ) -> Self:
        """Put a rule of the configuration and its value together. Made anew when the value is replaced.

        Raises:
            BadCredential: a scope, a header pattern or the value cannot be used.
        """
        headers = [_header_pattern(name, text) for text in config.headers]
        globs = [text for text in headers if _is_glob(text)]
        return cls(
            name=name,
            swap=_swap(name, real, stand_in),
            scopes=read_scopes(name, config.scopes),
            exact=frozenset(text for text in headers if not _is_glob(text)),
            globs=re.compile("|".join(map(fnmatch.translate, globs))) if globs else None,
            allow_foreign=config.allow_foreign_credentials,
        )

    @classmethod
    def part(cls, name: str, config: SigningCredential, real: Secret, stand_in: str) -> Self:
        """A part of an access key: known wherever it stands, and put in nowhere.

        Raises:
            BadCredential: a scope or the value cannot be used.
        """
        return cls(
            name=name,
            swap=_swap(name, real, stand_in),
            scopes=read_scopes(name, config.scopes),
            exact=frozenset(),
            globs=None,
            allow_foreign=config.allow_foreign_credentials,
        )

    @property
    def surrogate(self) -> str:
        """What the sandbox holds; given again to `build` when the value is replaced."""
        return self.swap.surrogate.decode("ascii")

    def covers(self, host: str) -> bool:
        """Whether the value may go to a canonical host."""
        return any(scope.matches(host) for scope in self.scopes)

    def names(self, header: str) -> bool:
        """Whether the rule lists a header, by its `normal_name`."""
        return header in self.exact or (self.globs is not None and self.globs.match(header) is not None)


@dataclass(frozen=True, slots=True)
class Substitution:
    """What became of a request."""

    headers: list[tuple[bytes, bytes]] = field(repr=False)
    """To be sent upstream; empty when refused. Holds real values: never log it."""
    target: bytes
    """The request target without foreign credentials in its query."""
    used: tuple[str, ...] = ()
    """Names of the credentials put in."""
    stripped: tuple[str, ...] = ()
    """Lower-case names of removed headers, and `?key` for removed query keys."""
    refusal: str | None = None
    """Why the request must not go on; names the credential, never its value."""


def manages(host: str, credentials: Iterable[MaskedEntry]) -> bool:
    """Whether a canonical host has a managed credential, so that no other may go there (field notes 21)."""
    return any(entry.covers(host) and not entry.allow_foreign for entry in credentials)


def substitute(
    headers: Headers, host: str, *, target: bytes, tls: bool, credentials: Sequence[MaskedEntry]
) -> Substitution:
    """Put real values where their rules allow it, and take every other credential out.

    Args:
        headers: as received, without pseudo-headers' values being touched.
        host: canonical name of the upstream.
        target: the raw origin-form request target.
        tls: whether the upstream leg is verified TLS; nothing is put in otherwise.
        credentials: all of the session's, in scope or not.
    """
    request = _Request(host, tls=tls, credentials=credentials)
    try:
        for name, value in headers:
            request.take(name, value)
    except Refused as refusal:
        return Substitution([], target, refusal=str(refusal))
    removed: tuple[str, ...] = ()
    if request.managed:
        target, removed = strip_query(target)
    return Substitution(
        headers=request.headers,
        target=target,
        used=tuple(request.used),
        stripped=(*request.stripped, *(f"?{key}" for key in removed)),
    )


def unusable(policy: Policy, credentials: Iterable[MaskedEntry]) -> tuple[str, ...]:
    """Problems with credentials that could never be put in, because no allowed host is in their scope
    (field notes 27). One sentence each."""
    return tuple(
        f"credential {entry.name} could never be used: the allowlist has no host in its scopes "
        f"({', '.join(scope.text for scope in entry.scopes)})"
        for entry in credentials
        if not any(scope.overlaps(rule.host) for scope in entry.scopes for rule in policy.rules)
    )


class _Request:
    """One pass over a request's headers."""

    def __init__(self, host: str, *, tls: bool, credentials: Sequence[MaskedEntry]) -> None:
        scoped = [entry for entry in credentials if entry.covers(host)]
        self._tls = tls
        self._all = credentials
        self._scoped = {entry.name for entry in scoped}
        self._own_headers = {header for entry in scoped for header in entry.exact}
        self._filled: set[str] = set()
        self.managed = any(not entry.allow_foreign for entry in scoped)
        self.headers: list[tuple[bytes, bytes]] = []
        self.used: dict[str, None] = {}
        self.stripped: list[str] = []

    def take(self, name: bytes, value: bytes) -> None:
        """Keep, change, drop or refuse one header."""
        key = normal_name(name)
        text = readable(value)
        found = [entry for entry in self._all if entry.swap.surrogate in text]
        # A surrogate that is quoted somewhere else is inert, and no reason to refuse (field notes 26).
        if found and (
            is_carrier(key, value)
            or any(key in entry.exact for entry in self._all)
            or any(entry.names(key) for entry in found)
        ):
            self._take_surrogate(key, name, value, found)
        elif self._is_credential_header(key, value) and (self.managed or key in self._filled):
            self.stripped.append(key)
        else:
            self.headers.append((name, value))

    def _is_credential_header(self, key: str, value: bytes) -> bool:
        return key in self._own_headers or is_carrier(key, value)

    def _take_surrogate(self, key: str, name: bytes, value: bytes, found: list[MaskedEntry]) -> None:
        for entry in found:
            self._check(entry, key)
        credential_header = self._is_credential_header(key, value)
        swap_it = swap_cookies if key == "cookie" else swap_value
        changed = swap_it(value, [entry.swap for entry in found], strict=self.managed and credential_header)
        names = ", ".join(entry.name for entry in found)
        if changed is None:
            raise Refused(
                f"credential {names} could not be put into the header {key}: its value must be the credential "
                "alone, with a scheme such as Bearer or inside Basic"
            )
        if credential_header and key != "cookie":
            self._collapse(key)
            if key in self._filled:
                self.stripped.append(key)
                return
            self._filled.add(key)
        self.used.update((entry.name, None) for entry in found)
        self.headers.append((name, changed))

    def _check(self, entry: MaskedEntry, key: str) -> None:
        if entry.name not in self._scoped:
            raise Refused(f"credential {entry.name} is not for this host")
        if not entry.names(key):
            raise Refused(f"credential {entry.name} is not for the header {key}")
        if not self._tls:
            raise Refused(f"credential {entry.name} goes only over https")

    def _collapse(self, key: str) -> None:
        """Drop what stands under this name without a surrogate: of duplicates, the one replaced is sent."""
        if key in self._filled:
            return
        kept = [header for header in self.headers if normal_name(header[0]) != key]
        self.stripped += [key] * (len(self.headers) - len(kept))
        self.headers = kept


def _swap(name: str, real: Secret, stand_in: str) -> Swap:
    value = real.reveal()
    check_value(name, value)
    if value == stand_in:
        raise BadCredential(f"credential {name} is the same as its surrogate")
    return Swap(surrogate=stand_in.encode("ascii"), real=value.encode("ascii"))


def _header_pattern(name: str, text: str) -> str:
    pattern = text.lower().replace("_", "-")
    if _HEADER_PATTERN.fullmatch(text) is None or pattern in _NOT_CREDENTIALS:
        raise BadCredential(f"credential {name}: {text!r} is not a name or pattern of a credential header")
    return pattern


def _is_glob(text: str) -> bool:
    return "*" in text or "?" in text
