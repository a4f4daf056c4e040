"""SMTP out: hand one mail to the configured relay. Certificates are always verified (row 70)."""

from collections.abc import Callable

import aiosmtplib

from airut_common.config.models import RelayConfig
from airut_common.secrets import Secret
from airut_gateway_email.connections import Login, Misconfigured, RelayConnections
from airut_gateway_email.errors import printable, secret_missing
from airut_gateway_email.outgoing import OutgoingMail

SEND_SECONDS = 600.0
"""RFC 5321 §4.5.3.2.6: who hangs up earlier while the relay stores a mail sends it twice."""
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
        self._connections = RelayConnections()

    async def send(self, mail: OutgoingMail) -> None:
        """Returns when the relay has said 250.

        Raises:
            SendFailed: temporary, or our own settings are at fault.
            SendRefused: permanent.
        """
        config = self._config()
        try:
            async with self._connections.lend(self._login(config)) as client:
                _require_size(client, mail)
                await client.sendmail(
                    mail.sender,
                    [mail.recipient],
                    mail.data,
                    mail_options=_options(mail),
                    timeout=SEND_SECONDS,
                )
        except Misconfigured as error:
            raise SendFailed(str(error)) from None
        except aiosmtplib.SMTPAuthenticationError as error:
            raise SendFailed(f"the relay does not accept our login: {_said(error)}") from None
        except aiosmtplib.SMTPNotSupported:
            raise SendRefused("the relay takes no international addresses (SMTPUTF8)") from None
        except aiosmtplib.SMTPRecipientsRefused as error:
            raise _judge(error.recipients[0]) from None
        except aiosmtplib.SMTPResponseException as error:
            raise _judge(error) from None
        except (aiosmtplib.SMTPException, OSError) as error:
            # ssl errors are OSErrors: an unverified certificate is for the operator to mend, the reply waits.
            raise SendFailed(
                printable(f"{config.host}:{config.port}: {str(error) or type(error).__name__}")
            ) from None

    def close(self) -> None:
        """Hang up connections that are kept for the next mail."""
        self._connections.close()

    def _login(self, config: RelayConfig) -> Login:
        password = self._password(config.password_secret) if config.password_secret else None
        if config.password_secret and password is None:
            raise SendFailed(secret_missing(config.password_secret))
        return Login.of(config, password)


def _options(mail: OutgoingMail) -> list[str]:
    """RFC 6531 §3.4: only a mail that needs it asks for SMTPUTF8, since not every server on the way has it."""
    return [] if mail.sender.isascii() and mail.recipient.isascii() else ["SMTPUTF8"]


def _require_size(client: aiosmtplib.SMTP, mail: OutgoingMail) -> None:
    """RFC 1870: a relay that names its limit need not be sent what is above it. 0 and no number are no limit."""
    limit = client.esmtp_extensions.get("size", "").strip()
    if limit.isascii() and limit.isdigit() and 0 < int(limit) < len(mail.data):
        raise SendRefused(
            f"the mail has {len(mail.data)} bytes, the relay takes {int(limit)}", too_large=True
        )


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
