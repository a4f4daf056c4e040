"""A person with a mail server: composes and signs mails, sends them, and receives the replies."""

import asyncio
import base64
import email.message
import email.policy
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from email.message import EmailMessage
from email.utils import formatdate, make_msgid

import aiosmtplib
import dkim
from aiosmtpd.smtp import SMTP, Envelope, Session
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

SELECTOR = "demo"


class SigningDomain:
    """A mail domain's DKIM key."""

    def __init__(self, domain: str) -> None:
        self.domain = domain
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._private = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
        public = key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        self.record = f"v=DKIM1; k=rsa; p={base64.b64encode(public).decode()}"

    def sign(self, message: bytes) -> bytes:
        """The message with a DKIM signature in front (RFC 6376)."""
        headers = [b"from", b"to", b"subject", b"date", b"message-id", b"in-reply-to", b"references"]
        signature: bytes = dkim.sign(
            message, SELECTOR.encode(), self.domain.encode(), self._private, include_headers=headers
        )
        return signature + message


def compose(
    *,
    sender: str,
    recipient: str,
    subject: str,
    text: str,
    attachments: Mapping[str, bytes] | None = None,
    in_reply_to: str | None = None,
    references: str | None = None,
) -> bytes:
    """A mail as bytes, CRLF line ends."""
    # Python's own folding would encode a Message-ID that is longer than a line.
    message = EmailMessage(policy=email.policy.SMTP.clone(max_line_length=998))
    message["From"] = sender
    message["To"] = recipient
    message["Subject"] = subject
    message["Date"] = formatdate(localtime=False)
    message["Message-ID"] = make_msgid(domain=sender.rpartition("@")[2].rstrip(">"))
    if in_reply_to is not None:
        message["In-Reply-To"] = in_reply_to
        message["References"] = references or in_reply_to
    message.set_content(text)
    for name, data in (attachments or {}).items():
        message.add_attachment(data, maintype="text", subtype="plain", filename=name)
    return message.as_bytes()


async def send(data: bytes, *, server: str, sender: str, recipient: str) -> str:
    """Deliver over SMTP; returns the server's final words.

    Raises:
        aiosmtplib.SMTPResponseException: the server refused.
    """
    host, _, port = server.rpartition(":")
    client = aiosmtplib.SMTP(hostname=host, port=int(port), start_tls=False, timeout=60)
    async with client:
        _, words = await client.sendmail(sender, [recipient], data)
    return words


class Mailbox:
    """Received mails, in order."""

    def __init__(self) -> None:
        self.messages: list[EmailMessage] = []
        self._changed = asyncio.Condition()

    async def wait_for(
        self, wanted: Callable[[EmailMessage], bool] = lambda _: True, *, timeout_seconds: float
    ) -> EmailMessage:
        """The first mail that `wanted` accepts, now or later.

        Raises:
            TimeoutError: none came.
        """
        async with asyncio.timeout(timeout_seconds), self._changed:
            while True:
                for message in self.messages:
                    if wanted(message):
                        return message
                await self._changed.wait()

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's name
        """Take a mail in."""
        content = envelope.content if isinstance(envelope.content, bytes) else b""
        parsed = email.message_from_bytes(content, policy=email.policy.default)
        async with self._changed:
            self.messages.append(parsed)
            self._changed.notify_all()
        return "250 Delivered"


@asynccontextmanager
async def serve_mailbox(mailbox: Mailbox) -> AsyncIterator[str]:
    """The person's mail server on a free loopback port; yields `127.0.0.1:port`."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: SMTP(mailbox, hostname="mx.user.example", loop=loop), "127.0.0.1", 0
    )
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        server.abort_clients()
