"""What the orchestrator tells an operator by itself: once when it begins, once when it is over."""

from dataclasses import dataclass, field
from pathlib import Path

from airut_common.testing.builders import repo_config
from airut_orchestrator.low_disk import DiskAlarm
from airut_orchestrator.open_networks import OpenNetworks


@dataclass
class Told:
    reports: list[tuple[str, str]] = field(default_factory=list)

    async def __call__(self, level: str, _code: str, text: str) -> None:
        self.reports.append((level, text))

    def take(self) -> list[str]:
        levels = [level for level, _ in self.reports]
        self.reports.clear()
        return levels


async def test_repositories_without_a_network_sandbox_are_told_when_it_is_others_than_before() -> None:
    told = Told()
    networks = OpenNetworks(told)
    closed, opened = repo_config(), repo_config(network_sandbox=False)
    await networks.look({"a": closed})
    assert told.take() == []
    await networks.look({"a": closed, "b": opened})
    assert "b" in told.reports[0][1]
    assert told.take() == ["warning"]
    await networks.look({"b": opened})
    assert told.take() == []
    await networks.look({"a": opened, "b": opened})
    assert told.take() == ["warning"]
    await networks.look({"a": closed})
    assert told.take() == ["info"]


async def test_a_disk_that_is_nearly_full_is_told_once_and_once_when_it_is_over() -> None:
    told = Told()
    alarm = DiskAlarm(Path("/"), "here", lambda: 1000, told)
    for free in (1000, 999, 500, 1000, 1099):
        await alarm.look(free)
    assert "999 MiB" in told.reports[0][1]
    assert told.take() == ["error"]
    await alarm.look(1100)
    assert told.take() == ["info"]
    await alarm.look(999)
    assert told.take() == ["error"]
