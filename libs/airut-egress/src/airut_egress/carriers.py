"""Where a request can carry a credential besides the managed one (field notes 21).

An allowed host with a managed credential is a way out when the agent may bring an account of its own, so every
carrier known here is removed from requests to such a host. Names are judged by their last words, because every
vendor has a header of its own.
"""

import re
from typing import Final
from urllib.parse import unquote_to_bytes

_EXACT: Final = frozenset(
    {
        "authorization", "proxy-authorization", "cookie", "cookie2", "authentication", "x-authentication",
        "signature", "signature-input", "dpop", "x-session-id",
        "client-cert", "x-client-cert", "x-forwarded-client-cert",
    }
)  # fmt: skip
_LAST_WORDS: Final = frozenset(
    {
        "authorization", "auth", "token", "jwt", "apikey", "apitoken", "secret", "password", "passwd",
        "credential", "credentials", "cookie",
    }
)  # fmt: skip
_NOT_TOKENS: Final = frozenset({"csrf", "xsrf", "page", "next", "continuation", "sync", "resume", "cancel"})
_KEY_KINDS: Final = frozenset(
    {
        "api", "access", "auth", "subscription", "functions", "rapidapi", "application", "app", "private",
        "secret", "account", "service", "master", "admin",
    }
)  # fmt: skip

_QUERY_KEYS: Final = frozenset(
    {
        "access-token", "accesstoken", "auth-token", "authtoken", "token", "id-token", "private-token", "job-token",
        "feed-token", "oauth-token", "oauth-signature", "bearer", "bearer-token", "jwt", "auth", "authorization",
        "api-key", "apikey", "api-token", "apitoken", "app-key", "subscription-key", "client-secret", "secret",
        "password", "passwd", "session-id", "sessionid", "sig", "signature", "awsaccesskeyid", "x-amz-credential",
        "x-amz-signature", "x-amz-security-token", "x-goog-credential", "x-goog-signature", "googleaccessid",
    }
)  # fmt: skip
#: `key=` is a parameter like any other in many APIs; Google's keys are told by their beginning.
_GOOGLE_KEY: Final = b"AIza"
# Browsers' WebSocket API cannot set headers, so some vendors take the credential as a subprotocol.
_SUBPROTOCOL_CREDENTIAL: Final = re.compile(rb"bearer|api-?key|token|auth|jwt", re.IGNORECASE)


def normal_name(name: bytes) -> str:
    """A header name as servers may read it: lower case, and `_` for `-`, as CGI and WSGI make them equal."""
    return name.decode("latin-1").strip().lower().replace("_", "-")


def is_carrier(name: str, value: bytes = b"") -> bool:
    """Whether a header, by its `normal_name`, carries credentials."""
    if name in _EXACT:
        return True
    if name == "sec-websocket-protocol":
        return _SUBPROTOCOL_CREDENTIAL.search(value) is not None
    rest, _, last = name.rpartition("-")
    before = rest.rpartition("-")[2]
    if last == "key":
        return before in _KEY_KINDS
    return last in _LAST_WORDS and before not in _NOT_TOKENS


def strip_query(target: bytes) -> tuple[bytes, tuple[str, ...]]:
    """Remove credentials from the query of a raw request target.

    Returns the target, byte for byte the same but for the removed pairs, and the keys of what was removed.
    """
    path, mark, query = target.partition(b"?")
    if not mark:
        return target, ()
    kept: list[bytes] = []
    removed: list[str] = []
    for pair in query.split(b"&"):
        key = _credential_key(pair)
        if key is None:
            kept.append(pair)
        else:
            removed.append(key)
    if not removed:
        return target, ()
    return (path + b"?" + b"&".join(kept) if kept else path), tuple(removed)


def _credential_key(pair: bytes) -> str | None:
    # Some servers take `;` for `&`: a pair is judged by each key that hides in it.
    for part in pair.split(b";"):
        raw_key, _, value = part.partition(b"=")
        key = normal_name(unquote_to_bytes(raw_key.replace(b"+", b" ")))
        if key in _QUERY_KEYS or (key == "key" and unquote_to_bytes(value).startswith(_GOOGLE_KEY)):
            return key
    return None
