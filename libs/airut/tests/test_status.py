from airut.check import network_findings
from airut.status import warnings
from airut_common.bus import Bus
from airut_common.bus.topology import CONFIG_BUCKET
from airut_common.config.models import InstallationConfig
from airut_common.config.store import applied_repos, apply_config

REPO = {
    "address": "demo@airut.example",
    "senders": ("ada@lovelace.example",),
    "git": {"url": "https://git.example/d"},
}


def test_what_should_not_be_overlooked_is_told() -> None:
    config = InstallationConfig.model_validate(
        {
            "repos": {
                "demo": {**REPO, "network_sandbox": False},
                "other": {**REPO, "address": "o@airut.example"},
            },
            "sandbox": {"min_free_mib": 500},
        }
    )
    assert [text.split()[1:5] for text in warnings(config, {}, 499)] == [
        ["network", "sandbox", "of", "demo"],
        ["disk", "has", "499", "MiB"],
    ]
    assert [(found.name, found.status) for found in network_findings(config)] == [
        ("repos.demo.network_sandbox", "warn")
    ]


def test_nothing_is_told_of_an_installation_in_order() -> None:
    config = InstallationConfig.model_validate({"repos": {"demo": REPO}, "sandbox": {"min_free_mib": 500}})
    assert list(warnings(config, {}, 500)) == []
    assert list(network_findings(config)) == []


async def test_what_is_in_force_is_told_whatever_the_file_says_by_now(bus: Bus) -> None:
    applied = InstallationConfig.model_validate({"repos": {"demo": {**REPO, "network_sandbox": False}}})
    await apply_config(bus, applied)
    await bus.kv_put(CONFIG_BUCKET, "repos.other", b"of a newer Airut")
    config = InstallationConfig.model_validate({"repos": {"demo": REPO}, "sandbox": {"min_free_mib": 500}})
    assert [text.split()[4] for text in warnings(config, await applied_repos(bus), 500)] == ["demo"]
