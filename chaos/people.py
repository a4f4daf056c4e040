"""Those who write: each mail server tries until it is told 250, as RFC 5321 §4.5.4.1 wants it."""

import asyncio
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import Final

import aiosmtplib

from airut_demo.world.mail_user import compose, send
from airut_demo.world.world import USER_DOMAIN
from chaos.plan import Message, Thread
from chaos.site import Site

RETRY_SECONDS: Final = 0.5
ANSWER_SECONDS: Final = 400.0


@dataclass(frozen=True)
class Accepted:
    """A mail that was answered with 250."""

    thread: str
    number: int
    message_id: str
    sender: str


@dataclass
class People:
    """Everybody who writes to the installation."""

    site: Site
    accepted: list[Accepted] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    """Words of the gateway to mails that it will never take."""

    async def write(self, thread: Thread) -> None:
        """A whole conversation; returns when its last mail is accepted."""
        await asyncio.sleep(thread.start_seconds)
        sender = f"{thread.name}@{USER_DOMAIN}"
        recipient = self.site.address(real_agent=thread.real_agent)
        answer: EmailMessage | None = None
        for message in thread.messages:
            await asyncio.sleep(message.after_seconds)
            mail = self.site.world.domain.sign(
                compose(
                    sender=sender,
                    recipient=recipient,
                    subject=thread.name,
                    text=_text(message, real_agent=thread.real_agent),
                    in_reply_to=answer["Message-ID"] if answer is not None else None,
                )
            )
            own_id = _message_id(mail)
            if not await self._deliver(mail, sender, recipient):
                return
            self.accepted.append(Accepted(thread.name, message.number, own_id, sender))
            if answer is None:
                answer = await self.site.world.mailbox.wait_for(
                    lambda found, own_id=own_id: found["In-Reply-To"] == own_id,  # type: ignore[misc]
                    timeout_seconds=ANSWER_SECONDS,
                )

    async def _deliver(self, mail: bytes, sender: str, recipient: str) -> bool:
        server = self.site.installation.smtp
        while True:
            try:
                await send(mail, server=server, sender=sender, recipient=recipient)
            except aiosmtplib.SMTPRecipientsRefused as refusal:
                code = max(each.code for each in refusal.recipients)
                if code >= 500:
                    self.refused.append(str(refusal))
                    return False
            except aiosmtplib.SMTPResponseException as answer:
                if answer.code >= 500:
                    self.refused.append(f"{answer.code} {answer.message}")
                    return False
            except (aiosmtplib.SMTPException, OSError):
                pass  # nobody listens, or it died before it had answered: the same mail goes once more
            else:
                return True
            await asyncio.sleep(RETRY_SECONDS)


def _text(message: Message, *, real_agent: bool) -> str:
    if real_agent:
        return f"Please run the errand number {message.number}."
    network = " network" if message.needs_network else ""
    return f"Please do [[{message.number} {message.work_seconds}{network}]]"


def _message_id(mail: bytes) -> str:
    (line,) = [line for line in mail.split(b"\r\n") if line.lower().startswith(b"message-id:")]
    return line.partition(b":")[2].strip().decode()
