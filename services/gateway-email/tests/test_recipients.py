"""Which repository a mail is for."""

import pytest

from airut_common.config.models import GitConfig, RepoConfig
from airut_gateway_email.recipients import Recipient, find_recipient, is_ours
from airut_mail_auth.addresses import parse_address


def _repo(address: str) -> RepoConfig:
    return RepoConfig(address=address, senders=("a@b.example",), git=GitConfig(url="https://git.example/x"))


REPOS = {
    "demo": _repo("demo@airut.example"),
    "site": _repo("airut+site@airut.example"),
    "book": _repo("read@bücher.example"),
}


@pytest.mark.parametrize(
    ("address", "repo", "model"),
    [
        ("demo@airut.example", "demo", None),
        ("Demo@AIRUT.example", "demo", None),
        ("demo+opus@airut.example", "demo", "opus"),
        ("demo+claude-opus-4.5@airut.example", "demo", "claude-opus-4.5"),
        ("airut+site@airut.example", "site", None),
        ("airut+site+haiku@airut.example", "site", "haiku"),
        ("read@xn--bcher-kva.example", "book", None),
    ],
)
def test_row_69_our_own_recipient_alone_carries_a_hint(address: str, repo: str, model: str | None):
    assert find_recipient(address, REPOS) == Recipient(repo, REPOS[repo].address, model)


@pytest.mark.parametrize(
    "address",
    ["", "x@airut.example", "demo@other.example", "+opus@airut.example", "demo+@airut.example", "demo+$(x)@airut.example",
     "demo+../x@airut.example", "demo", '"demo"@airut.example', "demo@airut.example@evil.example"],
)  # fmt: skip
def test_everything_else_is_nobody(address: str):
    assert find_recipient(address, REPOS) is None


def test_is_ours_covers_sub_addresses():
    assert is_ours(parse_address("demo+x@airut.example"), REPOS.values())
    assert not is_ours(parse_address("ada@lovelace.example"), REPOS.values())
