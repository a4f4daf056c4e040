"""Cases for the validation of ARC chains, each with the result that RFC 8617 demands and the section that demands it.

The messages are made here by a sealer that shares nothing with the library, with keys of this run. Where the RFC leaves
a bound to the validator, the section is `none`.
"""

import base64
import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from types import MappingProxyType
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from airut_mail_auth.arc.chain import Chain, validate_chain
from airut_mail_auth.dkim.check import SignatureChecker
from airut_mail_auth.message import BadMessage, split_message
from airut_mail_auth.resolver import DnsTemporary
from airut_mail_auth.testing.sealing import Sealer, fields_of, with_fields

KEY = rsa.generate_private_key(65537, 2048)
ONE = Sealer("sealer.example", "s1", KEY)
TWO = Sealer("lists.example", "arc", Ed25519PrivateKey.generate())
OLD = Sealer("old.example", "k1024", rsa.generate_private_key(65537, 1024))
MAIL = (
    b"From: Ada <ada@lovelace.example>\r\nTo: demo@airut.example\r\nSubject: The  greeting\r\n"
    b"Date: Tue, 14 Nov 2023 22:13:20 +0000\r\nMessage-ID: <1@lovelace.example>\r\nX-Other: a\r\n\r\n"
    b"Please fix  it.\r\n\r\nAda\r\n"
)
RESULTS, MESSAGE, SEAL = b"ARC-Authentication-Results:", b"ARC-Message-Signature:", b"ARC-Seal:"


@dataclass(frozen=True)
class Case:
    """A message and what its chain is worth."""

    section: str
    """Of RFC 8617, or of another RFC that it refers to."""
    cv: str
    """`malformed`: no mail at all."""
    build: Callable[[], bytes]
    why: str = ""
    """Must stand in the explanation."""
    keys: Mapping[str, str | None] = field(default_factory=lambda: MappingProxyType({}))
    """Records in place of the sealers' own; None: the DNS does not answer."""


CASES: dict[str, Case] = {}


def case(name: str, section: str, cv: str, build: Callable[[], bytes] | bytes, **more: Any) -> None:
    assert name not in CASES
    CASES[name] = Case(section, cv, build if callable(build) else lambda: build, **more)


@cache
def chain(length: int, mail: bytes = MAIL) -> bytes:
    """A chain by one sealer."""
    return ONE.add(chain(length - 1, mail)) if length else mail


def last(length: int, **changes: Any) -> Callable[[], bytes]:
    """A chain whose last set is written otherwise."""
    return lambda: ONE.add(chain(length - 1), **changes)


def middle(**changes: Any) -> Callable[[], bytes]:
    """A chain of three whose second set is written otherwise."""
    return lambda: ONE.add(ONE.add(chain(1), **changes))


def changed(length: int, old: bytes, new: bytes, mail: bytes = MAIL) -> Callable[[], bytes]:
    """A chain of which something was changed afterwards, the first time it stands there."""

    def build() -> bytes:
        data = chain(length, mail)
        assert old in data
        return data.replace(old, new, 1)

    return build


def without(length: int, *which: tuple[bytes, int]) -> Callable[[], bytes]:
    """A chain from which headers were taken, named by their beginning and instance."""

    def build() -> bytes:
        kept = [one for one in fields_of(chain(length)) if not any(_is(one, *given) for given in which)]
        return with_fields(chain(length), kept)

    return build


def doubled(length: int, prefix: bytes, instance: int) -> Callable[[], bytes]:
    """A chain with one header twice."""

    def build() -> bytes:
        again = [one for one in fields_of(chain(length)) if _is(one, prefix, instance)]
        return with_fields(chain(length), [*again, *fields_of(chain(length))])

    return build


def arranged(length: int, order: Callable[[list[bytes]], list[bytes]]) -> Callable[[], bytes]:
    """A chain whose headers stand in another order."""
    return lambda: with_fields(chain(length), order(fields_of(chain(length))))


def _is(header: bytes, prefix: bytes, instance: int) -> bool:
    return header.startswith(prefix) and re.search(rb" i=%d;" % instance, header) is not None


def key_of(bits: int) -> str:
    """The record of an RSA key that no library would make any more; nobody has its other half."""
    number = der(2, b"\0" + ((1 << bits) - 1).to_bytes(bits // 8)) + der(2, b"\1\0\1")
    kind = bytes.fromhex("300d06092a864886f70d0101010500")
    key = der(0x30, kind + der(3, b"\0" + der(0x30, number)))
    return f"v=DKIM1; k=rsa; p={base64.b64encode(key).decode()}"


def der(tag: int, data: bytes) -> bytes:
    size = len(data)
    long = b"" if size < 128 else b"\x81" if size < 256 else b"\x82"
    return bytes([tag]) + long + size.to_bytes(2 if size > 255 else 1) + data


def whole(number: int) -> tuple[tuple[bytes, int], ...]:
    """All headers of one set."""
    return tuple((prefix, number) for prefix in (RESULTS, MESSAGE, SEAL))


# -- §5.2 step 1: whether there is a chain, and how long it may be --------------------------------------------------

case("no_set", "5.2 step 1", "none", MAIL)
case("no_body", "5.2 step 1", "none", MAIL.partition(b"\r\n\r\n")[0] + b"\r\n\r\n")
case("dkim_is_no_set", "5.2 step 1", "none", b"DKIM-Signature: v=1; i=1; a=x\r\n" + MAIL)
case(
    "other_names_are_no_set",
    "4.1",
    "none",
    b"X-ARC-Seal: i=1; cv=fail\r\nARC-Sealed: i=1; cv=none\r\n" + MAIL,
)
case("in_the_body_is_no_set", "4.1", "none", MAIL + b"\r\nARC-Seal: i=1; cv=fail\r\n")
for count in (1, 2, 3, 4, 7, 13, 25, 49, 50):
    case(f"length_{count}", "4.2.1", "pass", lambda count=count: chain(count))
case("length_51", "4.2.1, 5.2 step 1", "fail", lambda: chain(51))

# -- §5.2 step 3: the structure ------------------------------------------------------------------------------------

for prefix in (RESULTS, MESSAGE, SEAL):
    short = prefix.decode().removeprefix("ARC-").rstrip(":").lower()
    case(
        f"without_{short}",
        "5.2 step 3A",
        "fail",
        without(1, (prefix, 1)),
    )
    case(f"without_older_{short}", "5.2 step 3A", "fail", without(3, (prefix, 2)))
    case(f"doubled_{short}", "5.2 step 3A", "fail", doubled(1, prefix, 1))
    case(f"doubled_older_{short}", "5.2 step 3A", "fail", doubled(3, prefix, 1))
    others = [(one, 1) for one in (RESULTS, MESSAGE, SEAL) if one != prefix]
    case(f"only_{short}", "5.2 step 3A", "fail", without(1, *others))
case("gap_at_the_bottom", "5.2 step 3B", "fail", without(3, *whole(1)))
case("gap_in_the_middle", "5.2 step 3B", "fail", without(3, *whole(2)))
case("newest_set_taken_away", "5.2", "pass", without(3, *whole(3)))
case("begins_at_two", "5.2 step 3B", "fail", last(1, instance="2", seal={"cv": "pass"}))
case("begins_at_two_with_none", "5.2 step 3B", "fail", last(1, instance="2"))
case("skips_one", "5.2 step 3B", "fail", last(2, instance="3"))
case("same_instance_twice", "5.2 step 3A", "fail", last(2, instance="1"))
case("same_instance_01", "5.2 step 3A", "fail", last(2, instance="01"))

# -- §4.2.1: the instance ------------------------------------------------------------------------------------------

case("instance_01", "4.2.1 position = 1*2DIGIT", "pass", last(1, instance="01"))
for text in ("0", "00", "001", "51", "99", "100", "-1", "+1", "1.0", "0x1", "a", "", "1 1", "1,2"):
    case(f"instance_{text or 'empty'}", "4.2.1", "fail", last(1, instance=text))
case("instance_with_spaces", "4.2.1", "pass", last(1, instance=" 1 "))
for name in ("message", "seal"):
    case(f"instance_missing_{name}", "4.2.1", "fail", last(1, **{name: {"i": None}}))
    case(
        f"instance_in_capitals_{name}",
        "4.2.1, RFC 6376 3.2",
        "fail",
        last(1, **{name: {"i": None, "I": "1"}}),
    )
    case(f"instance_differs_{name}", "4.2.1", "fail", last(1, **{name: {"i": "2"}}))
    case(
        f"instance_stands_last_{name}", "4.1", "pass", last(1, **{name: {"i": None}, f"more_{name}": "; i=1"})
    )
case("results_without_instance", "4.1.1", "fail", changed(1, RESULTS + b" i=1;", RESULTS))
case(
    "results_instance_stands_last",
    "4.1.1",
    "fail",
    changed(1, b"lovelace.example\r\nFrom", b"lovelace.example; i=1\r\nFrom"),
)

# -- §4.1.1: the results -------------------------------------------------------------------------------------------

for name, results in {
    "version": "mx.sealer.example 1; none",
    "none": "mx.sealer.example; none",
    "comment": "mx.sealer.example (a; (nested) one); spf=pass (i=2; x) smtp.mailfrom=a.example",
    "address_literal": '"[192.0.2.1]"; dmarc=pass',
    "mixed_case": "MX.Sealer.EXAMPLE; DMARC=Pass Header.From=Lovelace.Example",
    "folded": "mx.sealer.example;\r\n\tspf=none;\r\n dmarc=fail\r\n  header.from=lovelace.example",
    "long": "mx.sealer.example;"
    + "".join(f"\r\n dkim=pass header.d=d{n}.example;" for n in range(200))
    + " spf=none",
    "instance_again": "mx.sealer.example; x-i=2 policy.i=2; spf=none",
}.items():
    case(f"results_{name}", "4.1.1", "pass", last(1, results=results))
    case(
        f"results_{name}_older",
        "4.1.1",
        "pass",
        lambda results=results: TWO.add(ONE.add(MAIL, results=results)),
    )


for name, head, cv in (
    ("comment_before", " (a (b) \\) c) i=1", "pass"),
    ("comments_within", " i (a) = (b) 1 (c) ", "pass"),
    ("folded", "\r\n\ti\r\n =\r\n 1\r\n ", "pass"),
    ("open_comment", " (i=1", "fail"),
    ("in_a_comment", " (i=1) mx.example", "fail"),
    ("after_something", " mx.example i=1", "fail"),
    ("in_capitals", " I=1", "fail"),
    ("twice", " i=1 i=1", "fail"),
    ("colon", " i:1", "fail"),
):
    case(f"results_instance_{name}", "4.1.1, 4.2.1", cv, last(1, head=head))

INTERNATIONAL = "Jörg <jörg@bücher.example>"
case(
    "results_utf8",
    "RFC 8616 3",
    "pass",
    last(1, results="mx.sealer.example; spf=pass smtp.mailfrom=jörg@bücher.example"),
)
case(
    "mail_in_utf8",
    "RFC 6532",
    "pass",
    lambda: ONE.add(
        MAIL.replace(b"Ada <ada@lovelace.example>", INTERNATIONAL.encode()).replace(
            b"greeting", "Grüße".encode()
        )
    ),
)
case(
    "mail_in_utf8_changed",
    "5.2 step 4",
    "fail",
    lambda: ONE.add(MAIL.replace(b"greeting", "Grüße".encode())).replace("ü".encode(), "u\u0308".encode()),
)
case("mail_in_latin_1", "RFC 6532", "malformed", lambda: ONE.add(MAIL.replace(b"greeting", b"Gr\xfc\xdfe")))
case("seal_domain_in_utf8", "RFC 6376 3.2", "fail", last(1, seal={"d": "bücher.example"}))
case("seal_tag_in_utf8", "RFC 6376 3.2", "fail", last(1, more_seal="; zz=ü"))
case("seal_instance_in_other_digits", "4.2.1", "fail", last(1, seal={"i": "\u0661"}))
case("results_instance_in_other_digits", "4.2.1", "fail", last(1, head=" i=\u0661"))

# -- §4.4, §5.2 steps 2 and 3C: what the seals say -----------------------------------------------------------------

for value in ("pass", "fail", "", "none none", "n one", "nonE!", "temperror", "0"):
    case(f"cv_first_{value or 'empty'}", "5.2 step 3C", "fail", last(1, seal={"cv": value}))
for value in ("none", "fail", "", "softfail", "pass pass"):
    case(f"cv_second_{value or 'empty'}", "5.2 step 3C", "fail", last(2, seal={"cv": value}))
for value in ("none", "fail", "invalid"):
    case(f"cv_middle_{value}", "5.2 step 3C", "fail", middle(seal={"cv": value}))
case("cv_missing_first", "4.1.3", "fail", last(1, seal={"cv": None}))
case("cv_missing_second", "4.1.3", "fail", last(2, seal={"cv": None}))
case("cv_twice", "RFC 6376 3.2", "fail", last(1, more_seal="; cv=none"))
case("cv_contradicts", "RFC 6376 3.2", "fail", last(2, more_seal="; cv=fail"))
case("cv_in_capitals_value", "4.4, RFC 5234 2.3", "pass", last(1, seal={"cv": "NONE"}))
case("cv_in_capitals_value_2", "4.4, RFC 5234 2.3", "pass", last(2, seal={"cv": "Pass"}))
case("cv_in_capitals_name", '4.1.3 %s"cv"', "fail", last(1, seal={"cv": None, "CV": "none"}))
case("cv_with_spaces", "4.1.3", "pass", last(1, seal={"cv": " none "}))
case("cv_first_pass_under_second", "5.2 step 3C", "fail", lambda: ONE.add(ONE.add(MAIL, seal={"cv": "pass"})))
case("cv_fail_sealed_alone", "5.1.2", "fail", last(3, seal={"cv": "fail"}, alone=True))
case(
    "cv_fail_sealed_alone_and_gone_on",
    "5.1.2",
    "fail",
    lambda: ONE.add(ONE.add(chain(2), seal={"cv": "fail"}, alone=True)),
)
case("cv_pass_sealed_alone", "5.1.1", "fail", last(3, alone=True))
case("cv_changed", "5.2 step 6", "fail", changed(2, b"cv=pass", b"cv=PASS"))

# -- §4.1.2, §4.1.3: tags ------------------------------------------------------------------------------------------

for tag in ("a", "b", "d", "s"):
    case(f"seal_without_{tag}", "4.1.3", "fail", last(1, seal={tag: None}))
    case(f"seal_empty_{tag}", "4.1.3", "fail", last(1, seal={tag: ""}))
for tag in ("a", "b", "bh", "d", "h", "s"):
    case(f"message_without_{tag}", "4.1.2, RFC 6376 3.5", "fail", last(1, message={tag: None}))
    case(f"message_empty_{tag}", "4.1.2, RFC 6376 3.5", "fail", last(1, message={tag: ""}))
for name in ("message", "seal"):
    more = f"more_{name}"
    case(f"{name}_unknown_tags", "RFC 6376 3.2", "pass", last(1, **{more: "; zz=1; x_y2=a b=c; e="}))
    case(f"{name}_version_is_ignored", "4.1.2", "pass", last(1, **{name: {"v": "9"}}))
    case(f"{name}_tag_twice", "RFC 6376 3.2", "fail", last(1, **{more: "; s=s1"}))
    case(f"{name}_unknown_tag_twice", "RFC 6376 3.2", "fail", last(1, **{more: "; zz=1; zz=1"}))
    case(f"{name}_tag_of_two_cases_is_two", "RFC 6376 3.2", "pass", last(1, **{more: "; S=other; D=other"}))
    case(f"{name}_tag_in_capitals", "RFC 6376 3.2", "fail", last(1, **{name: {"s": None, "S": "s1"}}))
    case(f"{name}_tag_without_value", "RFC 6376 3.2", "fail", last(1, **{more: "; zz"}))
    case(f"{name}_tag_without_name", "RFC 6376 3.2", "fail", last(1, **{more: "; =1"}))
    case(f"{name}_tag_begins_with_a_digit", "RFC 6376 3.2", "fail", last(1, **{more: "; 1z=1"}))
    case(f"{name}_two_semicolons", "RFC 6376 3.2", "fail", last(1, **{more: ";"}))
    case(f"{name}_spaces_and_folds", "RFC 6376 3.2", "pass", last(1, **{more: " \t;\r\n\tzz \r\n = \r\n 1 "}))
    case(f"{name}_quoted_value", "RFC 6376 3.2", "fail", last(1, **{name: {"s": '"s1"'}}))
    case(f"{name}_sha1", "RFC 8301 3.1", "fail", last(1, **{name: {"a": "rsa-sha1"}}))
    case(f"{name}_unknown_algorithm", "RFC 6376 3.5", "fail", last(1, **{name: {"a": "rsa-sha512"}}))
    case(f"{name}_algorithm_of_another_key", "RFC 8463 4", "fail", last(1, **{name: {"a": "ed25519-sha256"}}))
    case(f"{name}_no_base64", "RFC 6376 3.5", "fail", last(1, **{name: {"b": "!!!!"}}))
    case(f"{name}_short_base64", "RFC 6376 3.5", "fail", last(1, **{name: {"b": "AAAA"}}))
    case(f"{name}_domain_in_capitals", "RFC 6376 3.5", "pass", last(1, **{name: {"d": "Sealer.EXAMPLE"}}))
    case(f"{name}_bad_domain", "RFC 6376 3.5", "fail", last(1, **{name: {"d": "sealer..example"}}))
    case(f"{name}_bad_selector", "RFC 6376 3.5", "fail", last(1, **{name: {"s": "s1/../s1"}}))
    case(f"{name}_comment", "RFC 6376 3.2", "fail", last(1, **{name: {"d": "sealer.example (us)"}}))
    case(f"{name}_no_time", "4.1.3 t is optional", "pass", last(1, **{name: {"t": None}}))
case("seal_with_h", "5.2 step 6", "fail", last(1, seal={"h": "from"}))
case("seal_with_empty_h", "5.2 step 6", "fail", last(1, seal={"h": ""}))
case("older_seal_with_h", "5.2 step 6", "fail", middle(seal={"h": "arc-seal"}))
case("seal_with_c", "4.1.3, RFC 6376 3.2", "pass", last(1, seal={"c": "simple/simple"}))
case("seal_with_nonsense_c", "4.1.3, RFC 6376 3.2", "pass", last(1, seal={"c": "odd"}))
case("seal_with_bh", "4.1.3, RFC 6376 3.2", "pass", last(1, seal={"bh": "not base64!"}))
case("seal_with_q", "4.1.3, RFC 6376 3.2", "pass", last(1, seal={"q": "other"}))
case("message_q_dns", "RFC 6376 3.5", "pass", last(1, message={"q": "other:dns/txt"}))
case("message_q_unknown", "RFC 6376 3.5", "fail", last(1, message={"q": "other"}))
case(
    "message_z_is_ignored",
    "RFC 6376 3.5",
    "pass",
    last(1, message={"z": "From:mallory@evil.example|Subject:x"}),
)

# -- §4.1.2: what the message signature covers ---------------------------------------------------------------------

ALL = "from:to:subject:date:message-id"
for value in ("arc-seal", "ARC-Seal", f"{ALL}:arc-seal", f"ARC-SEAL :{ALL}"):
    case(f"h_{value}", "4.1.2", "fail", last(2, message={"h": value}))
for value in ("subject", "to:subject:date", "x-from:fromm:from-x"):
    case(f"h_without_from_{value}", "RFC 6376 5.4, 6.1.1", "fail", last(1, message={"h": value}))
for value in (
    *(f"{ALL}:arc-authentication-results", f"{ALL}:arc-message-signature", f"{ALL}:authentication-results"),
    *(f"{ALL}:dkim-signature", f"{ALL}:nobody-has-this", f"{ALL}:from:from", "FROM:To:SUBJECT"),
    *(" from : to\r\n\t: subject", "from"),
):
    case(f"h_{value}", "4.1.2, RFC 6376 3.5, 5.4", "pass", last(2, message={"h": value}))
for value in ("from:", ":from", "from::to", "from to", "from:to;"):
    case(f"h_malformed_{value}", "RFC 6376 3.5", "fail", last(1, message={"h": value}))

# -- §5.2 step 4: the mail was changed -----------------------------------------------------------------------------

FORMS = {
    form: form.split("/") for form in ("relaxed/relaxed", "relaxed/simple", "simple/relaxed", "simple/simple")
}
LIKE_IT = {"relaxed": "pass", "simple": "fail"}


def formed(form: str | None, old: bytes = b"", new: bytes = b"") -> Callable[[], bytes]:
    """A set in a canonical form, and then a change."""

    def build() -> bytes:
        data = ONE.add(MAIL, message={"c": form})
        assert old in data
        return data.replace(old, new, 1) if old else data

    return build


for form, (header, body) in FORMS.items():
    case(f"form_{form}", "RFC 6376 3.4", "pass", formed(form))
    case(f"form_{form}_body_changed", "5.2 step 4", "fail", formed(form, b"Please fix", b"Please rm"))
    case(
        f"form_{form}_line_added",
        "5.2 step 4",
        "fail",
        formed(form, b"\r\nAda\r\n", b"\r\nAda\r\nMallory\r\n"),
    )
    case(f"form_{form}_subject_changed", "5.2 step 4", "fail", formed(form, b"greeting", b"farewell"))
    case(
        f"form_{form}_empty_lines_added",
        "RFC 6376 3.4.3",
        "pass",
        formed(form, b"\r\nAda\r\n", b"\r\nAda\r\n\r\n\r\n"),
    )
    case(f"form_{form}_inner_space", "RFC 6376 3.4.4", LIKE_IT[body], formed(form, b"fix  it", b"fix \t it"))
    case(
        f"form_{form}_space_at_the_end",
        "RFC 6376 3.4.4",
        LIKE_IT[body],
        formed(form, b"it.\r\n", b"it. \t\r\n"),
    )
    case(
        f"form_{form}_header_space",
        "RFC 6376 3.4.2",
        LIKE_IT[header],
        formed(form, b"The  greeting", b"The \t greeting "),
    )
    case(
        f"form_{form}_header_folded",
        "RFC 6376 3.4.2",
        LIKE_IT[header],
        formed(form, b"The  greeting", b"The\r\n greeting"),
    )
    case(
        f"form_{form}_header_case", "RFC 6376 3.4.2", LIKE_IT[header], formed(form, b"Subject:", b"SUBJECT:")
    )
    case(
        f"form_{form}_empty_body",
        "RFC 6376 3.4.3",
        "pass",
        lambda form=form: ONE.add(MAIL.partition(b"\r\n\r\n")[0] + b"\r\n\r\n", message={"c": form}),
    )
case(
    "form_relaxed", "RFC 6376 3.5: the body is simple then", "fail", formed("relaxed", b"fix  it", b"fix it")
)
case("form_missing", "RFC 6376 3.5: simple/simple", "pass", formed(None))
case("form_missing_space", "RFC 6376 3.5: simple/simple", "fail", formed(None, b"fix  it", b"fix it"))
case("form_unknown", "RFC 6376 3.5", "fail", formed("relaxed/odd"))
case("other_header_added", "4.1.2", "pass", changed(2, b"From: Ada", b"Received: from x by y\r\nFrom: Ada"))
case("other_header_changed", "4.1.2", "pass", changed(2, b"X-Other: a", b"X-Other: b"))
case("signed_header_taken_away", "5.2 step 4", "fail", changed(1, b"To: demo@airut.example\r\n", b""))
case(
    "headers_in_another_order", "RFC 6376 5.4", "pass", arranged(2, lambda given: given[:-5] + given[:-6:-1])
)
case("second_from_below", "RFC 6376 5.4.2", "fail", changed(1, b"X-Other: a", b"From: mallory@evil.example"))
case(
    "from_signed_twice_and_added",
    "RFC 6376 8.15",
    "fail",
    lambda: ONE.add(MAIL, message={"h": "from:from:to"}).replace(
        b"From: Ada", b"From: mallory@evil.example\r\nFrom: Ada", 1
    ),
)
case(
    "l_of_nothing",
    "9.1, RFC 6376 8.2",
    "fail",
    lambda: ONE.add(MAIL, message={"l": "0", "bh": "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="}),
)
case(
    "changed_between_two_sets",
    "5.2 step 5: an older AMS need not hold",
    "pass",
    lambda: TWO.add(chain(1).replace(b"Please fix", b"[list] Please fix")),
)
case("changed_after_two_sets", "5.2 step 4", "fail", changed(2, b"Please fix", b"[list] Please fix"))

# -- §5.2 step 6: the sets were changed ----------------------------------------------------------------------------

for number, place in ((1, "older"), (2, "newest")):
    for prefix, old, new in (
        *((RESULTS, b"dmarc=pass", b"dmarc=fail"), (MESSAGE, b"t=1700000000", b"t=1700000001")),
        *((SEAL, b"t=1700000000", b"t=1700000001"), (SEAL, b"; b=", b"; b=AAAA")),
        *((RESULTS, b"lovelace", b"evil"), (MESSAGE, b"; b=", b"; b=AAAA")),
    ):

        def _edited(
            number: int = number, prefix: bytes = prefix, old: bytes = old, new: bytes = new
        ) -> bytes:
            edit = [
                one.replace(old, new, 1) if _is(one, prefix, number) else one for one in fields_of(chain(2))
            ]
            assert edit != fields_of(chain(2))
            return with_fields(chain(2), edit)

        named = f"{prefix.decode().rstrip(':')}_{old.decode().strip('; ')}"
        case(f"{place}_{named}_changed", "5.2 steps 4, 6", "fail", _edited)
case(
    "sets_exchanged",
    "5.2",
    "fail",
    arranged(
        2,
        lambda given: [
            re.sub(rb" i=([12]);", lambda found: b" i=2;" if found[1] == b"1" else b" i=1;", one)
            for one in given
        ],
    ),
)
case(
    "set_of_another_mail",
    "9.1",
    "fail",
    lambda: with_fields(
        MAIL.replace(b"greeting", b"farewell"),
        [*fields_of(chain(1))[:3], *fields_of(MAIL.replace(b"greeting", b"farewell"))],
    ),
)
case("seal_refolded", "5.1.1: relaxed", "pass", changed(2, b"; cv=pass", b";\r\n\tcv=pass"))
case(
    "older_message_signature_refolded",
    "5.1.1: relaxed",
    "pass",
    arranged(
        2,
        lambda given: [
            one.replace(b"; c=", b";\r\n  \tc=") if _is(one, MESSAGE, 1) else one for one in given
        ],
    ),
)
case(
    "signature_value_folded",
    "RFC 6376 3.5",
    "pass",
    lambda: re.sub(rb"\A(ARC-Seal:.*; b=.{20})", rb"\1\r\n  ", chain(2)),
)

# -- §4.1, §5.1.1: where the headers stand -------------------------------------------------------------------------

case("below_all_others", "5.1.1", "pass", arranged(3, lambda given: given[9:] + given[:9]))
case(
    "oldest_on_top",
    "5.1.1",
    "pass",
    arranged(3, lambda given: given[6:9] + given[3:6] + given[:3] + given[9:]),
)
case(
    "within_a_set_turned",
    "5.1.1",
    "pass",
    arranged(2, lambda given: given[2::-1] + given[5:2:-1] + given[6:]),
)
case("shuffled", "5.1.1", "pass", arranged(7, lambda given: random.Random(3).sample(given, len(given))))
case("others_between", "5.1.1", "pass", arranged(2, lambda given: [*given[:2], b"Received: a", *given[2:]]))
case(
    "names_in_capitals",
    "RFC 5322 1.2.2",
    "pass",
    arranged(
        2, lambda given: [one.partition(b":")[0].upper() + b":" + one.partition(b":")[2] for one in given]
    ),
)
case(
    "names_in_small_letters",
    "RFC 5322 1.2.2",
    "pass",
    arranged(
        2, lambda given: [one.partition(b":")[0].lower() + b":" + one.partition(b":")[2] for one in given]
    ),
)
case(
    "space_before_the_colon", "RFC 5322 3.6 forbids it", "malformed", changed(1, b"ARC-Seal:", b"ARC-Seal :")
)

# -- §5.2: several sealers -----------------------------------------------------------------------------------------

case("two_sealers", "5.2", "pass", lambda: TWO.add(chain(1)))
case("three_sealers", "5.2", "pass", lambda: OLD.add(TWO.add(chain(2))))
case("ed25519", "RFC 8463", "pass", lambda: TWO.add(TWO.add(MAIL)))
case("rsa_1024", "RFC 8301 3.2", "pass", lambda: OLD.add(MAIL))
case(
    "seal_and_message_of_two_domains",
    "4.1.2 demands nothing",
    "pass",
    lambda: ONE.add(MAIL, message={"d": "other.example"}),
    keys={"s1._domainkey.other.example": ONE.record},
)
case(
    "message_key_of_another",
    "5.2 step 4",
    "fail",
    lambda: ONE.add(MAIL, message={"d": "lists.example", "s": "arc"}),
)
case(
    "seal_key_of_another",
    "5.2 step 6",
    "fail",
    lambda: ONE.add(MAIL, seal={"d": "old.example", "s": "k1024"}),
)

# -- keys ----------------------------------------------------------------------------------------------------------

P = ONE.record.partition("p=")[2]
for name, record, cv in (
    ("none", "", "fail"),
    ("revoked", "v=DKIM1; k=rsa; p=", "fail"),
    ("without_p", "v=DKIM1; k=rsa", "fail"),
    ("testing", f"v=DKIM1; t=y; p={P}", "fail"),
    ("testing_among_others", f"v=DKIM1; t=s:y; p={P}", "fail"),
    ("strict_is_not_about_instances", f"v=DKIM1; t=s; p={P}", "pass"),
    ("unknown_flag", f"v=DKIM1; t=zz; p={P}", "pass"),
    ("without_version", f"p={P}", "pass"),
    ("version_not_first", f"k=rsa; v=DKIM1; p={P}", "fail"),
    ("other_version", f"v=DKIM2; p={P}", "fail"),
    ("other_kind", f"v=DKIM1; k=ed25519; p={P}", "fail"),
    ("for_sha1", f"v=DKIM1; h=sha1; p={P}", "fail"),
    ("for_sha256_too", f"v=DKIM1; h=sha1:sha256; p={P}", "pass"),
    ("for_mail", f"v=DKIM1; s=email; p={P}", "pass"),
    ("for_something_else", f"v=DKIM1; s=tlsrpt; p={P}", "fail"),
    ("notes", f"v=DKIM1; n=for the list; zz=1; p={P}", "pass"),
    ("spaces", f"v=DKIM1;p={P[:40]} \t{P[40:]} ;", "pass"),
    ("cut", f"v=DKIM1; p={P[:-8]}", "fail"),
    ("no_base64", f"v=DKIM1; p=!{P}", "fail"),
    ("tag_twice", f"v=DKIM1; p={P}; p={P}", "fail"),
    ("of_somebody_else", OLD.record, "fail"),
    ("nonsense", "hello", "fail"),
):
    case(f"key_{name}", "RFC 6376 3.6.1", cv, lambda: chain(2), keys={ONE.name: record})
case(
    "key_of_512_bits",
    "RFC 8301 3.2",
    "fail",
    lambda: chain(1),
    keys={ONE.name: key_of(512)},
    why="512 bits is too short",
)
case(
    "key_of_1016_bits",
    "RFC 8301 3.2",
    "fail",
    lambda: chain(1),
    keys={ONE.name: key_of(1016)},
    why="1016 bits is too short",
)
case(
    "key_of_ed25519_is_short",
    "RFC 8463 3",
    "fail",
    lambda: TWO.add(MAIL),
    keys={TWO.name: "v=DKIM1; k=ed25519; p=AAAA"},
)
case("key_of_the_older_sealer_missing", "5.2 step 6", "fail", lambda: TWO.add(chain(1)), keys={ONE.name: ""})
case("dns_away", "RFC 6376 6.1.2", "temperror", lambda: chain(1), keys={ONE.name: None})
case(
    "dns_away_for_the_older_sealer",
    "RFC 6376 6.1.2",
    "temperror",
    lambda: TWO.add(chain(1)),
    keys={ONE.name: None},
)
case("dns_away_and_broken_form", "5.2 step 3", "fail", without(2, (SEAL, 1)), keys={ONE.name: None})

# -- bounds of our own ---------------------------------------------------------------------------------------------

case("header_of_15_KiB", "none", "pass", last(1, results="mx; " + "\r\n x-a=b;" * 1500 + " spf=none"))
case(
    "header_of_17_KiB",
    "none",
    "fail",
    last(1, results="mx; " + "\r\n x-a=b;" * 1900 + " spf=none"),
    why="too long",
)
case("480_other_headers", "none", "pass", lambda: b"X-A: b\r\n" * 480 + chain(3))
case("a_flood_of_headers", "none", "malformed", lambda: b"X-A: b\r\n" * 500 + chain(3))
case("a_flood_of_seals", "none", "fail", lambda: b"ARC-Seal: i=1; cv=none\r\n" * 400 + MAIL)


async def validate(given: Case) -> Chain:
    """What the library says."""
    records = {one.name: one.record for one in (ONE, TWO, OLD)} | dict(given.keys)

    async def texts(name: str) -> list[bytes]:
        record = records.get(name, "")
        if record is None:
            raise DnsTemporary(f"no answer for {name}")
        return [record.encode()] if record else []

    mail = split_message(given.build())
    return await validate_chain(mail, SignatureChecker(mail, texts))


@pytest.mark.parametrize("name", CASES)
async def test_a_chain_is_worth_what_the_rfc_says(name: str):
    given = CASES[name]
    if given.cv == "malformed":
        with pytest.raises(BadMessage):
            await validate(given)
        return
    found = await validate(given)
    assert found.result == given.cv, f"{found.detail} (RFC 8617 {given.section})"
    assert given.why in found.detail


def test_there_is_a_case_for_each_result():
    assert len(CASES) > 60
    assert {given.cv for given in CASES.values()} == {"none", "pass", "fail", "temperror", "malformed"}


AT = 1_700_000_000
"""When the sets are made."""
DAY = 24 * 60 * 60


@pytest.mark.parametrize(
    ("why", "later_seconds", "tags"),
    [
        (None, 60, {}),
        (None, -300, {}),  # clocks differ
        (None, 7 * DAY - 60, {}),
        (None, DAY, {"x": str(AT + 2 * DAY)}),
        (None, 60, {"t": None}),  # then the Date that it covers counts
        ("more than 7 days ago", 7 * DAY + 60, {}),
        ("more than 7 days ago", 7 * DAY + 60, {"t": None}),
        ("expired", 2 * DAY, {"x": str(AT + DAY)}),
        ("it expires before it was made", 60, {"x": str(AT - 1)}),
        ("signed in the future", -DAY, {}),
        ("signed in the future", 60, {"t": "99999999999"}),
        ("times are unreadable", 60, {"t": "yesterday"}),
        ("times are unreadable", 60, {"x": "-1"}),
        ("l= leaves part of the body unsigned", 60, {"l": "23"}),
        ("Subject is not signed", 60, {"h": "from:to:date"}),
        ("Date is not signed", 60, {"h": "from:to:subject"}),
    ],
)
async def test_of_a_valid_chain_only_one_of_its_time_over_the_whole_mail_counts(
    zone, lovelace, judge, why: str | None, later_seconds: int, tags: Mapping[str, str | None]
):
    """RFC 6376 §3.5 (t=, x=, l=), §5.4 and our own bounds; RFC 8617 §9.3 leaves what a chain is worth to its reader."""
    zone.texts(ONE.name, ONE.record)
    mail = ONE.add(ONE.add(MAIL), message=tags)
    now = datetime.fromtimestamp(AT + later_seconds, UTC)
    judging = judge(mail, arc_sealers=("sealer.example",), now=now)
    if why is None:
        assert (await judging).method == "arc"
        return
    with pytest.raises(Exception, match="not proven") as caught:
        await judging
    record = caught.value.record
    assert record.arc.result == "pass"
    assert why in record.arc.detail
