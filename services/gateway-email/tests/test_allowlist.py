"""Permission is given to an address, in one canonical form."""

import pytest

from airut_gateway_email.sender_auth.allowlist import matching_rule
from airut_mail_auth.addresses import parse_address

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
    assert matching_rule(parse_address(author), RULES) == rule
