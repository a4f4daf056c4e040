"""Surrogates become real values in the right place only, and nothing else that opens an account gets out."""

import base64
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airut_common.config.credentials import MaskedCredential
from airut_common.secrets import Secret
from airut_egress.credentials import (
    BadCredential,
    MaskedEntry,
    Substitution,
    manages,
    substitute,
    surrogate,
    unusable,
)
from airut_egress.policy import parse_policy

KEY = b"k" * 32
REAL = "ghp_" + "R3alR3alR3alR3alR3alR3alR3alR3alR3al"
API_REAL = "sk-ant-" + "api03-R3alR3alR3alR3alR3al"


def entry(
    name: str = "GITHUB_TOKEN",
    *,
    real: str = REAL,
    scopes: Sequence[str] = ("github.example", "*.github.example"),
    headers: Sequence[str] = ("authorization",),
    foreign: bool = False,
) -> MaskedEntry:
    config = MaskedCredential(scopes=tuple(scopes), headers=tuple(headers), allow_foreign_credentials=foreign)
    return MaskedEntry.build(name, config, Secret(real), surrogate(KEY, "sandbox", name, real))


GITHUB = entry()
API = entry("API_KEY", real=API_REAL, scopes=["api.example"], headers=["X-Api-Key"])
FAKE = surrogate(KEY, "sandbox", "GITHUB_TOKEN", REAL)
API_FAKE = surrogate(KEY, "sandbox", "API_KEY", API_REAL)
ALL = (GITHUB, API)


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


def send(
    *headers: str,
    host: str = "github.example",
    tls: bool = True,
    target: bytes = b"/",
    credentials: Sequence[MaskedEntry] = ALL,
) -> Substitution:
    pairs = [header.partition(": ") for header in headers]
    result = substitute(
        [(name.encode(), value.encode()) for name, _, value in pairs],
        host,
        target=target,
        tls=tls,
        credentials=credentials,
    )
    if result.refusal is not None:
        assert result.headers == []
        assert result.used == ()
        assert REAL not in result.refusal
        assert FAKE not in result.refusal
    return result


def lines(result: Substitution) -> list[str]:
    assert result.refusal is None, result.refusal
    return [f"{name.decode()}: {value.decode()}" for name, value in result.headers]


@pytest.mark.parametrize(
    ("given_value", "sent"),
    [
        (FAKE, REAL),
        (f"Bearer {FAKE}", f"Bearer {REAL}"),
        (f"bearer  {FAKE}", f"bearer  {REAL}"),
        (f"token {FAKE}", f"token {REAL}"),
        (f'Token token="{FAKE}"', f'Token token="{REAL}"'),
        (f"Token token={FAKE}", f"Token token={REAL}"),
        (basic(f"x-access-token:{FAKE}"), basic(f"x-access-token:{REAL}")),
        (basic(f"{FAKE}:x-oauth-basic"), basic(f"{REAL}:x-oauth-basic")),
        (basic(f"{FAKE}:"), basic(f"{REAL}:")),
        (basic(FAKE), basic(REAL)),
        (basic(f"{FAKE}:{FAKE}"), basic(f"{REAL}:{REAL}")),
        (basic(f"user:{FAKE}").replace("Basic", "bAsIc").rstrip("="), basic(f"user:{REAL}")),
    ],
)
def test_a_surrogate_is_replaced_in_every_form(given_value: str, sent: str) -> None:
    result = send(f"Authorization: {given_value}", "Accept: */*")
    assert lines(result) == [f"Authorization: {sent}", "Accept: */*"]
    assert result.used == ("GITHUB_TOKEN",)
    assert result.stripped == ()


def test_a_credential_that_is_a_basic_blob_is_replaced_verbatim() -> None:
    blob = base64.b64encode(b"user:correct horse battery").decode()
    one = entry("BLOB", real=blob)
    result = send(f"Authorization: Basic {one.swap.surrogate.decode()}", credentials=[one])
    assert lines(result) == [f"Authorization: Basic {blob}"]


def test_a_credential_with_a_colon_is_replaced_inside_basic() -> None:
    """Row 27: what is found is replaced, wherever the halves end."""
    one = entry("PAIR", real="robot77:s3cretS3cret")
    result = send(f"Authorization: {basic(one.swap.surrogate.decode())}", credentials=[one])
    assert lines(result) == [f"Authorization: {basic('robot77:s3cretS3cret')}"]


@pytest.mark.parametrize(
    "host", ["evil.example", "github.example.evil.example", "notgithub.example", "api.example"]
)
@pytest.mark.parametrize(
    "header",
    [
        f"Authorization: Bearer {FAKE}",
        f"authorization: {basic(f'u:{FAKE}')}",
        f"X-Api-Key: {FAKE}",
        f"Cookie: a=b; session={FAKE}",
        f"X_Auth_Token: {FAKE}",
        f"Proxy-Authorization: Bearer {FAKE}",
    ],
)
def test_a_surrogate_in_the_wrong_place_is_refused(header: str, host: str) -> None:
    """Row 23."""
    result = send(header, host=host)
    assert result.refusal == "credential GITHUB_TOKEN is not for this host"


def test_a_surrogate_in_the_wrong_header_of_the_right_host_is_refused() -> None:
    """Row 23: bound to host and header."""
    result = send(f"X-Api-Key: {FAKE}")
    assert result.refusal == "credential GITHUB_TOKEN is not for the header x-api-key"


@pytest.mark.parametrize(
    "header", [f"User-Agent: agent {FAKE}", f"X-Note: {FAKE}", f"Referer: https://x/{FAKE}"]
)
@pytest.mark.parametrize("host", ["github.example", "evil.example"])
def test_a_surrogate_that_is_merely_quoted_is_inert(header: str, host: str) -> None:
    """Row 26: never swapped, never a reason to refuse."""
    result = send(header, host=host)
    assert lines(result) == [header]
    assert result.used == ()


@pytest.mark.parametrize("value", [f"Bearer {FAKE}", basic(f"u:{FAKE}"), FAKE])
def test_nothing_is_put_in_without_verified_tls(value: str) -> None:
    """Rows 28, 59."""
    result = send(f"Authorization: {value}", tls=False)
    assert result.refusal == "credential GITHUB_TOKEN goes only over https"


@pytest.mark.parametrize(
    "header",
    [
        "Authorization: Bearer ghp_attackerattackerattackerattacker1234",
        f"Authorization: {basic('u:ghp_attacker')}",
        "Authorization: AWS4-HMAC-SHA256 Credential=AKIAATTACKER/x",
        "Authorization: Basic !!!not-base64",
        "authorization:  ",
        "Cookie: session=attacker",
        "X-Api-Key: attacker",
        "x_api_key: attacker",
        "Private-Token: attacker",
        "Proxy-Authorization: Basic YTpi",
        "X-Goog-Api-Key: attacker",
        "Sec-WebSocket-Protocol: openai-insecure-api-key.attacker",
    ],
)
@pytest.mark.parametrize("tls", [True, False])
def test_foreign_credentials_to_a_managed_host_are_removed(header: str, tls: bool) -> None:
    """Row 21: the attacker's own account on an allowed host."""
    result = send(header, "Accept: */*", tls=tls)
    assert lines(result) == ["Accept: */*"]
    assert len(result.stripped) == 1


def test_every_other_carrier_goes_when_ours_is_there() -> None:
    """Row 21: an unknown credential in another header beside the one put in."""
    result = send(
        "X-Api-Key: attacker",
        f"Authorization: Bearer {FAKE}",
        "Cookie: a=b",
        "Accept: */*",
        target=b"/x?access_token=attacker&page=2",
    )
    assert lines(result) == [f"Authorization: Bearer {REAL}", "Accept: */*"]
    assert result.target == b"/x?page=2"
    assert result.stripped == ("x-api-key", "cookie", "?access-token")


def test_a_host_without_a_managed_credential_keeps_what_it_was_sent() -> None:
    headers = ["Authorization: Bearer own", "Cookie: a=b", "X-Api-Key: own"]
    result = send(*headers, host="other.example", target=b"/?access_token=own")
    assert lines(result) == headers
    assert result.target == b"/?access_token=own"
    assert result.stripped == ()


def test_foreign_credentials_are_kept_where_the_rule_says_so() -> None:
    one = entry(foreign=True)
    assert not manages("github.example", [one])
    result = send("Authorization: Bearer own", "Cookie: a=b", credentials=[one], target=b"/?token=t")
    assert lines(result) == ["Authorization: Bearer own", "Cookie: a=b"]
    assert result.target == b"/?token=t"


def test_one_strict_rule_makes_the_host_strict() -> None:
    """Row 21."""
    lenient = entry("OTHER", real="other0123456789", headers=["x-other-token"], foreign=True)
    assert manages("github.example", [lenient, GITHUB])
    result = send("Authorization: Bearer own", credentials=[lenient, GITHUB])
    assert lines(result) == []


@pytest.mark.parametrize(
    "value",
    [
        f"Bearer {FAKE}, Bearer ghp_attacker",
        f"Bearer {FAKE} ghp_attacker",
        f"Bearer x{FAKE}",
        f"Bearer {FAKE}x",
        f"Bearer ghp_attacker,{FAKE}",
        f'Token token="{FAKE}", other="x"',
        f'Token token="{FAKE}',
        basic(f"ghp_attacker:{FAKE}"),
        basic(f"{FAKE}:ghp_attacker"),
        f"Bearer {FAKE}, {basic(f'a:{FAKE}')}",
    ],
)
def test_a_second_credential_in_one_value_is_refused(value: str) -> None:
    """Rows 21, 27: what cannot be replaced cleanly does not go out."""
    result = send(f"Authorization: {value}")
    assert result.refusal is not None
    assert "could not be put into the header authorization" in result.refusal


@pytest.mark.parametrize("foreign", [True, False])
@pytest.mark.parametrize(
    "values",
    [
        [f"Bearer {FAKE}", "Bearer attacker"],
        ["Bearer attacker", f"Bearer {FAKE}"],
        ["Bearer one", f"Bearer {FAKE}", "Bearer two"],
        [f"Bearer {FAKE}", f"Bearer {FAKE}"],
        [f"Bearer {FAKE}", f"token {FAKE}", "x"],
    ],
)
def test_duplicates_collapse_to_the_one_replaced(values: list[str], foreign: bool) -> None:
    """Row 21: which of two headers a server believes is not left to chance."""
    one = entry(foreign=foreign)
    result = send(*(f"Authorization: {value}" for value in values), credentials=[one])
    assert lines(result) == [f"Authorization: Bearer {REAL}"]
    assert result.stripped == ("authorization",) * (len(values) - 1)


def test_a_duplicate_under_another_spelling_collapses_too() -> None:
    """Row 21: CGI makes `X_Api_Key` and `X-Api-Key` one."""
    result = send(f"X-Api-Key: {API_FAKE}", "X_API_KEY: attacker", host="api.example")
    assert lines(result) == [f"X-Api-Key: {API_REAL}"]


def test_globs_only_scan() -> None:
    one = entry(headers=["x-*"], foreign=True)
    result = send(
        f"X-Deploy: id={FAKE}, ok",
        "X-Other: keep",
        "X-Other: keep too",
        "Authorization: own",
        credentials=[one],
    )
    assert lines(result) == [
        f"X-Deploy: id={REAL}, ok",
        "X-Other: keep",
        "X-Other: keep too",
        "Authorization: own",
    ]


def test_a_glob_rule_still_manages_its_host() -> None:
    """Row 21."""
    one = entry(headers=["*"])
    result = send(f"X-Deploy: {FAKE}", "Authorization: own", "X-Plain: y", credentials=[one])
    assert lines(result) == [f"X-Deploy: {REAL}", "X-Plain: y"]
    assert send(f"Authorization: Bearer {FAKE}, own", credentials=[one]).refusal
    assert lines(send(f"Authorization: Bearer {FAKE}", credentials=[one])) == [
        f"Authorization: Bearer {REAL}"
    ]


def test_a_glob_rule_outside_its_scope_is_refused() -> None:
    """Row 23."""
    assert send(f"X-Deploy: {FAKE}", host="evil.example", credentials=[entry(headers=["x-*"])]).refusal


def test_part_of_a_longer_word_is_not_replaced_by_scanning() -> None:
    """Row 27: found but not replaceable is a refusal, never a silent pass."""
    assert send(f"X-Deploy: a{FAKE}b", credentials=[entry(headers=["x-*"])]).refusal


def test_cookies_that_carry_the_surrogate_are_replaced_and_others_dropped() -> None:
    one = entry(headers=["cookie"])
    result = send(f'Cookie: a=b; sid={FAKE}; q="{FAKE}"; c', credentials=[one])
    assert lines(result) == [f'Cookie: sid={REAL}; q="{REAL}"']
    split = send("cookie: a=b", f"cookie: sid={FAKE}", credentials=[one])
    assert lines(split) == [f"cookie: sid={REAL}"]
    assert send(f"Cookie: sid=x{FAKE}", credentials=[one]).refusal
    lenient = entry(headers=["cookie"], foreign=True)
    result = send("cookie: a=b", f"cookie: c=d; sid={FAKE}", credentials=[lenient])
    assert lines(result) == ["cookie: a=b", f"cookie: c=d; sid={REAL}"]


def test_several_credentials_serve_one_host() -> None:
    second = entry("OTHER", real="other0123456789abc", headers=["x-api-key"])
    result = send(
        f"X-Api-Key: {second.swap.surrogate.decode()}", f"Authorization: {FAKE}", credentials=[GITHUB, second]
    )
    assert lines(result) == ["X-Api-Key: other0123456789abc", f"Authorization: {REAL}"]
    assert set(result.used) == {"GITHUB_TOKEN", "OTHER"}


def test_another_sandboxs_surrogate_is_worth_nothing() -> None:
    """Row 32."""
    stranger = surrogate(KEY, "another", "GITHUB_TOKEN", REAL)
    result = send(f"Authorization: Bearer {stranger}")
    assert lines(result) == []
    assert result.stripped == ("authorization",)


def test_pseudo_headers_pass() -> None:
    result = substitute(
        [(b":authority", b"github.example"), (b":path", b"/")],
        "github.example",
        target=b"/",
        tls=True,
        credentials=ALL,
    )
    assert [name for name, _ in result.headers] == [b":authority", b":path"]


def test_nothing_shows_a_real_value() -> None:
    result = send(f"Authorization: {FAKE}")
    assert REAL not in f"{result!r} {GITHUB!r} {GITHUB.swap!r}"


@pytest.mark.parametrize(
    ("policy", "usable"),
    [
        ("domains: [github.example]", True),
        ("domains: ['*.example']", True),
        ("domains: ['*']", True),
        ("url_prefixes: [{host: api.github.example, path: /x}]", True),
        ("domains: [other.example]", False),
        ("domains: ['github.?', '*.other.example']", False),
        ("domains: []", False),
    ],
)
def test_a_credential_that_could_never_be_used_is_a_problem(policy: str, usable: bool) -> None:
    """Row 27."""
    problems = unusable(parse_policy(policy, "policy"), [GITHUB])
    assert (problems == ()) is usable
    if not usable:
        assert "GITHUB_TOKEN" in problems[0]
        assert "github.example" in problems[0]


@pytest.mark.parametrize(
    "arguments",
    [
        {"scopes": ["10.0.0.1"]},
        {"scopes": ["github..example"]},
        {"headers": ["host"]},
        {"headers": ["Content-Length"]},
        {"headers": ["x y"]},
        {"headers": [""]},
    ],
)
def test_a_broken_rule_is_told_when_it_is_built(arguments: dict[str, list[str]]) -> None:
    """Row 27."""
    with pytest.raises(BadCredential, match="GITHUB_TOKEN"):
        entry(**arguments)


def test_a_surrogate_equal_to_the_value_is_refused() -> None:
    with pytest.raises(BadCredential, match="same as its surrogate"):
        MaskedEntry.build("T", MaskedCredential(scopes=("a.example",)), Secret(REAL), REAL)


NAMES = st.sampled_from(
    [
        b"authorization",
        b"Authorization",
        b"x-api-key",
        b"X_Api_Key",
        b"cookie",
        b"accept",
        b"x-note",
        b":path",
    ]
)
PIECES = st.lists(
    st.sampled_from(
        [FAKE, API_FAKE, "Bearer ", "Basic ", basic(f"u:{FAKE}"), "=", ";", ",", " ", '"', "x", "attacker"]
    )
    | st.text(max_size=4),
    max_size=6,
).map(lambda parts: "".join(parts).encode())


@given(
    st.lists(st.tuples(NAMES, PIECES | st.binary(max_size=20)), max_size=6),
    st.sampled_from(["github.example", "api.example", "evil.example"]),
    st.booleans(),
)
def test_real_values_reach_only_their_own_place(
    headers: list[tuple[bytes, bytes]], host: str, tls: bool
) -> None:
    """Rows 21, 23, 28: whatever is sent."""
    result = substitute(headers, host, target=b"/", tls=tls, credentials=ALL)
    own = {"github.example": (b"authorization", REAL), "api.example": (b"x-api-key", API_REAL)}.get(host)
    for name, value in result.headers:
        plain = value + b" " + b" ".join(_decoded(value))
        for real in (REAL, API_REAL):
            if real.encode() in plain:
                assert tls
                assert own is not None
                assert (name.lower().replace(b"_", b"-"), real) == own
                assert result.used
        if own is not None and name.lower().replace(b"_", b"-") in {
            b"authorization",
            b"x-api-key",
            b"cookie",
        }:
            assert own[1].encode() in plain


def _decoded(value: bytes) -> list[bytes]:
    try:
        return [base64.b64decode(value.partition(b" ")[2], validate=True)]
    except ValueError:
        return []
