"""DNS inside the sandbox: synthetic, bounded, and deaf to everything but a well-formed question (field notes 4)."""

from ipaddress import IPv4Address

import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airut_egress.dns import MAX_UDP_BYTES, POOL, DnsQuestion, NamesExhausted, SyntheticNames, answer


def ask(query: dns.message.Message | bytes, names: SyntheticNames) -> tuple[dns.message.Message, DnsQuestion]:
    wire = query if isinstance(query, bytes) else query.to_wire()
    response, question = answer(wire, names)
    assert response is not None
    assert len(response) <= MAX_UDP_BYTES
    parsed = dns.message.from_wire(response)
    assert parsed.flags & dns.flags.QR
    assert parsed.id == int.from_bytes(wire[:2])
    return parsed, question


def test_a_name_has_one_synthetic_address() -> None:
    names = SyntheticNames()
    response, question = ask(dns.message.make_query("API.Example.com", "A"), names)
    assert question == DnsQuestion("API.Example.com", "A", "answered")
    assert response.rcode() == dns.rcode.NOERROR
    [record] = response.answer[0]
    address = IPv4Address(record.address)
    assert address in POOL
    assert names.name_for(address) == "api.example.com"
    # 0x20 randomisation: the question comes back as it was asked
    assert response.question[0].name.to_text() == "API.Example.com."
    again, _ = ask(dns.message.make_query("api.example.COM.", "A"), names)
    assert again.answer[0][0].address == str(address)


def test_a_restarted_proxy_gives_the_same_addresses() -> None:
    words = [f"host-{number}.example" for number in range(50)]
    first, second = SyntheticNames(), SyntheticNames()
    before = {word: first.address_for(word) for word in words}
    assert {word: second.address_for(word) for word in reversed(words)} == before


def test_sandboxes_do_not_share_names() -> None:
    """Row 32: a name asked for in one sandbox means nothing in another."""
    one, other = SyntheticNames(), SyntheticNames()
    assert other.name_for(one.address_for("a.example")) is None


@pytest.mark.parametrize(
    "kind", ["AAAA", "HTTPS", "SVCB", "TXT", "MX", "SRV", "CNAME", "NS", "PTR", "TYPE65280"]
)
def test_other_kinds_get_an_empty_answer(kind: str) -> None:
    """Rows 4, 6: no ECH keys, no alternative endpoints, no IPv6, no text."""
    response, question = ask(dns.message.make_query("a.example", kind), SyntheticNames())
    assert (response.rcode(), response.answer, response.authority, response.additional) == (0, [], [], [])
    assert question.outcome == "empty"
    assert question.kind == kind


@pytest.mark.parametrize("kind", ["ANY", "AXFR", "IXFR"])
def test_meta_questions_are_not_implemented(kind: str) -> None:
    query = dns.message.Message(id=7)
    query.question.append(dns.rrset.RRset(dns.name.from_text("a.example"), 1, dns.rdatatype.from_text(kind)))
    response, question = ask(query, SyntheticNames())
    assert response.rcode() == dns.rcode.NOTIMP
    assert question.outcome == "not-implemented"


def test_other_classes_are_not_implemented() -> None:
    response, _ = ask(
        dns.message.make_query("version.bind", "TXT", rdclass=dns.rdataclass.CH), SyntheticNames()
    )
    assert response.rcode() == dns.rcode.NOTIMP


@pytest.mark.parametrize(
    "opcode", [dns.opcode.UPDATE, dns.opcode.NOTIFY, dns.opcode.STATUS, dns.opcode.IQUERY]
)
def test_other_operations_are_not_implemented(opcode: dns.opcode.Opcode) -> None:
    query = bytearray(dns.message.make_query("a.example", "A").to_wire())
    query[2] = (query[2] & 0x87) | (opcode << 3)
    response, _ = answer(bytes(query), SyntheticNames())
    assert response is not None
    assert response[3] & 0x0F in {dns.rcode.NOTIMP, dns.rcode.FORMERR}


@pytest.mark.parametrize(
    "name", ["1.2.3.4", "0x7f.1", "a b.example", "b\\.c.example", "-a.example", "a\\000.example", "."]
)
def test_what_is_no_host_name_does_not_exist(name: str) -> None:
    names = SyntheticNames()
    response, question = ask(dns.message.make_query(name, "A"), names)
    assert response.rcode() == dns.rcode.NXDOMAIN
    assert question.outcome == "bad-name"
    assert len(names) == 0


def test_a_tunnel_runs_dry() -> None:
    """Row 4: a thousand names, each with data in long labels, cost memory that is bounded, then are refused."""
    names = SyntheticNames(limit=100)
    outcomes = []
    for number in range(150):
        name = f"{number:063d}.{'a' * 63}.{'b' * 63}.exfil.example"
        response, question = ask(dns.message.make_query(name, "A"), names)
        outcomes.append(question.outcome)
        if question.outcome == "refused":
            assert response.rcode() == dns.rcode.REFUSED
    assert outcomes == ["answered"] * 100 + ["refused"] * 50
    assert len(names) == 100
    known, _ = ask(dns.message.make_query(f"{5:063d}.{'a' * 63}.{'b' * 63}.exfil.example", "A"), names)
    assert known.rcode() == dns.rcode.NOERROR


def test_the_longest_name_fits() -> None:
    name = ".".join(["a" * 63, "b" * 63, "c" * 63, "d" * 61])
    response, question = ask(dns.message.make_query(name, "A", use_edns=0), SyntheticNames())
    assert question.outcome == "answered"
    assert len(response.answer) == 1


@pytest.mark.parametrize(
    "wire",
    [
        b"",
        b"\x00",
        b"\x00" * 11,
        dns.message.make_response(dns.message.make_query("a.example", "A", id=1)).to_wire(),
    ],
)
def test_what_is_no_question_gets_no_answer(wire: bytes) -> None:
    response, question = answer(wire, SyntheticNames())
    assert response is None
    assert question.outcome == "malformed"


@pytest.mark.parametrize(
    "wire",
    [
        b"\x12\x34\x01\x00" + bytes(8),  # no question
        b"\x12\x34\x01\x00\x00\x01" + bytes(6),  # cut short
        b"\x12\x34\x01\x00\x00\x01" + bytes(6) + b"\xc0\x0c\x00\x01\x00\x01",  # points at itself
        b"\x12\x34\x01\x00\x00\x01" + bytes(6) + b"\x7fabc\x00\x00\x01\x00\x01",  # impossible label
        b"\x12\x34\x01\x00\x00\x02" + bytes(6) + b"\x01a\x00\x00\x01\x00\x01" * 2,  # two questions
    ],
)
def test_malformed_questions_get_an_error(wire: bytes) -> None:
    response, question = ask(wire, SyntheticNames())
    assert response.rcode() == dns.rcode.FORMERR
    assert question.outcome == "malformed"


def test_edns_and_trailing_bytes_are_no_obstacle() -> None:
    query = dns.message.make_query("a.example", "A", use_edns=0, want_dnssec=True, payload=4096)
    assert ask(query, SyntheticNames())[1].outcome == "answered"
    assert ask(query.to_wire() + b"junk", SyntheticNames())[1].outcome == "answered"


def test_a_hostile_name_is_cut_and_printable() -> None:
    """Row 37: what an event shows has no control characters."""
    query = dns.message.make_query(dns.name.Name([b"\r\n\x1b[31m" * 6, b"x" * 63, b"y" * 63, b""]), "A")
    _, question = ask(query, SyntheticNames())
    assert question.name.isprintable()
    assert len(question.name) <= 255


@given(st.binary(max_size=600))
def test_any_datagram_is_survived(wire: bytes) -> None:
    response, _ = answer(wire, SyntheticNames(limit=4))
    assert response is None or 12 <= len(response) <= MAX_UDP_BYTES


@given(st.binary(max_size=80), st.integers(0, 65535), st.integers(0, 255))
def test_any_mutated_question_is_survived(tail: bytes, kind: int, flags: int) -> None:
    wire = (
        b"\x00\x01"
        + bytes([flags])
        + b"\x00\x00\x01"
        + bytes(6)
        + tail
        + b"\x00"
        + kind.to_bytes(2)
        + b"\x00\x01"
    )
    response, _ = answer(wire, SyntheticNames(limit=4))
    assert response is None or 12 <= len(response) <= MAX_UDP_BYTES


@given(st.lists(st.from_regex(r"[a-z]{1,8}\.example", fullmatch=True), unique=True, max_size=200))
def test_addresses_are_unique_and_usable(words: list[str]) -> None:
    names = SyntheticNames()
    addresses = [names.address_for(word) for word in words]
    assert len(set(addresses)) == len(words)
    for word, address in zip(words, addresses, strict=True):
        assert address in POOL
        assert address.packed[3] not in {0, 255}
        assert names.name_for(str(address)) == word


def test_unknown_addresses_have_no_name() -> None:
    names = SyntheticNames()
    assert names.name_for("198.18.0.1") is None
    assert names.name_for("8.8.8.8") is None
    assert names.name_for("::1") is None
    assert names.name_for("not an address") is None


def test_a_full_table_says_so() -> None:
    names = SyntheticNames(limit=1)
    names.address_for("a.example")
    with pytest.raises(NamesExhausted):
        names.address_for("b.example")
