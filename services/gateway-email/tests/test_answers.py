"""A conversation from mail to mail: what goes in by a real socket, and the headers of what goes out again."""

from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP

import pytest

from airut_common.contracts.v1 import TaskRequest
from airut_common.testing.builders import reply
from airut_gateway_email.replies import build_reply
from airut_gateway_email.threads import MAX_REFERENCES
from airut_mail_auth.testing.signing import SigningDomain, plain_mail

CONVERSATION = "c" * 32


def _answer(request: TaskRequest, number: int = 1) -> EmailMessage:
    answer = reply(id=f"{number:032x}", conversation=CONVERSATION, route=request.route)
    parsed = message_from_bytes(build_reply(answer, "airut.example", [], []).data, policy=SMTP)
    assert isinstance(parsed, EmailMessage)
    return parsed


async def _request(gateway, lovelace: SigningDomain, **headers: str) -> TaskRequest:
    return await _arrived(gateway, lovelace.sign(plain_mail(**headers).as_bytes()))


async def _arrived(gateway, signed: bytes) -> TaskRequest:
    answer = await gateway.send(signed)
    assert answer.startswith("250"), answer
    [request] = await gateway.requests(1)
    return request


async def test_the_references_of_an_answer_are_capped(gateway, lovelace: SigningDomain):
    history = [f"<{number}.{'x' * 60}@lovelace.example>" for number in range(300)]
    mail = plain_mail(References="HERE", In_Reply_To="<x@y.example>").as_bytes()
    signed = lovelace.sign(mail.replace(b"HERE", "\r\n ".join(history).encode()))
    request = await _arrived(gateway, signed)
    message = _answer(request)
    chain = message["References"].split()
    assert len(chain) == MAX_REFERENCES
    assert chain[0] == history[0]
    assert chain[-2:] == [history[-1], message["In-Reply-To"]]


async def test_they_do_not_grow_in_a_long_conversation(gateway, lovelace: SigningDomain):
    chain: list[str] = []
    parent = ""
    for number in range(50):
        headers = {"References": " ".join(chain), "In_Reply_To": parent} if parent else {}
        request = await _request(gateway, lovelace, **headers)
        assert request.conversation == (CONVERSATION if parent else None)
        message = _answer(request, number)
        parent = message["Message-ID"]
        chain = [*message["References"].split(), parent]  # as mail programs do it
        assert len(chain) <= MAX_REFERENCES + 1


@pytest.mark.parametrize(
    ("subject", "answered"),
    [
        ("The greeting", "Re: The greeting"),
        ("Re: The greeting", "Re: The greeting"),
        ("RE: AW: Re : sv: The greeting", "Re: The greeting"),
        ("Regarding: the greeting", "Re: Regarding: the greeting"),
        ("Fwd: Re: The greeting", "Re: Fwd: Re: The greeting"),
        ("Grüße aus 例え", "Re: Grüße aus 例え"),
        (f"Again [airut:{CONVERSATION}]", f"Re: Again [airut:{CONVERSATION}]"),
        ("A  subject\twith   much space", "Re: A subject with much space"),
    ],
)
async def test_the_subject_is_kept_with_one_re(gateway, lovelace: SigningDomain, subject: str, answered: str):
    assert _answer(await _request(gateway, lovelace, subject=subject))["Subject"] == answered


async def test_the_subject_is_the_same_after_many_answers(gateway, lovelace: SigningDomain):
    subject = "Größe der Überschrift"
    for _ in range(5):
        subject = _answer(await _request(gateway, lovelace, subject=f"Re: {subject}"))["Subject"]
    assert subject == "Re: Größe der Überschrift"
