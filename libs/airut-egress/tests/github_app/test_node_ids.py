"""Node ids, those that GitHub has published among them."""

import base64
import string

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from airut_egress.github_app import repository_of

from .encoding import new, old, packed

DATABASE_IDS = st.integers(1, 2**63 - 1)
NUMBERED = [
    "I",
    "PR",
    "IC",
    "PRR",
    "PRRC",
    "PRRT",
    "LA",
    "MI",
    "D",
    "DC",
    "DIC",
    "RE",
    "RA",
    "CR",
    "CS",
    "SC",
    "W",
    "DE",
    "EN",
    "CC",
    "BPR",
]


@pytest.mark.parametrize(
    ("node_id", "repository"),
    [
        # Each beside its repository's `id`, in answers of api.github.com.
        ("R_kgDOG2exfQ", 459780477),  # blacklanternsecurity/test_keys
        ("R_kgDOGJnvtQ", 412741557),  # tModLoader/FAudio
        ("R_kgDOHipEIQ", 506086433),  # esauerbo1/Amplify-Bot-Testing
        ("R_kgDONUQXAg", 893654786),  # lifejwang11/hrsass
        ("R_kgDOLg9pHw", 772761887),  # danagain/stunning-computing-machine
        ("R_kgAB", 1),  # the first
        ("MDEwOlJlcG9zaXRvcnkxMzkwOTU1Mzc=", 139095537),  # DataBiosphere/azul
        ("MDEwOlJlcG9zaXRvcnkxMjk2MjY5", 1296269),  # octocat/Hello-World
        # An old and a new id of one repository, from the same configuration of a comment widget.
        ("MDEwOlJlcG9zaXRvcnkzODI2NTY1MTY=", 382656516),
        ("DIC_kwDOFs7gBM4COKgn", 382656516),
        # kubernetes/kubernetes, facebook/react, pallets/flask
        ("PR_kwDOAToIks5lGpWn", 20580498),
        ("RE_kwDOAJy2Ks4D5gd1", 10270250),
        ("LA_kwDOAJy2Ks8AAAACAhxN_g", 10270250),
        ("WFR_kwLOAAkbnM8AAAAIp0vRXQ", 596892),
        ("CS_kwDOAAkbnM8AAAAXcI1fBg", 596892),
        # A new repository's id beside that of something in it: `DIC_` and `BPR_` below share their `R_`.
        ("R_kgDOHrj9wQ", 515440065),
        ("DIC_kwDOHrj9wc4CQb4g", 515440065),
        ("R_kgDONx0tmQ", 924659097),
        ("BPR_kwDONx0tmc4DikOO", 924659097),
        # And the others, by what they decode to.
        ("I_kwDOR7FKVc8AAAABKAWV7A", 0x47B14A55),
        ("W_kwDOR7FKVc4RsAXA", 0x47B14A55),
        ("PR_kwDOHGOmKM41oy38", 0x1C63A628),
        ("PRRC_kwDOL4aMSs6Tkzl8", 0x2F868C4A),
        ("PRRT_kwDOPT5Iqs5elpv8", 0x3D3E48AA),
        ("CR_kwDOAPphoM8AAAAKdilagx", None),  # a digit too many: trailing bytes
        ("CR_kwDOIVc8sc8AAAACI12rNA", 0x21573CB1),
        ("SC_kwDOBnSy6c8AAAAKkcgZLQ", 0x0674B2E9),
        ("MI_kwDOCxaBas4Arvqn", 0x0B16816A),
        ("D_kwDOHOApLM4APewe", 0x1CE0292C),
        ("DC_kwDOHOApLM4AKg6M", 0x1CE0292C),
        ("RA_kwDOEzi53M4LWXNj", 0x1338B9DC),
        ("DE_kwDOA9KB0c4lHq4C", 0x03D281D1),
        ("EN_kwDOI9xAhM5BuZRm", 0x23DC4084),
        ("BPR_kwDOI9xAhM4CC77t", 0x23DC4084),
        ("CC_kwDOEm6Tx84EIerR", 0x126E93C7),
        # Refs and commits have names instead of numbers.
        ("REF_kwDOLH8vKbByZWZzL3RhZ3MvdjEuMC4w", 0x2C7F2F29),
        ("REF_kwDOIsm5Z7RyZWZzL3RhZ3MvMjAyMy41MTYuMQ", 0x22C9B967),
        (
            "REF_kwDONZUiq9oAJ3JlZnMvaGVhZHMvbmFtZS1jaGFuZ2UtYW5kLWNvbnRpbnVhdGlvbg",
            0x359522AB,
        ),
        ("C_kwDOAqwwJdoAKDBlYzg0ZTdiY2U0MTRhYzY3Y2Q3ZWRmMDNhYTc5NzFhNTQ4MTM1NDc", 0x02AC3025),
        ("MDM6UmVmMjgxNTM2NjcwOnJlZnMvaGVhZHMvbWFzdGVy", 281536670),
        ("MDM6UmVmNzUzMDU3MDpyZWZzL3RhZ3MvYXBwaXVtQDIuMC4wLWJldGEuNDA=", 7530570),  # appium/appium
        ("MDY6Q29tbWl0MTMwMDE5MjpkMGRkMWY2MWIzM2Q2NGUyOWQ4YmMxMzcyYTk0ZWY2YTJmZWU3NmE5", 1300192),
        # Rulesets say whose they are.
        ("RRS_lACqUmVwb3NpdG9yec5MX4zLzgE3lNE", 0x4C5F8CCB),
        # In no repository: users, organizations, teams, projects, whose second number is an owner's.
        ("U_kgDOBmqxtw", None),
        ("MDQ6VXNlcjM0MDczMDM=", None),
        ("MDEyOk9yZ2FuaXphdGlvbjM2NTIxOTcw", None),
        ("T_kwDOBNft-M4AlCYH", None),
        ("PVT_kwDOBESWNM4AKRt3", None),
        ("PVTSSF_lADOBESWNM4AKRt3zgGZRV8", None),
        # In a repository, but the old ids do not say in which.
        ("MDU6TGFiZWwxNzE1MDY0NjY1", None),
        ("MDk6TWlsZXN0b25lNjc4MjU1MA==", None),
        ("MDY6Q29tbWl0NmRjYjA5YjViNTc4NzVmMzM0ZjYxYWViZWQ2OTVlMmU0MTkzZGI1ZQ==", None),
        # GitHub's own documentation has made this one up.
        ("PR_kwDOAHz1OX4uYAah", None),
    ],
)
def test_published_ids(node_id: str, repository: int | None) -> None:
    assert repository_of(node_id) == repository


@pytest.mark.parametrize(
    "node_id",
    [
        "",
        "R_",
        "_kgDOG2exfQ",
        "R",
        "5",
        "010:Repository5",
        " R_kgDOG2exfQ",
        "R_kgDOG2exfQ\n",
        "R_kgDOG2exfQ==",
        "R_kgDOG2exfR",  # bits after the last byte
        "r_kgDOG2exfQ",
        "R__kgDOG2exfQ",
        "R_kgDO G2exfQ",
        "R_kgDO+2exfQ",
        "R_kgDO\u0391G2exfQ",
        "R_\ud800",
        "Ｒ_kgDOG2exfQ",
        "ABCDEFGHIJ_kgDOG2exfQ",
        "X_kwDOG2exfc4B",
        new("R", packed(0, 5) + b"\x00"),
        new("R", packed(0, 5)[:-1]),
        new("R", packed(0)),
        new("R", packed(0, 5, 6)),
        new("R", packed(1, 5)),
        new("R", packed(2, 5)),
        new("R", packed(0, 0)),
        new("R", packed(0, 2**63)),
        new("R", packed(0, 2**64 - 1)),
        new("R", packed(0, "5")),
        new("R", packed(5)),
        new("R", packed()),
        new("R", b"\x05"),
        new("R", b"\x92\x00\xff"),  # -1
        new("R", b"\x92\x00\xd0\x05"),  # signed
        new("R", b"\x92\x00\xc3"),  # true
        new("R", b"\x92\xc2\x05"),  # false
        new("R", b"\x92\xca\x00\x00\x00\x00\x05"),  # 0.0
        new("R", b"\x92\x00\xcb\x40\x14\x00\x00\x00\x00\x00\x00"),  # 5.0
        new("R", b"\x92\x00\xcc\x05"),  # longer than it has to be
        new("R", b"\x92\x00\xce\x00\x00\x00\x05"),
        new("R", b"\xdc\x00\x02\x00\x05"),
        new("R", b"\xdd\xff\xff\xff\xff\x00\x05"),
        new("R", b"\x92\x00\xc0"),
        new("R", b"\x92\x00\xc1"),
        new("R", b"\x82\x00\x05\x01\x06"),
        new("R", b"\x92\x00\x91\x05"),
        new("R", b"\x92\x00\xc4\x01\x05"),
        new("R", b"\x92\x00\xd4\x01\x05"),
        new("R", b"\x92\x00\xd6\xff\x00\x00\x00\x05"),  # a timestamp
        new("R", b"\x91" * 300),
        new("I", packed(0, 5)),
        new("I", packed(0, 5, "6")),
        new("I", packed(0, 5, 6, 7)),
        new("I", packed(2, 5, 6)),
        new("WFR", packed(0, 5, 6)),
        new("REF", packed(0, 5, 6)),
        new("REF", b"\x93\x00\x05\xa1\xff"),
        new("REF", b"\x93\x00\x05\xd9\x01a"),
        new("REF", packed(0, 5, "a" * 600)),
        new("RRS", packed(0, "Organization", 5, 6)),
        new("RRS", packed(0, "Enterprise", 5, 6)),
        new("RRS", packed(0, "repository", 5, 6)),
        old("010:Repository"),
        old("010:Repository05"),
        old("010:Repository+5"),
        old("010:Repository-5"),
        old("010:Repository5 "),
        old("010:Repository5\n"),
        old("010:Repository5:x"),
        old("010:repository5"),
        old("10:Repository5"),
        old("09:Repository5"),
        old("010:Repository٥"),
        old("010:Repository9223372036854775808"),
        old("010:Repository" + "9" * 300),
        old("05:Issue5"),
        old("05:Issue5:x"),
        old("03:Ref5"),
        old("03:Ref5:"),
        old("010:Repository12").replace("=", ""),
        old("010:Repository12") + "=",
        old("010:Repository123")[:-2] + "Z=",
        old("010:Repository5") + old("010:Repository6"),
    ],
)
def test_what_is_not_an_id_of_a_repository(node_id: str) -> None:
    assert repository_of(node_id) is None


@given(DATABASE_IDS)
def test_repositories(repository: int) -> None:
    assert repository_of(new("R", packed(0, repository))) == repository
    assert repository_of(old(f"010:Repository{repository}")) == repository


@given(st.sampled_from(NUMBERED), DATABASE_IDS, st.integers(0, 2**64 - 1))
def test_what_is_in_repositories(prefix: str, repository: int, number: int) -> None:
    assert repository_of(new(prefix, packed(0, repository, number))) == repository
    assert repository_of(new("WFR", packed(2, repository, number))) == repository
    assert repository_of(new("RRS", packed(0, "Repository", repository, number))) == repository


@given(DATABASE_IDS, st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60))
def test_refs(repository: int, name: str) -> None:
    assert repository_of(new("REF", packed(0, repository, name))) == repository
    assert repository_of(old(f"03:Ref{repository}:{name}")) == repository


@given(
    st.text(string.ascii_uppercase, min_size=1, max_size=6),
    st.lists(st.integers(0, 2**64 - 1) | st.text(max_size=9), max_size=5),
)
def test_only_what_is_at_the_repositorys_place_is_taken(prefix: str, elements: list[int | str]) -> None:
    found = repository_of(new(prefix, packed(*elements)))
    assert found is None or found in elements[1:3]


@given(st.text(max_size=60) | st.binary(max_size=60).map(lambda raw: new("R", raw)))
@example("R_" + "A" * 100_000)
@example("M" * 100_000)
def test_never_raises(node_id: str) -> None:
    found = repository_of(node_id)
    assert found is None or found > 0


@given(st.binary(max_size=12))
def test_one_spelling(payload: bytes) -> None:
    """Whatever is read from bytes is what our own encoder makes of it."""
    found = repository_of(new("R", payload))
    assert found is None or payload == packed(0, found)
    found = repository_of(base64.b64encode(b"010:Repository" + payload).decode())
    assert found is None or payload == str(found).encode()
