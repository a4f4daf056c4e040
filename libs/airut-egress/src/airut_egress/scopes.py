"""Host patterns of a credential."""

from collections.abc import Iterable

from .policy import BadPattern, HostPattern
from .surrogates import BadCredential


def read_scopes(name: str, texts: Iterable[str]) -> tuple[HostPattern, ...]:
    """Where the credential of this name may go.

    Raises:
        BadCredential: one is not a host pattern.
    """
    return tuple(_read(name, text) for text in texts)


def _read(name: str, text: str) -> HostPattern:
    try:
        return HostPattern.parse(text)
    except BadPattern as problem:
        raise BadCredential(f"credential {name}: scope {text!r}: {problem}") from None
