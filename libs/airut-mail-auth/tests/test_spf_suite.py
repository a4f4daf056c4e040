"""The public test suite for RFC 7208 (suites/rfc7208-tests.yml, release 2014.04, its licence beside it).

Results are compared; explanations (`exp=`) are not, because nothing here fetches them: they are words of a stranger.
"""

from collections.abc import Iterator, Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from airut_mail_auth.resolver import DnsTemporary
from airut_mail_auth.spf.check import check_host, spf_identity

SUITE = Path(__file__).parent / "suites" / "rfc7208-tests.yml"
SCENARIOS = list(YAML(typ="safe", pure=True).load_all(SUITE.read_bytes()))


class SuiteZone:
    """Answers from the suite's tables. `TIMEOUT` in a name's list means that what it does not hold is not answered."""

    def __init__(self, zone: Mapping[str, Sequence[Any]]) -> None:
        self._zone = {name.lower(): entries for name, entries in zone.items()}

    def _values(self, name: str, kind: str) -> Iterator[Any]:
        entries = self._zone.get(name.lower().removesuffix("."), [])
        records = [next(iter(entry.items())) for entry in entries if entry != "TIMEOUT"]
        if kind == "TXT" and not any(one == "TXT" for one, _ in records):
            records = [("TXT" if one == "SPF" else one, value) for one, value in records]
        found = [value for one, value in records if one == kind and value != "NONE"]
        if "TIMEOUT" in found or (not found and "TIMEOUT" in entries):
            raise DnsTemporary(name)
        aliases = [value for one, value in records if one == "CNAME"]
        yield from found or (value for alias in aliases for value in self._values(alias, kind))

    async def texts(self, name: str) -> list[bytes]:
        values = self._values(name, "TXT")
        return [
            "".join(value if isinstance(value, list) else [value]).encode("latin-1", "replace")
            for value in values
        ]

    async def addresses(self, name: str, *, v6: bool) -> list[IPv4Address | IPv6Address]:
        return [ip_address(value) for value in self._values(name, "AAAA" if v6 else "A")]

    async def mail_hosts(self, name: str) -> list[str]:
        return [host for _, host in sorted(self._values(name, "MX"))]

    async def pointers(self, address: IPv4Address | IPv6Address) -> list[str]:
        return list(self._values(address.reverse_pointer, "PTR"))

    async def exists(self, name: str) -> bool:
        return name.lower() in self._zone


CASES = [
    pytest.param(scenario["zonedata"], case, id=name)
    for scenario in SCENARIOS
    for name, case in scenario["tests"].items()
]


@pytest.mark.parametrize(("zone", "case"), CASES)
async def test_the_public_suite(zone: Mapping[str, Sequence[Any]], case: Mapping[str, Any]):
    wanted = case["result"] if isinstance(case["result"], list) else [case["result"]]
    identity = spf_identity(case["mailfrom"], case["helo"])
    result = "none"
    if identity is not None:
        result = (await check_host(case["host"], identity, case["helo"], SuiteZone(zone))).result
    assert result in wanted, case.get("description")


def test_all_of_it_is_there():
    assert len(CASES) == 203
