"""Which rules a sender list is made of."""

from airut_common.config.addresses import SenderRule, sender_rules

GROUPS = {"team": ("ada@x.example", "*@y.example"), "none": ()}


def test_a_group_stands_for_its_patterns_where_it_is_named() -> None:
    senders = ("bob@x.example", "group:team", "*@z.example")
    assert list(sender_rules(senders, GROUPS)) == [
        SenderRule("bob@x.example"),
        SenderRule("ada@x.example", "team"),
        SenderRule("*@y.example", "team"),
        SenderRule("*@z.example"),
    ]


def test_an_unknown_group_allows_nobody() -> None:
    assert list(sender_rules(("group:gone", "group:none"), GROUPS)) == []


def test_a_rule_says_where_it_stands() -> None:
    assert str(SenderRule("ada@x.example")) == "ada@x.example"
    assert str(SenderRule("ada@x.example", "team")) == "ada@x.example of group:team"
