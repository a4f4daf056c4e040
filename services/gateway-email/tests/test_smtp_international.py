"""8BITMIME (RFC 6152) and SMTPUTF8 (RFC 6531) over real sockets: said, kept, and part of who may give work."""

import pytest

from airut_common.config.models import RelayConfig
from airut_common.testing.builders import email_route, reply
from airut_gateway_email.replies import build_reply
from airut_gateway_email.smtp_out import Relay, SendRefused
from airut_gateway_email.testing.sink import MailSink
from airut_mail_auth.testing.signing import SigningDomain, plain_mail

AUTHOR = "Jörg Groß <jörg@bücher.example>"
A_LABEL = "xn--bcher-kva.example"


@pytest.fixture
def books(zone) -> SigningDomain:
    """A domain with an umlaut, set up well."""
    domain = SigningDomain(A_LABEL)
    domain.publish(zone)
    return domain


def _mail(author: str = AUTHOR, subject: str = "Grüße", text: str = "Bitte ändern.\n") -> bytes:
    """A mail in plain UTF-8, headers and body."""
    mail = plain_mail("body\n", sender="x@x.example", subject="subject").as_bytes()
    head, _, _ = mail.replace(b"x@x.example", author.encode(), 1).partition(b"\r\n\r\n")
    head = head.replace(b"Subject: subject", f"Subject: {subject}".encode()).replace(b"7bit", b"8bit")
    return head + b"\r\n\r\n" + text.encode().replace(b"\n", b"\r\n")


async def test_both_are_announced_with_and_without_tls(gateway):
    async with gateway.session() as session:
        await session.answer()
        lines = (await session.say("EHLO client.example")).splitlines()
        assert {"250-8BITMIME", "250-SMTPUTF8"} <= set(lines)


@pytest.mark.parametrize("options", ["BODY=8BITMIME", "body=8bitmime SIZE=2000", "BODY=8BITMIME SMTPUTF8"])
async def test_a_body_of_8_bits_arrives_as_it_was_signed(gateway, lovelace: SigningDomain, options: str):
    signed = lovelace.sign(_mail("Ada <ada@lovelace.example>", "plain", "Größe: 3 € – 例\n"))
    assert (await gateway.send(signed, options=options)).startswith("250")
    [request] = await gateway.requests(1)
    assert request.text == "Größe: 3 € – 例"


@pytest.mark.parametrize("option", ["BODY=BINARYMIME", "BODY", "SMTPUTF8=1", "NONSENSE"])
async def test_what_is_not_offered_is_refused(gateway, option: str):
    assert (await gateway.send(b"", options=option)).startswith(("501", "555"))


@pytest.mark.parametrize(
    "rule",
    [
        "jörg@bücher.example",
        f"JÖRG@{A_LABEL}",
        "jo\u0308rg@bu\u0308cher.example",
        "*@bücher.example",
        f"*@{A_LABEL}",
    ],
)
async def test_an_international_author_is_matched_by_the_sender_rule(
    gateway, books: SigningDomain, rule: str
):
    gateway.repos["demo"] = gateway.repos["demo"].model_validate(
        gateway.repos["demo"].model_dump() | {"senders": (rule,)}
    )
    answer = await gateway.send(
        books.sign(_mail()), mail_from="jörg@bücher.example", options="BODY=8BITMIME SMTPUTF8"
    )
    assert answer.startswith("250"), answer
    [request] = await gateway.requests(1)
    assert request.sender == request.route.recipient == f"jörg@{A_LABEL}"
    assert (request.subject, request.text) == ("Grüße", "Bitte ändern.")
    assert request.evidence.record["envelope"]["mail_from"] == "jörg@bücher.example"


@pytest.mark.parametrize(
    "author",
    [
        "jorg@bücher.example",
        "jörg@bucher.example",
        "jо\u0308rg@bücher.example",  # a Cyrillic o
        "jörg@bücher.example.evil.example",
        "jörgx@bücher.example",
    ],
)
async def test_a_look_alike_is_somebody_else(gateway, zone, author: str):
    domain = SigningDomain(author.rpartition("@")[2].encode("idna").decode())
    domain.publish(zone)
    gateway.repos["demo"] = gateway.repos["demo"].model_copy(update={"senders": ("jörg@bücher.example",)})
    answer = await gateway.send(domain.sign(_mail(author)), options="SMTPUTF8")
    assert answer.startswith("550 5.7.1"), answer
    assert "is not on the sender list" in answer


async def test_an_international_author_is_nobody_without_proof(gateway, books: SigningDomain):
    gateway.repos["demo"] = gateway.repos["demo"].model_copy(update={"senders": ("*@bücher.example",)})
    assert (await gateway.send(_mail(), options="SMTPUTF8")).startswith(
        "550 5.7.1 the author's domain xn--bcher"
    )
    forged = books.sign(_mail()).replace("jörg".encode(), "jürg".encode())
    assert (await gateway.send(forged, options="SMTPUTF8")).startswith(
        "550 5.7.1 the author's domain xn--bcher"
    )


async def test_what_needs_smtputf8_must_ask_for_it(gateway, books: SigningDomain):
    gateway.repos["demo"] = gateway.repos["demo"].model_copy(update={"senders": ("*@bücher.example",)})
    assert (await gateway.send(b"", mail_from="jörg@bücher.example")).startswith("553 5.6.7")
    assert (await gateway.send(b"", to="demö@airut.example")).startswith("553 5.6.7")
    answer = await gateway.send(books.sign(_mail()))
    assert answer.startswith("554 5.6.0 the mail is malformed: its header contains 8-bit characters")
    assert (await gateway.send(books.sign(_mail()), options="SMTPUTF8")).startswith("250")


async def test_a_repository_with_an_international_address(gateway, lovelace: SigningDomain):
    gateway.repos["demo"] = gateway.repos["demo"].model_copy(update={"address": ("straße@bücher.example",)})
    mail = (
        plain_mail(to="x@x.example").as_bytes().replace(b"x@x.example", "Straße+opus@bücher.example".encode())
    )
    answer = await gateway.send(lovelace.sign(mail), to=f"straße+opus@{A_LABEL}", options="SMTPUTF8")
    assert answer.startswith("250"), answer
    [request] = await gateway.requests(1)
    assert request.model == "opus"


@pytest.mark.parametrize(
    "command",
    [
        b"EHLO b\xc3\xbccher.example",
        b"HELO \xff",
        b"VRFY <\xff\xfe@x.example>",
        b"NOOP \xff",
        b"HELP \xc3\xbc",
        b"AUTH \xff",
    ],
)
async def test_bytes_that_are_no_ascii_in_other_commands_harm_nobody(gateway, command: bytes):
    async with gateway.session() as session:
        await session.answer()
        answer = await session.say_bytes(command + b"\r\n")
        assert answer[:1] in ("2", "5"), answer
        assert "internal error" not in answer
        assert answer.isascii()
        assert (await session.say("EHLO client.example")).startswith("250")


@pytest.mark.parametrize("address", [b"\xff@x.example", b"a@\xed\xa0\x80.example", b"\xc0\xbc@x.example"])
async def test_addresses_that_are_no_utf_8_are_refused(gateway, address: bytes):
    async with gateway.session() as session:
        await session.answer()
        await session.say("EHLO client.example")
        assert (await session.say_bytes(b"MAIL FROM:<%s> SMTPUTF8\r\n" % address)).startswith("553 5.1.3")
        await session.say("MAIL FROM:<a@b.example> SMTPUTF8")
        assert (await session.say_bytes(b"RCPT TO:<%s>\r\n" % address)).startswith("553 5.1.3")


async def test_headers_that_are_no_utf_8_are_refused(gateway, lovelace: SigningDomain):
    mail = plain_mail(subject="x").as_bytes().replace(b"Subject: x", b"Subject: Gr\xfc\xdfe")
    answer = await gateway.send(lovelace.sign(mail), options="SMTPUTF8")
    assert answer.startswith(
        "554 5.6.0 the mail is malformed: its header contains 8-bit characters that are no UTF-8"
    )


async def test_an_international_author_gets_his_answer():
    mail = build_reply(
        reply(route=email_route(recipient=f"jörg@{A_LABEL}", subject="Grüße")), "airut.example", [], []
    )
    async with MailSink(international=True).running() as sink:
        relay = Relay(
            lambda: RelayConfig(host="127.0.0.1", port=sink.port, security="plain"), lambda _name: None
        )
        await relay.send(mail)
        delivered = await sink.next()
        relay.close()
    assert delivered.recipients == (f"jörg@{A_LABEL}",)
    assert f"To: jörg@{A_LABEL}\r\n".encode() in delivered.data
    assert delivered.message["Subject"] == "Re: Grüße"


async def test_a_relay_that_has_no_smtputf8_is_not_asked_again_and_again():
    mail = build_reply(reply(route=email_route(recipient=f"jörg@{A_LABEL}")), "airut.example", [], [])
    async with MailSink().running() as sink:
        relay = Relay(
            lambda: RelayConfig(host="127.0.0.1", port=sink.port, security="plain"), lambda _name: None
        )
        with pytest.raises(SendRefused, match="SMTPUTF8"):
            await relay.send(mail)
        relay.close()


async def test_a_file_named_in_plain_utf_8_keeps_its_name(gateway, books: SigningDomain):
    gateway.repos["demo"] = gateway.repos["demo"].model_copy(update={"senders": ("*@bücher.example",)})
    mail = plain_mail(sender="jo@x.example", subject="s")
    mail.add_attachment(b"x", maintype="image", subtype="png", filename="NAME.png")
    data = mail.as_bytes().replace(b"jo@x.example", AUTHOR.encode()).replace(b"NAME", "größe 例".encode())
    assert (await gateway.send(books.sign(data), options="SMTPUTF8 BODY=8BITMIME")).startswith("250")
    [request] = await gateway.requests(1)
    assert [file.name for file in request.attachments] == ["größe 例.png"]
