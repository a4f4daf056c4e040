"""Permission is given to an address, in one canonical form."""

import unicodedata
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airut_mail_auth.addresses import Address, parse_address
from airut_mail_auth.allowlist import allows

RULES = ("ada@lovelace.example", "*@team.example", "*@bücher.example", "not an address", "*@*")


@pytest.mark.parametrize(
    ("author", "rule"),
    [
        ("ada@lovelace.example", "ada@lovelace.example"),
        ("ADA@Lovelace.Example", "ada@lovelace.example"),
        ("anybody@team.example", "*@team.example"),
        ("a@xn--bcher-kva.example", "*@bücher.example"),
        ("bob@lovelace.example", None),
        ("ada@evil.lovelace.example", None),
        ("ada@lovelace.example.evil.example", None),
        ("x@sub.team.example", None),
        ("x@evilteam.example", None),
        ("ada+x@lovelace.example", None),
    ],
)
def test_row_50_exact_addresses_and_exact_domains(author: str, rule: str | None):
    assert [each for each in RULES if allows(each, parse_address(author))] == ([rule] if rule else [])


AUTHORS = st.sampled_from(
    [
        "ada@lovelace.example",
        "jörg@bücher.example",
        "a.b+c@sub.team.example",
        "x@xn--bcher-kva.example",
        "ada@team.example",
    ]
)
RULE = st.one_of(
    st.text(max_size=40),
    st.lists(
        st.sampled_from(
            ["ada", "jörg", "jo\u0308rg", "*", "@", "lovelace", "bücher", "xn--bcher-kva", "team", "sub.", ".example", ".", "+c", " ", "?", "%",
             "\u0430", "ADA", "J\u00d6RG", "**", ".*"]
        ),
        max_size=6,
    ).map("".join),
)  # fmt: skip


@settings(max_examples=400, deadline=timedelta(seconds=1))
@given(AUTHORS, st.lists(RULE, max_size=5))
def test_nobody_is_permitted_but_by_an_entry_that_names_him_or_all_of_his_domain(text: str, rules: list[str]):
    author = parse_address(text)
    assert [rule for rule in rules if allows(rule, author)] == [
        rule for rule in rules if _names(rule, author)
    ]


def _names(rule: str, author: Address) -> bool:
    """The rule of docs/email.md once more, in other words."""
    local, at, domain = unicodedata.normalize("NFC", rule).lower().rpartition("@")
    domain = domain.replace("bücher.example", "xn--bcher-kva.example")
    return at == "@" and domain == author.domain and local in ("*", author.local)


@pytest.mark.parametrize(
    "rule",
    [
        "",
        "*",
        "@",
        "*@",
        "*@*",
        "**@team.example",
        "*@*.example",
        "*@.example",
        "*team.example",
        "a*@team.example",
    ],
)
def test_a_star_stands_for_nothing_but_a_whole_local_part(rule: str):
    assert not allows(rule, Address("ada", "team.example"))
