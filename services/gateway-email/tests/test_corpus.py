"""The corpus (`corpus/`): each message with its verdict, the rule that decides, the answer in SMTP and the text that
the agent reads. `corpus/make.py` writes it; `corpus.json` says what has to come out."""

import json
import os
import subprocess
import sys
from datetime import datetime
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airut_common.bus import Bus
from airut_common.config.models import EmailConfig, RelayConfig, SenderAuthConfig
from airut_gateway_email.age import LONGEST_AGE
from airut_gateway_email.content.mail import read_mail
from airut_gateway_email.errors import MailError, MailRefused
from airut_gateway_email.intake import Intake
from airut_gateway_email.large.messages import Question
from airut_gateway_email.large.reader import stored_files
from airut_gateway_email.large.worker import answer
from airut_gateway_email.rawmail import parse_raw_mail
from airut_gateway_email.reading import take_apart
from airut_gateway_email.recipients import Recipient
from airut_gateway_email.requests import Arrival
from airut_gateway_email.spool import SpoolFile
from airut_mail_auth import DnsTemporary, Envelope, Record, Rules, verify, verify_bytes

from .conftest import repo

HERE = Path(__file__).parent / "corpus"
CORPUS = json.loads((HERE / "corpus.json").read_text())
NOW = datetime.fromisoformat(CORPUS["now"])
CASES: dict[str, dict[str, Any]] = CORPUS["cases"]


class ZoneFile:
    """The corpus's DNS."""

    def __init__(self) -> None:
        zone = json.loads((HERE / "zone.json").read_text())
        self._records: dict[str, list[str]] = zone["records"]
        self._fails = frozenset(zone["fails"])

    def _find(self, name: str, kind: str) -> list[str]:
        if f"{name.lower()} {kind}" in self._fails:
            raise DnsTemporary(name)
        return self._records.get(f"{name.lower()} {kind}", [])

    async def texts(self, name: str) -> list[bytes]:
        return [text.encode() for text in self._find(name, "TXT")]

    async def addresses(self, name: str, *, v6: bool) -> list[IPv4Address | IPv6Address]:
        return [ip_address(text) for text in self._find(name, "AAAA" if v6 else "A")]

    async def mail_hosts(self, name: str) -> list[str]:
        return self._find(name, "MX")

    async def pointers(self, address: IPv4Address | IPv6Address) -> list[str]:
        return self._find(address.reverse_pointer, "PTR")

    async def exists(self, name: str) -> bool:
        return any(key.partition(" ")[0].endswith(name.lower()) for key in self._records)


ZONE = ZoneFile()


def _data(name: str) -> bytes:
    return (HERE / "messages" / f"{name}.eml").read_bytes()


def _envelope(case: dict[str, Any]) -> Envelope:
    return Envelope(case["peer"], case["helo"], case["mail_from"])


async def _judge(name: str, data: bytes) -> Record:
    case = CASES[name]
    return await verify_bytes(data, _envelope(case), ZONE, Rules(**case["rules"]), now=NOW)


@pytest.mark.parametrize("name", CASES)
async def test_the_verdict(name: str):
    case = CASES[name]
    record = await _judge(name, _data(name))
    assert (record.verdict, record.rule) == (case["verdict"], case["rule"]), record.explanation
    assert case["says"] in record.explanation
    assert (record.proof is not None) == (record.verdict == "proven")
    assert Record.model_validate_json(record.model_dump_json()) == record
    if case["text"] is not None:
        assert read_mail(parse_raw_mail(_data(name))).text == case["text"]


async def test_on_the_disk_a_mail_is_judged_and_read_as_it_is_in_memory(tmp_path: Path):
    """What every mail of the corpus would be, were it a large one."""
    malformed = {name for name, case in CASES.items() if case["rule"] == "malformed"}
    for name in malformed:
        with SpoolFile.make(tmp_path) as spooled:
            spooled.write(_data(name))
            with pytest.raises(MailRefused):
                parse_raw_mail(spooled)
    for name in CASES.keys() - malformed:
        case = CASES[name]
        with SpoolFile.make(tmp_path) as spooled:
            spooled.write(_data(name))
            mail = parse_raw_mail(spooled)
            judging = verify(mail, _envelope(case), ZONE, Rules(**case["rules"]), now=NOW)
            assert await judging == await _judge(name, _data(name)), name
            assert _by_worker(spooled, tmp_path) == _in_memory(_data(name)), name


def _in_memory(data: bytes) -> object:
    try:
        found = take_apart(parse_raw_mail(data), ["demo@airut.example"], continues=True)
    except MailRefused as error:
        return error.smtp_answer()
    files = [(file.name, file.media_type, file.data) for file in found.files]
    return found.subject, found.text, found.question, files


def _by_worker(mail: SpoolFile, folder: Path) -> object:
    with SpoolFile.make(folder) as files:
        question = Question(
            parent=os.getpid(),
            mail=os.dup(mail.fileno()),
            files=os.dup(files.fileno()),
            ours=("demo@airut.example",),
            continues=True,
            memory_bytes=0,
            cpu_seconds=0,
        )
        found = answer(question)
        if found.refused is not None:
            refused = found.refused
            return MailRefused(refused.text, code=refused.code, status=refused.status).smtp_answer()
        content = []
        for file in stored_files(found, files):
            with file.open() as opened:
                content.append((file.name, file.media_type, opened.read()))
        return found.subject, found.text, found.question, content


async def test_the_answer_in_smtp(bus: Bus, tmp_path: Path):
    """The whole way in, up to the bus."""
    repos = {"demo": repo("demo@airut.example")}
    wrong = []
    for name, case in CASES.items():
        email = EmailConfig(
            hostname="airut.example",
            authentication=SenderAuthConfig.model_validate_json(json.dumps(case["rules"])),
            relay=RelayConfig(host="127.0.0.1", port=25, security="plain"),
        )
        intake = Intake(
            bus,
            email=lambda email=email: email,
            repos=lambda: repos,
            groups=dict,
            resolver=lambda: ZONE,
            longest_age=lambda: LONGEST_AGE,
            spool=tmp_path,
        )
        arrival = Arrival(_envelope(case), Recipient("demo", "demo@airut.example"), _data(name), NOW)
        try:
            await intake.accept(arrival)
            answer = "250 "
        except MailError as error:
            answer = error.smtp_answer()
        if not answer.startswith(f"{case['answer']} "):
            wrong.append((name, case["answer"], answer))
    assert not wrong


def test_it_is_large_enough():
    attacks = [name for name, case in CASES.items() if case["attack"]]
    assert len(CASES) >= 150
    assert len(attacks) >= 60
    accepted = [name for name in attacks if CASES[name]["answer"] == 250]
    assert not accepted


def test_the_files_are_what_the_script_writes():
    done = subprocess.run(
        [sys.executable, HERE / "make.py", "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


GOOD = ["sound-plain", "arc-forwarded", "signatures-ed25519", "spf-aligned"]


@settings(max_examples=150, deadline=1000)
@given(name=st.sampled_from(GOOD), place=st.floats(0, 1), piece=st.binary(min_size=1, max_size=12))
async def test_nothing_put_into_a_mail_changes_its_author(name: str, place: float, piece: bytes):
    """Whoever is proven after the change, it is Ada, or nobody."""
    data = _data(name)
    at = int(place * len(data))
    record = await _judge(name, data[:at] + piece + data[at:])
    # Without a signature, the envelope vouches for the domain alone, and the sender can write any name of it.
    assert record.author == "ada@lovelace.example" or record.verdict != "proven" or name == "spf-aligned"
    assert record.proof is None or record.proof.domain == "lovelace.example"
