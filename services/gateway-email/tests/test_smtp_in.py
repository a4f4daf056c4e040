"""The way in over real SMTP, DNS and NATS: what is accepted, and what each kind of bad input is told."""

import asyncio
import contextlib
import ssl
import time
from datetime import UTC, datetime, timedelta

import aiosmtplib
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from airut_gateway_email.smtp_in import admission
from airut_gateway_email.smtp_in import session as smtp_session
from airut_mail_auth import Record
from airut_mail_auth.testing.crafting import Signer
from airut_mail_auth.testing.signing import SigningDomain, plain_mail


def with_addresses(gateway, *addresses: str):
    return gateway.repos["demo"].model_copy(update={"address": addresses})


async def test_a_signed_mail_becomes_a_request(gateway, lovelace: SigningDomain):
    mail = plain_mail("Please fix the greeting.\n", References="<earlier@lovelace.example>")
    mail.add_attachment(b"\x00\x01data", maintype="application", subtype="x-thing", filename="thing.bin")
    answer = await gateway.send(lovelace.sign(mail.as_bytes()))
    [request] = await gateway.requests(1)
    assert answer == f"250 2.6.0 accepted as {request.id}"
    assert request.repo == "demo"
    assert request.sender == request.route.recipient == "ada@lovelace.example"
    assert request.route.from_address == "demo@airut.example"
    assert request.text == "Please fix the greeting."
    assert request.evidence.domain == "lovelace.example"
    assert request.evidence.method == "dmarc"
    assert (request.evidence.rule, request.evidence.group) == ("ada@lovelace.example", None)
    record = Record.model_validate(request.evidence.record)
    assert record.as_json() == request.evidence.record
    assert [one.result for one in record.dkim] == ["pass"]
    assert request.route.in_reply_to == mail["Message-ID"]
    assert request.route.references == ("<earlier@lovelace.example>", mail["Message-ID"])
    assert request.model is None
    assert request.accepted_at is not None
    [file] = request.attachments
    assert (file.name, file.media_type) == ("thing.bin", "application/x-thing")
    assert await gateway.bus.get_blob(file) == b"\x00\x01data"
    assert gateway.refusals == []


async def test_spf_alone_is_enough(gateway, zone):
    zone.texts("lovelace.example", "v=spf1 ip4:127.0.0.1 -all")
    assert (await gateway.send(plain_mail().as_bytes())).startswith("250")
    [request] = await gateway.requests(1)
    assert request.evidence.detail.startswith("SPF pass")


async def test_row_69_the_sub_address_of_our_own_recipient_is_the_hint(gateway, lovelace: SigningDomain):
    signed = lovelace.sign(plain_mail(to="x+opus@elsewhere.example, demo+haiku@airut.example").as_bytes())
    assert (await gateway.send(signed, to="demo+sonnet@airut.example")).startswith("250")
    [request] = await gateway.requests(1)
    assert request.model == "sonnet"
    assert request.route.from_address == "demo@airut.example"


async def test_each_address_of_a_repository_leads_to_it_and_answers_come_from_that_one(
    gateway, lovelace: SigningDomain
):
    gateway.repos["demo"] = with_addresses(gateway, "demo@airut.example", "help@airut.example")
    signed = lovelace.sign(plain_mail("To the second.\n", to="help@airut.example").as_bytes())
    assert (await gateway.send(signed, to="help+opus@airut.example")).startswith("250")
    # Who names one and delivers to another has named the repository.
    signed = lovelace.sign(plain_mail("To the first.\n", to="Demo <help@airut.example>").as_bytes())
    assert (await gateway.send(signed, to="demo@airut.example")).startswith("250")
    second, first = await gateway.requests(2)
    assert (second.repo, second.route.from_address, second.model) == ("demo", "help@airut.example", "opus")
    assert (first.repo, first.route.from_address, first.model) == ("demo", "demo@airut.example", None)


async def test_a_mail_must_name_an_address_of_its_own_repository(gateway, lovelace: SigningDomain):
    gateway.repos["demo"] = with_addresses(gateway, "demo@airut.example", "help@airut.example")
    signed = lovelace.sign(plain_mail(to="other@airut.example").as_bytes())
    answer = await gateway.send(signed, to="help@airut.example")
    await refused(
        gateway, answer, "550 5.7.1 the mail must name demo@airut.example or help@airut.example in To or Cc"
    )


async def test_a_mail_to_two_addresses_of_a_repository_is_one_task(gateway, lovelace: SigningDomain):
    gateway.repos["demo"] = with_addresses(gateway, "demo@airut.example", "help@airut.example")
    signed = lovelace.sign(plain_mail(to="help@airut.example, demo@airut.example").as_bytes())
    answers = [await gateway.send(signed, to=address) for address in gateway.repos["demo"].address]
    assert len(set(answers)) == 1
    await gateway.send(lovelace.sign(plain_mail("Another.\n").as_bytes()))
    assert [request.text for request in await gateway.requests(2)] == ["Please fix the greeting.", "Another."]


async def test_a_group_allows_its_members_and_the_evidence_names_it(gateway, lovelace: SigningDomain):
    gateway.repos["demo"] = gateway.repos["demo"].model_copy(update={"senders": ("group:team",)})
    signed = lovelace.sign(plain_mail().as_bytes())
    assert (await gateway.send(signed)).startswith(
        "451 4.3.0 the sender list of demo@airut.example is being changed"
    )
    gateway.groups["team"] = ("bob@x.example", "*@lovelace.example")
    assert (await gateway.send(signed)).startswith("250")
    [request] = await gateway.requests(1)
    assert (request.evidence.rule, request.evidence.group) == ("*@lovelace.example", "team")
    gateway.groups["team"] = ("bob@x.example",)
    again = lovelace.sign(plain_mail("Once more.\n").as_bytes())
    assert "not on the sender list" in await gateway.send(again)


async def test_row_52_reply_to_and_cc_are_ignored(gateway, lovelace: SigningDomain):
    mail = plain_mail(Reply_To="mallory@evil.example", Cc="mallory@evil.example")
    await gateway.send(lovelace.sign(mail.as_bytes()))
    [request] = await gateway.requests(1)
    assert request.route.recipient == "ada@lovelace.example"


async def test_row_54_a_redelivery_is_stored_once(gateway, lovelace: SigningDomain):
    signed = lovelace.sign(plain_mail().as_bytes())
    first = await gateway.send(signed)
    assert await gateway.send(b"Received: once more\r\n" + signed) == first
    assert await gateway.bus.stream_size("AIRUT_TASKS") == 1


async def test_dots_at_line_starts_survive(gateway, lovelace: SigningDomain):
    await gateway.send(lovelace.sign(plain_mail(".hidden\n..\n.\nend\n").as_bytes()))
    assert [request.text for request in await gateway.requests(1)] == [".hidden\n..\n.\nend"]


# -- who may not ------------------------------------------------------------------------------------------


async def refused(gateway, answer: str, *words: str) -> None:
    """It said why, the operator heard of it, and nothing reached the bus."""
    for word in words:
        assert word in answer
    assert len(gateway.refusals) == 1
    assert await gateway.bus.stream_size("AIRUT_TASKS") == 0


async def test_an_unlisted_sender(gateway, lovelace: SigningDomain):
    signed = lovelace.sign(plain_mail(sender="Bob <bob@lovelace.example>").as_bytes())
    await refused(
        gateway,
        await gateway.send(signed),
        "550 5.7.1 bob@lovelace.example is not on the sender list of demo",
    )


async def test_row_50_a_forged_author(gateway, zone):
    mallory = SigningDomain("evil.example")
    mallory.publish(zone, spf="v=spf1 ip4:127.0.0.1 -all")
    forged = mallory.sign(plain_mail(sender="Ada <ada@lovelace.example>").as_bytes())
    answer = await gateway.send(forged, mail_from="mallory@evil.example")
    await refused(
        gateway, answer, "550 5.7.1 the author's domain lovelace.example is not proven", "not aligned"
    )


async def test_row_50_the_display_name_authorises_nobody(gateway, zone):
    mallory = SigningDomain("evil.example")
    mallory.publish(zone)
    signed = mallory.sign(plain_mail(sender='"ada@lovelace.example" <mallory@evil.example>').as_bytes())
    await refused(
        gateway, await gateway.send(signed), "550 5.7.1 mallory@evil.example is not on the sender list"
    )


async def test_an_unsigned_mail(gateway):
    await refused(gateway, await gateway.send(plain_mail().as_bytes()), "550 5.7.1", "no DKIM signature")


async def test_row_50_two_from_headers(gateway, lovelace: SigningDomain):
    signed = lovelace.sign(plain_mail().as_bytes())
    await refused(
        gateway, await gateway.send(b"From: x@evil.example\r\n" + signed), "554 5.6.0", "more than one From"
    )


async def test_row_50_several_authors(gateway, lovelace: SigningDomain):
    signed = lovelace.sign(plain_mail(sender="ada@lovelace.example, bob@lovelace.example").as_bytes())
    await refused(
        gateway, await gateway.send(signed), "550 5.6.0 the From header must name exactly one author"
    )


async def test_an_unknown_recipient(gateway):
    answer = await gateway.send(plain_mail().as_bytes(), to="nobody@airut.example")
    await refused(gateway, answer, "550 5.1.1 there is no repository with the address nobody@airut.example")


async def test_a_mail_over_the_limit(gateway, lovelace: SigningDomain):
    big = b"x" * 70 + b"\r\n"
    answer = await gateway.send(
        lovelace.sign(plain_mail().as_bytes()) + big * (gateway.max_message_bytes // 72 + 1)
    )
    await refused(gateway, answer, f"552 5.3.4 the mail is larger than {gateway.max_message_bytes} bytes")
    async with gateway.session() as session:
        await session.answer()
        assert f"SIZE {gateway.max_message_bytes}" in await session.say("EHLO client.example")
        answer = await session.say(f"MAIL FROM:<ada@lovelace.example> SIZE={gateway.max_message_bytes + 1}")
        assert answer.startswith("552 5.3.4")
    assert len(gateway.refusals) == 2


async def test_an_empty_mail(gateway, lovelace: SigningDomain):
    await refused(
        gateway, await gateway.send(lovelace.sign(plain_mail("\n").as_bytes())), "550 5.6.0 the mail is empty"
    )


async def test_undecodable_mime(gateway, lovelace: SigningDomain):
    mail = plain_mail("x\n")
    mail.replace_header("Content-Transfer-Encoding", "x-secret")
    await refused(
        gateway, await gateway.send(lovelace.sign(mail.as_bytes())), "554 5.6.0 the mail cannot be decoded"
    )


async def test_a_text_longer_than_the_bus_takes(gateway, lovelace: SigningDomain):
    mail = plain_mail()
    mail.set_content("\n".join(["é" * 70] * 8000), cte="base64")
    await refused(
        gateway,
        await gateway.send(lovelace.sign(mail.as_bytes())),
        "552 5.3.4 the text of the mail is too long",
    )


async def test_a_mail_to_somebody_else_is_no_instruction(gateway, lovelace: SigningDomain):
    """Replay: a mail that Ada signed and sent to a public list, fed to us by somebody who read it there."""
    public = lovelace.sign(plain_mail("Everybody should delete this.\n", to="list@public.example").as_bytes())
    await refused(
        gateway, await gateway.send(public), "550 5.7.1 the mail must name demo@airut.example in To or Cc"
    )


async def test_an_old_mail_is_a_replay(gateway, lovelace: SigningDomain, monkeypatch):
    signed = lovelace.sign(plain_mail().as_bytes())
    monkeypatch.setattr(smtp_session, "utc_now", lambda: datetime.now(UTC) + timedelta(days=30))
    await refused(gateway, await gateway.send(signed), "more than 7 days ago")


@pytest.mark.parametrize(
    "headers",
    [
        {"Auto_Submitted": "auto-replied"},
        {"Precedence": "bulk"},
        {"List_Id": "<x.example>"},
        {"Return_Path": "<>"},
    ],
)
async def test_row_53_automatic_mail_is_refused_and_never_answered(gateway, lovelace: SigningDomain, headers):
    answer = await gateway.send(lovelace.sign(plain_mail(**headers).as_bytes()))
    await refused(gateway, answer, "550 5.7.1 automatic mail is not accepted")


async def test_row_53_a_bounce_is_refused(gateway, lovelace: SigningDomain):
    answer = await gateway.send(lovelace.sign(plain_mail().as_bytes()), mail_from="")
    await refused(gateway, answer, "550 5.7.1 automatic mail is not accepted: its return path is empty")


@pytest.mark.parametrize("author", ["demo@airut.example", "help@airut.example", "help+opus@airut.example"])
async def test_row_53_our_own_address_as_author_is_refused(gateway, zone, author: str):
    own = SigningDomain("airut.example")
    own.publish(zone)
    demo = with_addresses(gateway, "demo@airut.example", "help@airut.example")
    gateway.repos["demo"] = demo.model_copy(update={"senders": ("*@airut.example",)})
    answer = await gateway.send(own.sign(plain_mail(sender=author).as_bytes()))
    await refused(gateway, answer, "this installation")


async def test_row_53_a_conversation_has_a_rate(gateway, lovelace: SigningDomain, monkeypatch):
    conversation = "c" * 32
    for number in range(60):
        mail = plain_mail(f"{number}\n", In_Reply_To=f"<airut.{conversation}.x@airut.example>")
        assert (await gateway.send(lovelace.sign(mail.as_bytes()))).startswith("250")
    mail = plain_mail("61\n", In_Reply_To=f"<airut.{conversation}.x@airut.example>")
    assert (await gateway.send(lovelace.sign(mail.as_bytes()))).startswith("450 4.7.1 this conversation")
    assert (await gateway.send(lovelace.sign(plain_mail("another\n").as_bytes()))).startswith("250")


# -- not now ----------------------------------------------------------------------------------------------


async def test_dns_away_is_451(gateway, zone, lovelace: SigningDomain):
    zone.fails.add("_dmarc.lovelace.example")
    signed = lovelace.sign(plain_mail().as_bytes())
    await refused(gateway, await gateway.send(signed), "451 4.4.3")
    zone.fails.clear()
    assert (await gateway.send(signed)).startswith("250")


@pytest.mark.integration
async def test_bus_away_is_451_and_the_next_try_succeeds(gateway, nats_server, lovelace: SigningDomain):
    mail = plain_mail()
    mail.add_attachment(b"x", maintype="image", subtype="png", filename="a.png")
    signed = lovelace.sign(mail.as_bytes())
    await nats_server.stop()
    answer = await gateway.send(signed)
    assert answer.startswith("451 4.3.0 the mail cannot be stored")
    await nats_server.start()
    assert (await gateway.send(signed)).startswith("250")
    assert len(await gateway.requests(1)) == 1


# -- the other mode ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("peers", "header", "answer"),
    [
        (("127.0.0.0/8",), "mx.airut.example; dmarc=pass header.from=lovelace.example", "250"),
        (
            ("127.0.0.0/8",),
            "evil.example; dmarc=pass header.from=lovelace.example",
            "550 5.7.1 the mail has no",
        ),
        (
            ("127.0.0.0/8",),
            "mx.airut.example; dmarc=fail header.from=lovelace.example",
            "550 5.7.1 mx.airut.example",
        ),
        (
            ("192.0.2.0/24",),
            "mx.airut.example; dmarc=pass header.from=lovelace.example",
            "550 5.7.1 127.0.0.1 is not",
        ),
    ],
)
async def test_row_50_trusted_header(gateway, peers, header: str, answer: str):
    gateway.authentication = {"mode": "trusted-header", "authserv_id": "mx.airut.example", "peers": peers}
    mail = f"Authentication-Results: {header}\r\n".encode() + plain_mail().as_bytes()
    assert (await gateway.send(mail)).startswith(answer)


# -- the protocol -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r\n.\r"])
async def test_row_50_smuggled_mails_are_refused(gateway, lovelace: SigningDomain, end: bytes):
    """CVE-2024-27305 and VU#302671: what another server takes for the end of a mail must not begin a second one here."""
    smuggled = (
        lovelace.sign(plain_mail("first\n").as_bytes())
        + end
        + b"MAIL FROM:<ada@lovelace.example>\r\nRCPT TO:<demo@airut.example>\r\nDATA\r\n"
        + lovelace.sign(plain_mail("second\n").as_bytes())
    )
    await refused(gateway, await gateway.send(smuggled), "554 5.6.0", "bare CR or LF")


async def test_a_bug_is_not_now_and_leaves_the_next_mail_unharmed(gateway, lovelace: SigningDomain, capsys):
    signed = lovelace.sign(plain_mail().as_bytes())
    gateway.authentication = {"mode": "nonsense"}
    assert (await gateway.send(signed)).startswith("451 4.3.0 an internal error")
    gateway.authentication = {}
    assert (await gateway.send(signed)).startswith("250")


async def test_one_recipient_at_a_time(gateway):
    async with gateway.session() as session:
        assert (await session.answer()) == "220 airut.example ESMTP Airut"
        await session.say("EHLO client.example")
        await session.say("MAIL FROM:<ada@lovelace.example>")
        assert (await session.say("RCPT TO:<demo@airut.example>")).startswith("250")
        assert (await session.say("RCPT TO:<other@airut.example>")).startswith("452 4.5.3")
        assert (await session.say("RCPT TO:<nobody@airut.example>")).startswith("550 5.1.1")


async def test_nothing_works_out_of_order(gateway):
    async with gateway.session() as session:
        await session.answer()
        assert (await session.say("MAIL FROM:<a@b.example>")).startswith("503")
        await session.say("EHLO client.example")
        assert (await session.say("DATA")).startswith("503")
        assert (await session.say("AUTH PLAIN AGEAYg==")).startswith(("5", "4"))
        assert (await session.say("STARTTLS")).startswith("454")
        for command in ("EXPN x", "NONSENSE"):
            assert (await session.say(command)).startswith("5")
        assert "AUTH" not in await session.say("EHLO client.example")


async def test_a_client_that_hangs_up_leaves_the_rest_unharmed(gateway, lovelace: SigningDomain):
    for _ in range(3):
        async with gateway.session() as session:
            await session.answer()
            await session.say("EHLO client.example")
            await session.say("MAIL FROM:<ada@lovelace.example>")
            await session.say("RCPT TO:<demo@airut.example>")
            await session.say("DATA")
            session.writer.write(b"half a mail")
    assert (await gateway.send(lovelace.sign(plain_mail().as_bytes()))).startswith("250")


async def test_row_35_connections_are_limited(gateway, monkeypatch, lovelace: SigningDomain):
    monkeypatch.setattr(admission, "MAX_CONNECTIONS_PER_PEER", 3)
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(3):
            session = await stack.enter_async_context(gateway.session())
            assert (await session.answer()).startswith("220")
        one_more = await stack.enter_async_context(gateway.session())
        assert (await one_more.answer()).startswith("421 4.7.0 too many connections")
        assert await one_more.answer() == ""
    async with asyncio.timeout(5):
        while not (await gateway.send(lovelace.sign(plain_mail().as_bytes()))).startswith("250"):
            await asyncio.sleep(0)


async def test_row_35_transfers_are_limited(gateway, monkeypatch):
    monkeypatch.setattr(admission, "MAX_TRANSFERS", 1)
    async with gateway.session() as first:
        await first.answer()
        for command in ("EHLO a.example", "MAIL FROM:<a@b.example>", "RCPT TO:<demo@airut.example>", "DATA"):
            await first.say(command)
        assert (await gateway.send(plain_mail().as_bytes())).startswith("451 4.3.2")


async def test_row_35_a_slow_transfer_has_a_deadline(gateway, monkeypatch):
    monkeypatch.setattr(smtp_session, "TRANSFER_SECONDS", 0.3)
    async with gateway.session() as session:
        await session.answer()
        for command in ("EHLO a.example", "MAIL FROM:<a@b.example>", "RCPT TO:<demo@airut.example>", "DATA"):
            await session.say(command)
        assert (await session.answer()).startswith("421 4.4.2")
        assert await session.answer() == ""


async def test_row_35_commands_are_limited(gateway):
    async with gateway.session() as session:
        await session.answer()
        answers = [await session.say("HELP") for _ in range(21)]
        assert answers[-1].startswith("421 4.7.0")


async def test_long_lines_are_refused(gateway, lovelace: SigningDomain):
    mail = lovelace.sign(plain_mail().as_bytes()) + b"x" * 5000 + b"\r\n"
    await refused(
        gateway, await gateway.send(mail), "550 5.6.0 the mail has a line of more than 998 characters"
    )
    async with gateway.session() as session:
        await session.answer()
        assert (await session.say("EHLO " + "x" * 5000)).startswith("500")
        assert (await session.say("EHLO client.example")).startswith("250")


# -- TLS ------------------------------------------------------------------------------------------------------


@pytest.fixture
def encrypted(gateway, certificate):
    gateway.tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    gateway.tls.load_cert_chain(*certificate)
    return gateway


async def test_starttls(encrypted, certificate, lovelace: SigningDomain):
    trusting = ssl.create_default_context(cafile=certificate[0])
    client = aiosmtplib.SMTP(hostname="localhost", port=encrypted.port, start_tls=True, tls_context=trusting)
    async with client:
        answer = await client.sendmail(
            "ada@lovelace.example", "demo@airut.example", lovelace.sign(plain_mail().as_bytes())
        )
    assert "accepted as" in answer[1]


async def test_required_tls_takes_nothing_in_the_clear(encrypted, lovelace: SigningDomain, certificate):
    encrypted.require_tls = True
    signed = lovelace.sign(plain_mail().as_bytes())
    assert (await encrypted.send(signed)).startswith("530")
    trusting = ssl.create_default_context(cafile=certificate[0])
    client = aiosmtplib.SMTP(hostname="localhost", port=encrypted.port, start_tls=True, tls_context=trusting)
    async with client:
        answer = await client.sendmail("ada@lovelace.example", "demo@airut.example", signed)
    assert "accepted as" in answer[1]


async def test_commands_before_starttls_do_not_count_inside(encrypted, certificate):
    """CVE-2024-34083: what was said in the clear, or smuggled behind STARTTLS, is forgotten."""
    trusting = ssl.create_default_context(cafile=certificate[0])
    async with encrypted.session() as session:
        await session.answer()
        assert "STARTTLS" in await session.say("EHLO client.example")
        await session.say("MAIL FROM:<mallory@evil.example>")
        answer = await session.say_bytes(b"STARTTLS\r\nRSET\r\nNOOP\r\n")
        assert answer.startswith("220")
        await session.writer.start_tls(trusting, server_hostname="localhost")
        assert (await session.say("RCPT TO:<demo@airut.example>")).startswith("503")
        assert "STARTTLS" not in await session.say("EHLO client.example")


OPEN_TO = [b"from", b"subject", b"date", b"message-id", b"content-type", b"mime-version"]
"""What Microsoft 365 signs."""


async def test_row_50_a_signature_that_leaves_to_open_cannot_be_replayed_to_us(
    gateway, lovelace: SigningDomain
):
    """Ada wrote to somebody else; a third person has put our address in."""
    signed = lovelace.sign(plain_mail(to="bob@elsewhere.example").as_bytes(), include_headers=OPEN_TO)
    answer = await gateway.send(signed.replace(b"bob@elsewhere.example", b"demo@airut.example"))
    assert answer.startswith("550 5.7.1 the signature of lovelace.example does not cover To and Cc")


async def test_a_signature_that_leaves_to_open_is_enough_from_a_server_of_the_author(
    gateway, zone, lovelace: SigningDomain
):
    zone.texts("lovelace.example", "v=spf1 ip4:127.0.0.1 -all")
    answer = await gateway.send(lovelace.sign(plain_mail().as_bytes(), include_headers=OPEN_TO))
    assert answer.startswith("250")


async def test_the_record_of_the_decision_goes_along(gateway, lovelace: SigningDomain):
    await gateway.send(lovelace.sign(plain_mail().as_bytes()))
    [request] = await gateway.requests(1)
    record = request.evidence.record
    assert (record["verdict"], record["rule"], record["author"]) == (
        "proven",
        "dmarc",
        "ada@lovelace.example",
    )
    assert record["dkim"][0]["selector"] == "mail"
    assert record["envelope"]["mail_from"] == "ada@lovelace.example"


async def test_a_forwarded_mail_is_believed_by_the_seal_of_a_named_domain(
    gateway, zone, lovelace: SigningDomain
):
    """The list's footer broke Ada's signature."""
    lists = Signer("lists.example", "arc", Ed25519PrivateKey.generate())
    zone.texts("arc._domainkey.lists.example", lists.record)
    changed = lovelace.sign(plain_mail().as_bytes()) + b"-- \r\nsent through a list\r\n"
    results = "mx.lists.example; dmarc=pass header.from=lovelace.example"
    sealed = lists.arc(changed, at=int(time.time()), results=results)
    assert (await gateway.send(sealed)).startswith(
        "550 5.7.1 the author's domain lovelace.example is not proven"
    )
    gateway.authentication = {"arc_sealers": ("lists.example",)}
    assert (await gateway.send(sealed)).startswith("250")
    [request] = await gateway.requests(1)
    assert (request.evidence.method, request.evidence.record["arc"]["believed"]) == ("arc", 1)


@pytest.mark.parametrize(
    ("clients", "other"),
    [
        (["198.51.100.1"], "198.51.100.2"),
        ([f"2001:db8::{number}:1" for number in range(1, 5)], "2001:db8:0:1::1"),  # one network of 64 bits
    ],
)
async def test_a_client_that_takes_its_time_leaves_room_for_others(
    gateway, lovelace: SigningDomain, clients: list[str], other: str
):
    gateway.proxy_peers = ("127.0.0.1",)

    async def say(session, client: str) -> str:
        header = f"TCP6 {client} 2001:db8::25" if ":" in client else f"TCP4 {client} 192.0.2.1"
        session.writer.write(f"PROXY {header} 1 25\r\n".encode())
        await session.answer()
        for command in ("EHLO a.example", "MAIL FROM:<ada@lovelace.example>", "RCPT TO:<demo@airut.example>"):
            await session.say(command)
        return await session.say("DATA")

    async with contextlib.AsyncExitStack() as stack:
        many = [
            await say(await stack.enter_async_context(gateway.session()), clients[number % len(clients)])
            for number in range(admission.MAX_TRANSFERS_PER_PEER + 2)
        ]
        assert [text[:3] for text in many].count("354") == admission.MAX_TRANSFERS_PER_PEER
        assert many[-1] == "451 4.3.2 too many mails at the same time; try again later"
        another = await stack.enter_async_context(gateway.session())
        assert (await say(another, other)).startswith("354")
        signed = lovelace.sign(plain_mail().as_bytes())
        assert (await another.say_bytes(signed + b"\r\n.\r\n")).startswith("250")


@pytest.mark.parametrize(
    ("header", "value", "told"),
    [
        ("To", "list@public.example", "the mail must name demo@airut.example in To or Cc"),
        ("Date", "Mon, 6 Jul 2026 10:00:00 +0000", "the mail is older than 7 days"),
    ],
)
async def test_what_a_trusted_server_says_does_not_make_a_replay_an_instruction(
    gateway, header: str, value: str, told: str
):
    gateway.authentication = {
        "mode": "trusted-header",
        "authserv_id": "mx.airut.example",
        "peers": ("127.0.0.0/8",),
    }
    mail = plain_mail()
    del mail[header]
    mail[header] = value
    verdict = b"Authentication-Results: mx.airut.example; dmarc=pass header.from=lovelace.example\r\n"
    await refused(gateway, await gateway.send(verdict + mail.as_bytes()), f"550 5.7.1 {told}")


async def test_mails_of_domains_whose_dns_is_slow_hold_up_nobody(gateway, zone, lovelace: SigningDomain):
    """Whoever has a domain decides how long its DNS takes."""
    zone.silent.add("_dmarc.slow.example")
    slow = [
        asyncio.ensure_future(gateway.send(plain_mail(sender="x@slow.example").as_bytes()))
        for _ in range(admission.MAX_TRANSFERS_PER_PEER - 1)
    ]
    async with asyncio.timeout(20):
        while sum(question.startswith("_dmarc.slow.example") for question in zone.questions) < len(slow):
            await asyncio.sleep(0)
    answer = await gateway.send(lovelace.sign(plain_mail().as_bytes()))
    assert answer.startswith("250")
    assert not any(task.done() for task in slow)
    assert all(text.startswith("451 4.4.3") for text in await asyncio.gather(*slow))
