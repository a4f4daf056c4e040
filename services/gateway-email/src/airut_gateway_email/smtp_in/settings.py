"""What the listener works with, and what it asks the rest of the gateway."""

import hmac
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from airut_common.secrets import Secret
from airut_gateway_email.errors import MailError
from airut_gateway_email.recipients import Recipient
from airut_gateway_email.requests import Arrival
from airut_mail_auth.authres.trusted import is_inside


@dataclass(frozen=True)
class Login:
    """What submitting servers log in with."""

    username: str
    password: Secret | None
    """None: nobody has set it, so nobody can log in."""

    def fits(self, username: bytes, password: bytes) -> bool:
        """Whether both are right; takes the same time however wrong they are."""
        if self.password is None:
            return False
        right_name = hmac.compare_digest(self.username.encode(), username)
        right_password = hmac.compare_digest(self.password.reveal().encode(), password)
        return right_name and right_password


@dataclass(frozen=True)
class SmtpSettings:
    """What a new connection works with."""

    hostname: str
    max_message_bytes: int
    tls: ssl.SSLContext | None = None
    require_tls: bool = False
    login: Login | None = None
    allowed_peers: tuple[str, ...] = ()
    """Networks; none named: everybody may connect."""
    proxy_peers: tuple[str, ...] = ()
    """Networks of proxies, which must say for whom they connect."""

    def welcomes(self, client: str) -> bool:
        """Whether an address may deliver here."""
        return not self.allowed_peers or is_inside(client, self.allowed_peers)

    def is_proxy(self, peer: str) -> bool:
        """Whether the other end of a connection is a proxy of ours."""
        return is_inside(peer, self.proxy_peers)


@dataclass(frozen=True)
class SmtpRules:
    """What the listener asks the rest of the gateway."""

    settings: Callable[[], SmtpSettings]
    recipient: Callable[[str], Recipient | None]
    """The repository with this address."""
    accept: Callable[[Arrival], Awaitable[str]]
    """Store a mail and return its request id; raises `MailError`."""
    refused: Callable[[MailError, str, str | None], Awaitable[None]]
    """Tell the operator: the error, the client's address, the repository if known."""
    spool: Path
    """On the file system that takes large mails."""
