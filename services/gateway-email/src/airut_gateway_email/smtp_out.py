"""SMTP out: hand one mail to the configured relay. Certificates are always verified (row 70)."""

import ssl
from collections.abc import Callable
from pathlib import Path

import aiosmtplib

from airut_common.config.models import RelayConfig
from airut_common.secrets import Secret
from airut_gateway_email.errors import printable
from airut_gateway_email.replies import OutgoingMail

CONNECT_SECONDS = 30.0
SEND_SECONDS = 120.0
_TOO_LARGE = frozenset({552, 523})
"""RFC 5321 §4.2.2 and what some servers say instead."""


class SendFailed(Exception):
    """The relay did not take the mail; perhaps later it will."""


class SendRefused(Exception):
    """The relay will never take this mail."""

    def __init__(self, text: str, *, too_large: bool = False) -> None:
        super().__init__(text)
        self.too_large = too_large


class Relay:
    """Sends through the relay as it is configured at that moment."""

    def __init__(self, config: Callable[[], RelayConfig], password: Callable[[str], Secret | None]) -> None:
        self._config = config
        self._password = password

    async def send(self, mail: OutgoingMail) -> None:
        """Returns when the relay has said 250.

        Raises:
            SendFailed: temporary, or our own settings are at fault.
            SendRefused: permanent.
        """
        config = self._config()
        client = self._client(config)
        try:
            async with client:
                await client.sendmail(mail.sender, [mail.recipient], mail.data, timeout=SEND_SECONDS)
        except aiosmtplib.SMTPAuthenticationError as error:
            raise SendFailed(f"the relay does not accept our login: {_said(error)}") from None
        except aiosmtplib.SMTPRecipientsRefused as error:
            raise _judge(error.recipients[0]) from None
        except aiosmtplib.SMTPResponseException as error:
            raise _judge(error) from None
        except (aiosmtplib.SMTPException, OSError) as error:
            # ssl errors are OSErrors: an unverified certificate is for the operator to mend, the reply waits.
            raise SendFailed(
                printable(f"{config.host}:{config.port}: {str(error) or type(error).__name__}")
            ) from None

    def _client(self, config: RelayConfig) -> aiosmtplib.SMTP:
        password = self._password(config.password_secret) if config.password_secret else None
        if config.password_secret and password is None:
            raise SendFailed(f"the secret {config.password_secret} is not set; run `airut secret set`")
        return aiosmtplib.SMTP(
            hostname=config.host,
            port=config.port,
            username=config.username,
            password=password.reveal() if password else None,
            use_tls=config.security == "tls",
            start_tls=config.security == "starttls",
            tls_context=None if config.security == "plain" else _verifying_context(config.ca_file),
            timeout=CONNECT_SECONDS,
        )


def _verifying_context(ca_file: Path | None) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise SendFailed(f"relay.ca_file {ca_file} cannot be used: {error}") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _judge(error: aiosmtplib.SMTPResponseException) -> Exception:
    text = _said(error)
    # Before DATA is through, a 5xx of the greeting or EHLO is the server's state, not a verdict on this mail.
    if 500 <= error.code < 600 and not isinstance(
        error, aiosmtplib.SMTPConnectResponseError | aiosmtplib.SMTPHeloError
    ):
        return SendRefused(text, too_large=error.code in _TOO_LARGE)
    return SendFailed(text)


def _said(error: aiosmtplib.SMTPResponseException) -> str:
    return printable(f"{error.code} {error.message}")
