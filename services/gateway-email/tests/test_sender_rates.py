"""How many mails an hour one author may give work with, by the real intake: proof, list, bus."""

from datetime import UTC, datetime

import pytest

from airut_gateway_email.age import LONGEST_AGE
from airut_gateway_email.errors import MailLater, MailRefused
from airut_gateway_email.intake import Intake
from airut_gateway_email.rates import PER_SENDER, WINDOW_SECONDS
from airut_gateway_email.recipients import Recipient
from airut_gateway_email.requests import Arrival
from airut_gateway_email.sender_auth import Envelope, Resolver
from airut_mail_auth.testing.signing import plain_mail

TO = Recipient("other", "other@airut.example")


@pytest.fixture
def senders(zone) -> None:
    """Two domains that name this machine as their server; their mails need no signature."""
    for domain in ("lovelace.example", "babbage.example"):
        zone.texts(domain, "v=spf1 ip4:127.0.0.1 -all")
        zone.texts(f"_dmarc.{domain}", "v=DMARC1; p=reject")


def _mail(number: int, author: str = "ada@lovelace.example") -> bytes:
    return plain_mail(f"{number}\n", sender=author, to=TO.address).as_bytes()


def _arrival(number: int, author: str = "ada@lovelace.example", peer: str = "127.0.0.1") -> Arrival:
    return Arrival(
        Envelope(peer, "mx.lovelace.example", author), TO, _mail(number, author), datetime.now(UTC)
    )


async def test_an_author_has_his_number_of_mails_an_hour(gateway, senders):
    now = [0.0]
    resolver = Resolver(("127.0.0.1", gateway.zone.port))
    gateway.repos["other"] = gateway.repos["other"].model_copy(
        update={"senders": ("*@lovelace.example", "*@babbage.example")}
    )
    intake = Intake(
        gateway.bus,
        email=gateway.email,
        repos=lambda: gateway.repos,
        groups=dict,
        longest_age=lambda: LONGEST_AGE,
        spool=gateway.spool,
        resolver=lambda: resolver,
        clock=lambda: now[0],
    )
    for number in range(10):  # whoever cannot prove to be Ada takes nothing away from her
        with pytest.raises(MailRefused):
            await intake.accept(_arrival(number, peer="192.0.2.1"))
    for number in range(PER_SENDER):
        now[0] += 1
        await intake.accept(_arrival(number))
    for spelling in ("ada@lovelace.example", "ADA@Lovelace.EXAMPLE"):
        with pytest.raises(MailLater) as refused:
            await intake.accept(_arrival(1000, spelling))
        assert (
            refused.value.smtp_answer() == "450 4.7.1 ada@lovelace.example has sent too many mails this hour"
        )
    await intake.accept(_arrival(1001, "bob@lovelace.example"))
    await intake.accept(_arrival(1002, "charles@babbage.example"))
    now[0] = WINDOW_SECONDS + 1.5  # the first one is an hour old, the second is not
    await intake.accept(_arrival(1003))
    with pytest.raises(MailLater):
        await intake.accept(_arrival(1004))
    now[0] = 2 * WINDOW_SECONDS + 10
    await intake.accept(_arrival(1005))


async def test_the_sending_server_is_told_to_come_again(gateway, senders):
    for number in range(PER_SENDER):
        assert (await gateway.send(_mail(number), to=TO.address)).startswith("250")
    answer = await gateway.send(_mail(1000), to=TO.address)
    assert answer == "450 4.7.1 ada@lovelace.example has sent too many mails this hour"
    assert [error.code for error in gateway.refusals] == [450]
    bob = await gateway.send(
        _mail(1001, "bob@lovelace.example"), to=TO.address, mail_from="bob@lovelace.example"
    )
    assert bob.startswith("250")


async def test_copies_of_one_mail_cost_its_author_nothing(gateway, senders):
    mail = _mail(1)
    answers = {await gateway.send(mail, to=TO.address) for _ in range(PER_SENDER + 1)}
    assert len(answers) == 1
    assert (await gateway.send(_mail(2), to=TO.address)).startswith("250")
    assert len({request.id for request in await gateway.requests(2)}) == 2
