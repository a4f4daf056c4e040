"""The service's side: a worker for each large mail, few at once."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import structlog
from pydantic import ValidationError

from airut_common.processes import ProcessError, run
from airut_gateway_email.errors import MailLater, MailRefused
from airut_gateway_email.large.messages import Answer, Question
from airut_gateway_email.reading import Reading, StoredFile
from airut_gateway_email.spool import SpoolFile, no_room

AT_ONCE = 2
MEMORY_BYTES = 1024**3
"""Address space of a worker. One large attachment takes 50 MiB and about five times the size of its mail."""
SECONDS = 60
"""Time of a worker, by the clock and of the processor."""

_WORKER = (sys.executable, "-I", "-m", "airut_gateway_email.large.worker")

log = structlog.get_logger()


class LargeMails:
    """Has large mails taken apart."""

    def __init__(self, folder: Path) -> None:
        """`folder` is on the file system that takes their attachments."""
        self._folder = folder
        self._at_once = asyncio.Semaphore(AT_ONCE)

    @asynccontextmanager
    async def reading(
        self, mail: SpoolFile, ours: Sequence[str], *, continues: bool
    ) -> AsyncIterator[Reading[StoredFile]]:
        """What the mail asks; its files are there for as long as the context is open.

        Raises:
            MailRefused: it cannot be decoded, is a MIME bomb, or is empty.
            MailLater: a worker could not read it within its limits, or there is no room.
        """
        try:
            files = SpoolFile.make(self._folder)
        except OSError as error:
            raise no_room(error) from error
        with files:
            async with self._at_once:
                answer = await _ask(mail, files, ours, continues=continues)
            if answer.refused is not None:
                refused = answer.refused
                raise MailRefused(refused.text, code=refused.code, status=refused.status)
            yield Reading(answer.subject, answer.text, answer.question, tuple(stored_files(answer, files)))


async def _ask(mail: SpoolFile, files: SpoolFile, ours: Sequence[str], *, continues: bool) -> Answer:
    question = Question(
        parent=os.getpid(),
        mail=mail.fileno(),
        files=files.fileno(),
        ours=tuple(ours),
        continues=continues,
        memory_bytes=MEMORY_BYTES,
        cpu_seconds=SECONDS,
    )
    try:
        done = await run(
            _WORKER,
            timeout_seconds=SECONDS,
            stdin=question.model_dump_json().encode(),
            env={},
            pass_fds=(question.mail, question.files),
        )
        answer = Answer.model_validate_json(done.stdout)
    except (ProcessError, ValidationError) as error:
        log.error("large_mail_not_read", reason=str(error))
        raise MailLater(
            "the mail could not be read within the limits of memory and time; try again later", status="4.3.0"
        ) from error
    log.info("large_mail_read", peak_bytes=answer.peak_bytes, files=len(answer.files))
    return answer


def stored_files(answer: Answer, files: SpoolFile) -> Iterator[StoredFile]:
    """What a worker has put into its file."""
    begin = 0
    for file in answer.files:
        end = begin + file.size_bytes
        yield StoredFile(file.name, file.media_type, files, begin, end)
        begin = end
