"""`python -I -m airut_gateway_email.large.worker`: takes one mail apart and ends."""

import contextlib
import resource
import sys
from pathlib import Path

from airut_common.hardening import die_with
from airut_gateway_email.errors import MailRefused
from airut_gateway_email.large.messages import Answer, File, Question, Refusal
from airut_gateway_email.memory import peak_bytes
from airut_gateway_email.rawmail import parse_raw_mail
from airut_gateway_email.reading import take_apart
from airut_gateway_email.spool import SpoolFile


def main() -> int:
    """Answer one question; the exit code."""
    question = Question.model_validate_json(sys.stdin.buffer.read())
    die_with(question.parent)
    _confine(question)
    sys.stdout.buffer.write(answer(question).model_dump_json().encode())
    return 0


def _confine(question: Question) -> None:
    """Past these limits it fails or is killed; and should the host be short of memory, it goes before any service."""
    resource.setrlimit(resource.RLIMIT_AS, (question.memory_bytes, question.memory_bytes))
    resource.setrlimit(resource.RLIMIT_CPU, (question.cpu_seconds, question.cpu_seconds))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError):  # in a container whose /proc cannot be written
        Path("/proc/self/oom_score_adj").write_text("1000")


def answer(question: Question) -> Answer:
    """Read the mail and fill the file; closes both descriptors."""
    with SpoolFile.inherited(question.mail) as mail, SpoolFile.inherited(question.files) as files:
        try:
            found = take_apart(parse_raw_mail(mail), question.ours, continues=question.continues)
        except MailRefused as error:
            refusal = Refusal(code=error.code, status=error.status, text=str(error))
            return Answer(refused=refusal, peak_bytes=peak_bytes())
        stored = []
        for file in found.files:
            files.write(file.data)
            stored.append(File(name=file.name, media_type=file.media_type, size_bytes=len(file.data)))
    return Answer(
        subject=found.subject,
        text=found.text,
        question=found.question,
        files=tuple(stored),
        peak_bytes=peak_bytes(),
    )


if __name__ == "__main__":
    sys.exit(main())
