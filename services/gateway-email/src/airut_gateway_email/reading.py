"""What of a mail goes on the bus, whoever has taken it apart. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO

from airut_gateway_email.content.mail import Attachment, read_mail
from airut_gateway_email.content.quotes import WHOLE_MAIL, new_text
from airut_gateway_email.rawmail import RawMail
from airut_gateway_email.spool import SpoolFile

MAX_TEXT_CHARACTERS = 512 * 1024
MAX_QUESTION_CHARACTERS = 4000


@dataclass(frozen=True)
class StoredFile:
    """A file that came with a mail and lies on the disk."""

    name: str
    media_type: str
    within: SpoolFile
    begin: int
    end: int

    def open(self) -> BinaryIO:
        """Its content."""
        return self.within.reader(self.begin, self.end)


@dataclass(frozen=True)
class Reading[F: Attachment | StoredFile]:
    """What a mail asks."""

    subject: str
    text: str
    """The author's own words. What is longer than `MAX_TEXT_CHARACTERS` is cut off one character behind that."""
    question: str
    """Their beginning, to be quoted in the answer."""
    files: Sequence[F]
    """What came along, and the whole text if something of it was left out."""


def take_apart(mail: RawMail, ours: Sequence[str], *, continues: bool) -> Reading[Attachment]:
    """Read a mail; see `new_text` for the arguments.

    Raises:
        MailRefused: it cannot be decoded, is a MIME bomb, or is empty.
    """
    content = read_mail(mail)
    said = new_text(content.text, ours, continues=continues)
    files = content.attachments
    if said.cut:
        files = (*files, Attachment(WHOLE_MAIL, "text/plain", content.text.encode()))
    return Reading(
        content.subject, said.text[: MAX_TEXT_CHARACTERS + 1], said.own[:MAX_QUESTION_CHARACTERS], files
    )
