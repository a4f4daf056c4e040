"""The public test suite for the validation of ARC chains (suites/arc-draft-validation-tests.yml, by ValiMail, its
licence beside it), and what further changes to its messages do to the chain.

Its messages are signed with a key of 1024 bits and at the beginning of 1970, so that only validation is measured by
them; what a chain is worth is in `test_arc.py`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import dkim
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from ruamel.yaml import YAML
from ruamel.yaml.nodes import MappingNode, Node

from airut_mail_auth.arc.chain import Chain, validate_chain
from airut_mail_auth.dkim.check import SignatureChecker
from airut_mail_auth.message import BadMessage, split_message
from airut_mail_auth.testing.crafting import Signer
from airut_mail_auth.testing.signing import plain_mail

SUITE = Path(__file__).parent / "suites" / "arc-draft-validation-tests.yml"
STRICTER = {
    # RFC 8301, section 3: a verifier does not take rsa-sha1 for a signature.
    "ams_fields_a_sha1": "algorithm not accepted",
    "as_fields_a_sha1": "algorithm not accepted",
    # RFC 6376, section 3.5: h= holds at least one name, each of at least one character.
    "ams_fields_h_empty": "has no h=",
    "ams_fields_h_mis_hdr": "malformed h=",
}
"""Passed by the suite, refused here, and why."""


@dataclass(frozen=True)
class Case:
    """A message of the suite. `wanted` is empty where the suite says that nobody adds a set any more."""

    name: str
    message: str
    wanted: str
    keys: Mapping[str, str]

    @property
    def lines(self) -> list[str]:
        return self.message.split("\n")


def _pairs(node: Node) -> Iterator[tuple[str, Node]]:
    """A mapping may have one key twice: two cases of the suite have one name."""
    assert isinstance(node, MappingNode)
    return ((key.value, value) for key, value in node.value)


def _cases() -> Iterator[Case]:
    for scenario in YAML(typ="safe", pure=True).compose_all(SUITE.read_bytes()):
        parts = dict(_pairs(scenario))
        keys = {name: value.value for name, value in _pairs(parts["txt-records"])}
        for name, case in _pairs(parts["tests"]):
            texts = {field: value.value for field, value in _pairs(case)}
            yield Case(name, texts["message"], texts["cv"].lower(), keys)


ALL = list(_cases())
BY_NAME = {case.name: case for case in ALL}
KEY_NAME = "dummy._domainkey.example.org"
KEY_RECORD = BY_NAME["cv_pass_i1_1"].keys[KEY_NAME]
SIGNED = [case for case in ALL if case.name.startswith("cv_pass")]
SIMPLE = BY_NAME["cv_pass_i1_1"].lines


async def _validate(lines: list[str], keys: Mapping[str, str] | str = KEY_RECORD) -> Chain:
    records = {KEY_NAME: keys} if isinstance(keys, str) else keys

    async def texts(name: str) -> list[bytes]:
        return [records[name].encode()] if name in records else []

    mail = split_message("\r\n".join(lines).encode())
    return await validate_chain(mail, SignatureChecker(mail, texts))


def test_the_suite_is_whole():
    assert len(ALL) == 174
    assert set(STRICTER) <= set(BY_NAME)


@pytest.mark.parametrize("case", ALL, ids=lambda case: case.name)
async def test_the_public_suite(case: Case):
    if case.name == "cv_no_headers":
        with pytest.raises(BadMessage, match="no header fields"):
            await _validate(case.lines, case.keys)
        return
    found = await _validate(case.lines, case.keys)
    if case.name in STRICTER:
        assert case.wanted == "pass"
        assert (found.result, STRICTER[case.name] in found.detail) == ("fail", True)
    else:
        assert found.result == (case.wanted or "fail")


def _without(prefix: str, lines: list[str]) -> list[str]:
    """Without the topmost header that begins so."""
    start = next(index for index, line in enumerate(lines) if line.startswith(prefix))
    end = next(index for index in range(start + 1, len(lines)) if not lines[index].startswith(" "))
    return lines[:start] + lines[end:]


def _twice(prefix: str, lines: list[str]) -> list[str]:
    start = next(index for index, line in enumerate(lines) if line.startswith(prefix))
    end = next(index for index in range(start + 1, len(lines)) if not lines[index].startswith(" "))
    return lines[:end] + lines[start:end] + lines[end:]


@pytest.mark.parametrize("case", SIGNED, ids=lambda case: case.name)
@pytest.mark.parametrize("header", ["ARC-Seal", "ARC-Message-Signature", "ARC-Authentication-Results"])
async def test_a_set_that_is_not_whole_or_doubled_fails(case: Case, header: str):
    assert (await _validate(_without(header, case.lines), case.keys)).result == "fail"
    assert (await _validate(_twice(header, case.lines), case.keys)).result == "fail"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("cv=none", "cv=pass"),
        ("cv=none", "cv=fail"),
        ("cv=none", "cv=none; cv=none"),
        ("cv=none;", ""),
        ("cv=none", "cv=NONE!"),
        ("i=1;", "i=2;"),
        ("i=1;", "i=0;"),
        ("i=1;", "i=51;"),
        ("i=1;", "i=a;"),
        ("i=1;", ""),
        ("a=rsa-sha256", "a=rsa-sha1"),
        ("a=rsa-sha256;", ""),
        ("d=example.org", "d=example.com"),
        ("d=example.org;", ""),
        ("s=dummy", "s=other"),
        ("s=dummy;", ""),
        ("t=12345", "t=12346"),
        ("h=from:to", "h=from"),
        ("h=from:to", "h=arc-seal:from:to"),
        ("c=relaxed/relaxed;", ""),
        ("c=relaxed/relaxed", "c=simple/relaxed"),
        ("bh=KWSe", "bh=KWSf"),
        ("bh=KWSe46TZKCcDbH4klJPo+tjk5LWJnVRlP5pvjXFZYLQ=;", ""),
        ("b=QsRz", "b=QsRy"),
        ("b=dOdF", "b=dOdE"),
        ("cv=none;", "cv=none; h=from;"),
        ("dmarc=pass", "dmarc=fail"),
        ("Subject: Example 1", "Subject: Example 2"),
        ("This is a test", "This was a test"),
    ],
)
async def test_what_was_signed_cannot_be_changed(old: str, new: str):
    text = "\n".join(SIMPLE)
    assert old in text
    for changed in (text.replace(old, new, 1), text.replace(old, new)):
        assert (await _validate(changed.split("\n"))).result == "fail"


async def test_space_may_change_where_relaxed_forms_allow_it():
    lines = SIMPLE
    changed = [line.replace("Subject: Example 1", "SUBJECT:   Example \t 1 ") for line in lines]
    assert (await _validate(changed)).result == "pass"


@pytest.mark.parametrize(
    "key",
    [
        "",
        "v=DKIM1; p=",
        "v=DKIM2; " + KEY_RECORD.partition(" ")[2],
        KEY_RECORD.replace("k=rsa", "k=ed25519"),
        KEY_RECORD + "; h=sha1",
        KEY_RECORD + "; s=tlsrpt",
        KEY_RECORD[:-20],
    ],
)
async def test_keys_that_do_not_fit(key: str):
    assert (await _validate(SIMPLE, key)).result == "fail"


async def test_a_chain_of_two_without_its_first_set_or_in_another_order():
    lines = BY_NAME["cv_pass_i2_1"].lines
    for index in (1, 2):
        swapped = [line.replace(f"i={index};", "i=3;") for line in lines]
        assert (await _validate(swapped)).result == "fail"
    text = "\n".join(lines)
    exchanged = text.replace("i=1;", "i=x;").replace("i=2;", "i=1;").replace("i=x;", "i=2;")
    assert (await _validate(exchanged.split("\n"))).result == "fail"


KEY = rsa.generate_private_key(65537, 2048)
HANDLER = Signer("example.org", "dummy", KEY)


def _chain(length: int, message_tags: Mapping[str, str | None], seal_tags: Mapping[str, str | None]) -> bytes:
    data = plain_mail("A  line\t of text \n\n\n").as_bytes()
    for number in range(length):
        results = f"mx{number}.example.org; dmarc=pass header.from=lovelace.example"
        data = HANDLER.arc(data, at=12345, results=results, message_tags=message_tags, seal_tags=seal_tags)
    return data


@pytest.mark.parametrize("length", [1, 2, 3, 7])
@pytest.mark.parametrize(
    ("message_tags", "seal_tags"),
    [
        ({}, {}),
        ({"c": "relaxed/simple"}, {}),
        ({"c": "simple/relaxed"}, {}),
        ({"c": "simple/simple"}, {}),
        ({"c": "relaxed"}, {}),
        ({"t": None}, {"t": None}),
        ({"x-unknown": None, "zz": "a b"}, {"zz": "1"}),
        ({"h": "from : to:\r\n  subject : date"}, {}),
        ({"h": "from:from:to:subject:date:reply-to"}, {}),
        ({"d": " example.org "}, {"s": " dummy"}),
    ],
)
async def test_chains_of_any_form_pass_here_and_in_dkimpy(length: int, message_tags, seal_tags):
    data = _chain(length, message_tags, seal_tags)
    lines = data.decode().split("\r\n")
    found = await _validate(lines, HANDLER.record)
    assert (found.result, len(found.sets)) == ("pass", length), found.detail
    verdict, _, reason = dkim.arc_verify(data, dnsfunc=lambda *_, **__: HANDLER.record.encode())
    assert verdict == dkim.CV_Pass, reason
    for old, new in (("of text", "of texts"), ("mx0.example", "mx1.example"), ("t=12345", "t=12346")):
        if any(old in line for line in lines):
            changed = [line.replace(old, new) for line in lines]
            assert (await _validate(changed, HANDLER.record)).result == "fail"


async def test_more_than_fifty_sets_fail():
    data = _chain(51, {}, {}).decode().split("\r\n")
    assert (await _validate(data, HANDLER.record)).result == "fail"
