"""The way in over real SMTP, DNS and NATS: what is accepted, and what each kind of bad input is told."""

from airut_gateway_email.testing.signing import SigningDomain, plain_mail


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
    assert request.evidence.rule == "ada@lovelace.example"
    assert request.route.in_reply_to == mail["Message-ID"]
    assert request.route.references == ("<earlier@lovelace.example>", mail["Message-ID"])
    assert request.model is None
    assert request.accepted_at is not None
    [file] = request.attachments
    assert (file.name, file.media_type) == ("thing.bin", "application/x-thing")
    assert await gateway.bus.get_blob(file) == b"\x00\x01data"
    assert gateway.refusals == []
