"""Where a foreign credential could hide beside a managed one (field notes 21)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airut_egress.carriers import is_carrier, normal_name, strip_query

CARRIERS = [
    "authorization",
    "proxy-authorization",
    "cookie",
    "x-api-key",
    "api-key",
    "apikey",
    "x-apikey",
    "x-auth-token",
    "private-token",
    "job-token",
    "x-github-token",
    "x-figma-token",
    "x-vault-token",
    "x-goog-api-key",
    "x-amz-security-token",
    "x-access-token",
    "x-auth-key",
    "dd-api-key",
    "dd-application-key",
    "ocp-apim-subscription-key",
    "x-functions-key",
    "x-rapidapi-key",
    "x-authorization",
    "x-amz-access-key",
    "x-secret",
    "x-password",
    "x-forwarded-client-cert",
    "signature",
    "signature-input",
    "dpop",
    "x-jwt",
    "x-gitlab-token",
    "x-shopify-access-token",
]
OTHERS = [
    "accept",
    "accept-encoding",
    "content-type",
    "content-length",
    "user-agent",
    "host",
    "range",
    "if-none-match",
    "anthropic-version",
    "anthropic-beta",
    "x-csrf-token",
    "x-xsrf-token",
    "x-page-token",
    "x-ms-continuation-token",
    "idempotency-key",
    "sec-websocket-key",
    "x-stainless-lang",
    "git-protocol",
    "x-amz-date",
    "x-goog-user-project",
    "x-amz-server-side-encryption-customer-key",
    "npm-auth-type",
    "max-tokens",
    "author",
    "x-request-id",
    "surrogate-key",
    "origin",
    "referer",
]


@pytest.mark.parametrize("name", CARRIERS)
def test_carriers_are_known_in_every_spelling(name: str) -> None:
    """Row 21."""
    for spelling in (name, name.upper(), name.title(), name.replace("-", "_"), f"{name} "):
        assert is_carrier(normal_name(spelling.encode()))


@pytest.mark.parametrize("name", OTHERS)
def test_other_headers_are_left_alone(name: str) -> None:
    assert not is_carrier(name)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"realtime, openai-insecure-api-key.abc", True),
        (b"base64url.bearer.authorization.k8s.io.abc, v4.channel.k8s.io", True),
        (b"graphql-transport-ws", False),
        (b"v4.channel.k8s.io", False),
    ],
)
def test_a_subprotocol_can_be_a_credential(value: bytes, expected: bool) -> None:
    assert is_carrier("sec-websocket-protocol", value) is expected


@pytest.mark.parametrize(
    ("target", "stripped", "removed"),
    [
        (b"/a", b"/a", ()),
        (b"/a?", b"/a?", ()),
        (b"/a?x=1&y=%20&&z", b"/a?x=1&y=%20&&z", ()),
        (b"/a?access_token=t", b"/a", ("access-token",)),
        (b"/a?x=1&ACCESS_TOKEN=t&y=2", b"/a?x=1&y=2", ("access-token",)),
        (b"/a?access%5Ftoken=t&x=1", b"/a?x=1", ("access-token",)),
        (
            b"/a?api-key=1&apikey=2&private_token=3&sig=4",
            b"/a",
            ("api-key", "apikey", "private-token", "sig"),
        ),
        (b"/a?x=1;access_token=t", b"/a", ("access-token",)),
        (b"/a?key=cache-v1", b"/a?key=cache-v1", ()),
        (b"/a?key=AIzaSyA&alt=json", b"/a?alt=json", ("key",)),
        (b"/a?X-Amz-Signature=1&X-Amz-Date=2", b"/a?X-Amz-Date=2", ("x-amz-signature",)),
        (b"/a?page_token=t&q=token", b"/a?page_token=t&q=token", ()),
        (b"/a?b?token=t", b"/a?b?token=t", ()),
    ],
)
def test_query_credentials_are_removed_and_the_rest_is_untouched(
    target: bytes, stripped: bytes, removed: tuple[str, ...]
) -> None:
    """Row 21."""
    assert strip_query(target) == (stripped, removed)


@given(st.binary())
def test_any_target_is_survived_and_stripping_twice_changes_nothing(target: bytes) -> None:
    once, _ = strip_query(target)
    assert strip_query(once) == (once, ())
