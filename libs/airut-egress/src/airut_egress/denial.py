"""The 403 a sandbox gets: JSON with stable keys, and wording that is documented."""

import json
from typing import Final

_HOW: Final = (
    "To propose a change, edit .airut/network-allowlist.yaml in the repository, open a pull request, and run the "
    "task again when it is merged into the default branch."
)
#: Obstacle to message. The keys are what events and denials call it; they do not change.
MESSAGES: Final = {
    "host": "The network allowlist has no rule for this host.",
    "path": "The network allowlist allows this host, but not this path.",
    "method": "The network allowlist allows this host and path, but not this method.",
    "ambiguous-path": "This path can be read in more than one way, so the rules for paths do not allow it.",
    "port": "Only port 80 (http), port 443 (https) and ports that the operator has opened leave this sandbox.",
    "scheme": "This port is for the other of http and https.",
    "literal": "Addresses are not allowed; use the name of a host on the network allowlist.",
    "mismatch": "The names in this request (TLS server name, Host, URL) do not agree.",
    "graphql": "The network allowlist has no rule for this GraphQL operation.",
    "body": "This request's body is not in a form that can be inspected.",
    "too-large": "This request's body is too large to be inspected.",
    "server-tool": "This request would let the API's servers reach what the network allowlist does not allow.",
    "budget": "This sandbox has sent as much to this host as it may.",
    "credential": "A credential in this request is not allowed where it stands.",
    "token": "The credential for this host could not be obtained from GitHub.",
    "upstream-refused": "This host leads to an address that sandboxes may not reach.",
    "upstream-unknown": "This host has no address.",
    "upstream-unreachable": "This host is allowed, but could not be reached.",
    "upstream-tls": "This host is allowed, but its certificate could not be verified.",
    "protocol": "Only HTTP leaves this sandbox.",
    "connections": "This sandbox has too many connections open.",
    "rate": "This sandbox makes too many requests at once; try again in a moment.",
    "policy-changed": "The rules of this sandbox have changed; connect again.",
}
_CHANGEABLE: Final = frozenset({"host", "path", "method", "ambiguous-path", "graphql", "server-tool"})


def denial_body(*, obstacle: str, host: str, path: str, method: str, detail: str = "") -> bytes:
    """The body of a 403, as JSON: `error`, `message`, `host`, `path`, `method`, `obstacle`, and `change` where a
    change of the allowlist is the way out. What the sandbox sent is cut and escaped."""
    body = {
        "error": "network_denied",
        "message": _message(obstacle, detail),
        "host": host[:253],
        "path": path.partition("?")[0][:1024],
        "method": method[:32],
        "obstacle": obstacle,
    }
    if obstacle in _CHANGEABLE:
        body["change"] = _HOW
    return json.dumps(body).encode("ascii")


def denial_text(*, obstacle: str, detail: str = "") -> bytes:
    """The same for people: the message, and a line with the way out where there is one."""
    lines = [_message(obstacle, detail), *([_HOW] if obstacle in _CHANGEABLE else [])]
    text = "".join(f"{line}\n" for line in lines)
    return "".join(char if char.isprintable() or char == "\n" else "?" for char in text).encode(
        "ascii", "replace"
    )


def _message(obstacle: str, detail: str) -> str:
    message = MESSAGES.get(obstacle, "This request is not allowed.")
    return f"{message} ({detail})" if detail else message
