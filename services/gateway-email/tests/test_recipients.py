"""Which repository a mail is for."""

import time
import unicodedata
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airut_common.config.models import GitConfig, RepoConfig
from airut_common.testing.builders import email_route
from airut_gateway_email.recipients import (
    Recipient,
    answered_from,
    find_recipient,
    is_ours,
    listed_addresses,
    listed_recipients,
)
from airut_mail_auth.addresses import parse_address


def _repo(*addresses: str) -> RepoConfig:
    return RepoConfig(address=addresses, senders=("a@b.example",), git=GitConfig(url="https://git.example/x"))


REPOS = {
    "demo": _repo("demo@airut.example"),
    "site": _repo("airut+site@airut.example"),
    "book": _repo("read@bücher.example", "help@airut.example"),
}


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("demo@airut.example", Recipient("demo", "demo@airut.example")),
        ("Demo@AIRUT.example", Recipient("demo", "demo@airut.example")),
        ("demo+opus@airut.example", Recipient("demo", "demo@airut.example", "opus")),
        ("demo+claude-opus-4.5@airut.example", Recipient("demo", "demo@airut.example", "claude-opus-4.5")),
        ("airut+site@airut.example", Recipient("site", "airut+site@airut.example")),
        ("airut+site+haiku@airut.example", Recipient("site", "airut+site@airut.example", "haiku")),
        ("read@xn--bcher-kva.example", Recipient("book", "read@bücher.example")),
        ("help@airut.example", Recipient("book", "help@airut.example")),
        ("help+opus@airut.example", Recipient("book", "help@airut.example", "opus")),
    ],
)
def test_row_69_our_own_recipient_alone_carries_a_hint(address: str, found: Recipient):
    assert find_recipient(address, REPOS) == found


@pytest.mark.parametrize(
    "address",
    ["", "x@airut.example", "demo@other.example", "+opus@airut.example", "demo+@airut.example", "demo+$(x)@airut.example",
     "demo+../x@airut.example", "demo", '"demo"@airut.example', "demo@airut.example@evil.example"],
)  # fmt: skip
def test_everything_else_is_nobody(address: str):
    assert find_recipient(address, REPOS) is None


@pytest.mark.parametrize(
    ("addresses", "sender"),
    [
        (("demo@airut.example", "help@airut.example"), "help@airut.example"),
        (("demo@airut.example", "new@airut.example"), "demo@airut.example"),
        ((), "help@airut.example"),
    ],
)
def test_an_answer_comes_from_an_address_that_is_still_ours(addresses: tuple[str, ...], sender: str):
    assert answered_from(email_route(from_address="help@airut.example"), addresses).from_address == sender


def test_is_ours_covers_sub_addresses():
    assert is_ours(parse_address("demo+x@airut.example"), REPOS.values())
    assert is_ours(parse_address("help+x@airut.example"), REPOS.values())
    assert not is_ours(parse_address("ada@lovelace.example"), REPOS.values())


SECOND = timedelta(seconds=1)
ADDRESSISH = st.one_of(
    st.text(max_size=60),
    st.lists(
        st.sampled_from(
            ["demo", "airut", "read", "+", "site", "@", "airut.example", "bücher.example", "xn--bcher-kva.example", ".", ",", "<", ">",
             "(", ")", '"', "\\", ":", ";", " ", "evil.example", "\u212a", "\uff20", "u\u0308"]
        ),
        max_size=12,
    ).map("".join),
)  # fmt: skip


@settings(max_examples=500, deadline=SECOND)
@given(ADDRESSISH)
def test_no_repository_is_found_but_by_its_address(text: str):
    found = find_recipient(text, REPOS)
    if found is None:
        return
    assert found.address in REPOS[found.repo].address
    local, _, domain = found.address.partition("@")
    said, _, where = unicodedata.normalize("NFC", text).lower().partition("@")
    assert said == (local if found.model is None else f"{local}+{found.model}")
    assert where in (domain, domain.encode("idna").decode())


@settings(max_examples=500, deadline=SECOND)
@given(ADDRESSISH)
def test_to_and_cc_name_only_what_stands_in_them(value: str):
    for address in listed_addresses(value):
        assert parse_address(str(address)) == address
        lowered = unicodedata.normalize("NFC", value).lower()
        assert address.local in lowered
        assert is_ours(address, REPOS.values()) == (find_recipient(str(address), REPOS) is not None)


@pytest.mark.parametrize(
    "piece", ["@", "a@", "a,", ",", ":", "(", "()", "<", "<a@b.example>,", '"', '"a",', "\\", ";", "demo+a+"]
)
def test_no_list_of_addresses_takes_long(piece: str):
    many = {str(number): _repo(f"r{number}@airut.example") for number in range(100)}
    begun = time.thread_time()
    for length in (250_000, 16_000):
        assert not list(listed_recipients((piece * length)[:length], many))
    assert time.thread_time() - begun < 1


def test_sub_addresses_without_end_are_looked_through_at_once():
    many = {str(number): _repo(f"r{number}@airut.example") for number in range(200)}
    value = ", ".join(f"{'a+' * 100}x@airut.example" for _ in range(70))
    assert not list(listed_recipients(value, many))


@pytest.mark.parametrize(
    "value",
    ["<de mo@airut.example>", "de\tmo@airut.example", "<demo@airut(x).example>", "<demo@airut. example>"],
)
def test_pieces_of_an_address_are_no_address(value: str):
    assert not list(listed_addresses(value))


def test_a_list_that_is_too_long_or_too_deep_names_nobody():
    assert not list(listed_addresses("demo@airut.example, " + "x@y.example, " * 2000))
    assert not list(listed_addresses(":" * 16_000))
    assert [str(one) for one in listed_addresses("a b <demo@airut.example>, nobody, x@y.example")] == [
        "demo@airut.example", "x@y.example"
    ]  # fmt: skip
