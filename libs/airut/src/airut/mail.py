"""`airut mail verify`: who sent a saved mail, decided by the code and the rules of the gateway."""

from datetime import UTC, datetime
from pathlib import Path

from airut.errors import UsageError
from airut.installation import DEFAULT_FILE, read_config
from airut_common.config.models import SenderAuthConfig
from airut_mail_auth import Envelope, Record, Rules, verify_bytes
from airut_mail_auth.dns import DnsResolver


async def verify_file(
    file: Path, config_file: Path | None, envelope: Envelope | None, at: datetime | None
) -> Record:
    """Judge a mail as the gateway would have.

    Args:
        file: The mail. One that was saved with bare LF throughout gets its CRLF back; any other form stays as it is.
        config_file: The installation's; None takes `airut.yaml` if it is there, and else the defaults.
        envelope: None leaves SPF out.
        at: When it arrived; None is now. Signatures are at most seven days old.

    Raises:
        UsageError: a file cannot be read, or the DNS server is unknown.
    """
    settings = _settings(config_file)
    try:
        data = file.read_bytes()
        resolver = await DnsResolver.at(settings.resolver)
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror or error}") from None
    if b"\r" not in data:
        data = data.replace(b"\n", b"\r\n")
    rules = Rules.model_validate(settings.model_dump(exclude={"resolver"}))
    return await verify_bytes(data, envelope, resolver, rules, now=at or datetime.now(UTC))


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


def _settings(config_file: Path | None) -> SenderAuthConfig:
    if config_file is None and not DEFAULT_FILE.exists():
        return SenderAuthConfig()
    email = read_config(config_file or DEFAULT_FILE).email
    return email.authentication if email is not None else SenderAuthConfig()
