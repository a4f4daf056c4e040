"""The operator's own mail server as the judge: its header, from its address, and nothing else."""

import pytest

from airut_mail_auth.authres.trusted import TrustedServer, judge_header
from airut_mail_auth.message import parse_message

PASS = "dmarc=pass (p=reject dis=none) header.from=lovelace.example"


def _read(
    *results: str,
    peer: str = "192.0.2.25",
    domain: str = "lovelace.example",
    authserv_id: str = "mx.airut.example",
):
    lines = [*(f"Authentication-Results: {text}" for text in results), "From: ada@lovelace.example", "", ""]
    mail = parse_message("\r\n".join(lines).encode())
    server = TrustedServer(authserv_id, ["192.0.2.0/24", "2001:db8::/32"])
    return judge_header(mail, domain, peer, server)


@pytest.mark.parametrize(
    "results",
    [
        [f"mx.airut.example; {PASS}"],
        [f"MX.airut.example 1; spf=fail smtp.mailfrom=x.example;\r\n {PASS}"],
        [f"mx.airut.example; {PASS}", "mx.airut.example; dmarc=fail header.from=lovelace.example"],
        ["other.example; dmarc=fail header.from=lovelace.example", f"mx.airut.example; {PASS}"],
        ["mx.airut.example; dkim=pass header.d=evil.example; dmarc=pass header.from=Lovelace.Example"],
    ],
)
def test_the_topmost_result_of_our_server_counts(results: list[str]):
    proof = _read(*results).proof
    assert proof is not None
    assert (proof.method, proof.domain) == ("trusted-header", "lovelace.example")


@pytest.mark.parametrize(
    ("results", "why"),
    [
        ([], "no Authentication-Results"),
        ([f"evil.example; {PASS}"], "no Authentication-Results"),
        ([f"mx.airut.example.evil.example; {PASS}"], "no Authentication-Results"),
        ([f"(mx.airut.example;) evil.example; {PASS}"], "no Authentication-Results"),
        (["mx.airut.example; none", f"mx.airut.example; {PASS}"], "no single dmarc=pass"),
        (
            ["mx.airut.example; dmarc=fail header.from=lovelace.example", f"mx.airut.example; {PASS}"],
            "no single",
        ),
        (["mx.airut.example; dmarc=none header.from=lovelace.example"], "no single"),
        (
            [
                "mx.airut.example; dkim=pass header.d=lovelace.example; spf=pass smtp.mailfrom=lovelace.example"
            ],
            "no single",
        ),
        (["mx.airut.example; dmarc=pass header.from=evil.example"], "another domain"),
        (["mx.airut.example; dmarc=pass header.from=lovelace.example.evil.example"], "another domain"),
        (["mx.airut.example; dmarc=pass"], "no single"),
        ([f"mx.airut.example; {PASS}; dmarc=fail header.from=lovelace.example"], "no single"),
        ([f"mx.airut.example; {PASS}; dmarc=pass header.from=evil.example"], "no single"),
        (["mx.airut.example; dmarc=fail (dmarc=pass header.from=lovelace.example)"], "no single"),
        (['mx.airut.example; spf=pass reason="; dmarc=pass header.from=lovelace.example"'], "no single"),
        (["mx.airut.example; ((((("], "no single"),
        ([f"mx.airut.example; {PASS}; x=" + "y" * 9000], "no single"),
    ],
)
def test_row_50_forged_results_are_nothing(results: list[str], why: str):
    found = _read(*results)
    assert found.proof is None
    assert why in found.problem


@pytest.mark.parametrize("peer", ["198.51.100.1", "::1", "", "192.0.2.25.evil.example", "2001:db9::1"])
def test_row_50_only_our_servers_network_may_say_so(peer: str):
    found = _read(f"mx.airut.example; {PASS}", peer=peer)
    assert found.proof is None
    assert "not among the mail servers" in found.problem


@pytest.mark.parametrize("peer", ["192.0.2.1", "::ffff:192.0.2.1", "2001:db8::25"])
def test_peers_in_the_network(peer: str):
    assert _read(f"mx.airut.example; {PASS}", peer=peer).proof is not None
