"""`airut mail verify`: who sent a saved mail, decided by the code and the rules of the gateway."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import JsonValue

from airut.errors import UsageError
from airut.installation import DEFAULT_FILE, read_config
from airut_common.config.addresses import SenderRule, sender_rules
from airut_common.config.models import EmailConfig, InstallationConfig, SenderAuthConfig
from airut_mail_auth import Envelope, Mailbox, Record, Rules, verify_bytes
from airut_mail_auth.addresses import parse_address
from airut_mail_auth.allowlist import allows
from airut_mail_auth.dns import DnsResolver
from airut_mail_auth.lines import lines_of


@dataclass(frozen=True)
class Verified:
    """Who sent a mail, and where its author may give work."""

    record: Record
    allowed: dict[str, SenderRule]
    """By repository, the rule that allows a proven author."""

    def as_json(self) -> dict[str, JsonValue]:
        """The record, and `allowed` beside it."""
        allowed: list[JsonValue] = [
            {"repo": repo, "rule": rule.pattern, "group": rule.group} for repo, rule in self.allowed.items()
        ]
        return self.record.as_json() | {"allowed": allowed}

    def lines(self) -> list[tuple[str, str]]:
        """A label and a text each."""
        found = list(lines_of(self.record))
        if self.record.verdict == "proven":
            found += [("allowed", f"{repo}: {rule}") for repo, rule in self.allowed.items()] or [
                ("allowed", "nowhere: no repository's senders name the author")
            ]
        return found


async def verify_file(
    file: Path, config_file: Path | None, envelope: Envelope | None, at: datetime | None
) -> Verified:
    """Judge a mail as the gateway would have.

    Args:
        file: The mail. One that was saved with bare LF throughout gets its CRLF back; any other form stays as it is.
        config_file: The installation's; None takes `airut.yaml` if it is there, and else the defaults.
        envelope: None leaves SPF out; where a mailbox is configured, the mail is then one that was fetched from it.
        at: When it arrived; None is now. Signatures are at most seven days old.

    Raises:
        UsageError: a file cannot be read, or the DNS server is unknown.
    """
    config = _config(config_file)
    settings = config.email.authentication if config.email is not None else SenderAuthConfig()
    try:
        data = file.read_bytes()
        resolver = await DnsResolver.at(settings.resolver)
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror or error}") from None
    if b"\r" not in data:
        data = data.replace(b"\n", b"\r\n")
    rules = Rules.model_validate(settings.model_dump(exclude={"resolver"}))
    way = envelope or _mailbox(config.email)
    record = await verify_bytes(data, way, resolver, rules, now=at or datetime.now(UTC))
    return Verified(record, _allowed(record, config))


def read_time(text: str) -> datetime:
    """A time in ISO 8601; without a zone it is UTC.

    Raises:
        UsageError: it is none.
    """
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"--at {text}: write a time such as 2026-11-01T12:00:00Z") from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def read_envelope(peer: str | None, ehlo: str | None, mail_from: str | None) -> Envelope | None:
    """What the options say about the SMTP session; None when they say nothing.

    Raises:
        UsageError: the client's address is missing, without which the rest means nothing.
    """
    if peer is None:
        if ehlo is not None or mail_from is not None:
            raise UsageError("--ehlo and --mail-from say something only together with --peer")
        return None
    return Envelope(peer, ehlo or "", mail_from or "")


def _config(config_file: Path | None) -> InstallationConfig:
    if config_file is None and not DEFAULT_FILE.exists():
        return InstallationConfig()
    return read_config(config_file or DEFAULT_FILE)


def _allowed(record: Record, config: InstallationConfig) -> dict[str, SenderRule]:
    if record.verdict != "proven" or record.author is None:
        return {}
    author = parse_address(record.author)
    found: dict[str, SenderRule] = {}
    for repo, settings in config.repos.items():
        for rule in sender_rules(settings.senders, config.groups):
            if allows(rule.pattern, author):
                found.setdefault(repo, rule)
    return found


def _mailbox(email: EmailConfig | None) -> Mailbox | None:
    return Mailbox(email.imap.host) if email is not None and email.imap is not None else None
