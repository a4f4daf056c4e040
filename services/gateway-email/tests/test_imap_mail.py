"""What is decided about a mail of a mailbox without any server."""

from datetime import UTC, datetime, timedelta

import pytest

from airut_common.config.models import GitConfig, RepoConfig
from airut_gateway_email.age import check_sent, longest_age
from airut_gateway_email.errors import MailRefused
from airut_gateway_email.imap_mail import check_listed, recipients_of
from airut_gateway_email.imap_session import Listed, folder_name
from airut_gateway_email.rawmail import RawMail, parse_raw_mail

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
WEEK = timedelta(days=7)
REPOS = {
    name: RepoConfig(
        address=f"{name}@airut.example", senders=("ada@x.example",), git=GitConfig(url="https://g.example/x")
    )
    for name in ("demo", "other")
}


def mail(*headers: str) -> RawMail:
    return parse_raw_mail("\r\n".join(["From: ada@x.example", *headers, "", "x", ""]).encode())


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        (["To: demo@airut.example"], [("demo", None)]),
        (["To: Demo <demo+opus@airut.example>", "Cc: demo@airut.example"], [("demo", "opus")]),
        (
            ["To: bob@x.example", "Cc: other@airut.example, demo@airut.example"],
            [("other", None), ("demo", None)],
        ),
    ],
)
def test_repositories_are_those_in_to_and_cc(headers, found):
    assert [(one.repo, one.model) for one in recipients_of(mail(*headers), REPOS)] == found


def test_a_repository_that_is_named_by_two_of_its_addresses_is_one_recipient():
    repos = {
        "demo": REPOS["demo"].model_copy(update={"address": ("demo@airut.example", "help@airut.example")})
    }
    [found] = recipients_of(mail("To: help+opus@airut.example", "Cc: demo@airut.example"), repos)
    assert (found.repo, found.address, found.model) == ("demo", "help@airut.example", "opus")


@pytest.mark.parametrize(
    "header",
    [
        'To: "demo@airut.example" <bob@x.example>',
        "Bcc: demo@airut.example",
        "Delivered-To: demo@airut.example",
        "X-Original-To: demo@airut.example",
        "Subject: demo@airut.example",
        "To: demo@airut.example.x.example",
    ],
)
def test_nothing_else_names_a_repository(header):
    with pytest.raises(MailRefused, match="no repository"):
        recipients_of(mail(header), REPOS)


def test_size_and_arrival_are_looked_at_before_anything_is_fetched():
    check_listed(Listed(1, 1000, NOW - WEEK), 1000, WEEK, NOW)
    with pytest.raises(MailRefused, match="larger than 1000 bytes"):
        check_listed(Listed(1, 1001, NOW), 1000, WEEK, NOW)
    with pytest.raises(MailRefused, match="older than 7 days"):
        check_listed(Listed(1, 1000, NOW - WEEK - timedelta(seconds=1)), 1000, WEEK, NOW)


@pytest.mark.parametrize(
    "date", ["Sun, 01 Nov 2026 11:00:00 +0000", "Sun, 25 Oct 2026 13:00:00 -0000", "nonsense"]
)
def test_young_enough_by_its_date(date):
    check_sent(mail(f"Date: {date}"), WEEK, NOW)


@pytest.mark.parametrize(
    "date",
    ["Sun, 25 Oct 2026 11:00:00 +0000", "Sun, 25 Oct 2026 11:00:00", "Thu, 01 Jan 1970 00:00:00 +0000"],
)
def test_a_restored_copy_is_too_old_by_its_date(date):
    with pytest.raises(MailRefused, match="older than 7 days"):
        check_sent(mail(f"Date: {date}"), WEEK, NOW)


def test_no_mail_may_be_older_than_requests_are_remembered():
    assert [longest_age(days).days for days in (1, 7, 30)] == [1, 7, 7]


@pytest.mark.parametrize(
    ("prefix", "separator", "name"),
    [
        ("", "/", "Airut/refused"),
        ("", ".", "Airut.refused"),
        ("INBOX.", ".", "INBOX.Airut.refused"),
    ],
)
def test_folders_are_spelled_as_the_server_does(prefix, separator, name):
    assert folder_name("Airut/refused", prefix, separator) == name
    assert folder_name(name, prefix, separator) == name
