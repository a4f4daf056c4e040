from airut.check import network_findings
from airut.status import warnings
from airut_common.config.models import InstallationConfig

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
    assert [text.split()[1:5] for text in warnings(config, 499)] == [
        ["network", "sandbox", "of", "demo"],
        ["disk", "has", "499", "MiB"],
    ]
    assert [(found.name, found.status) for found in network_findings(config)] == [
        ("repos.demo.network_sandbox", "warn")
    ]


def test_nothing_is_told_of_an_installation_in_order() -> None:
    config = InstallationConfig.model_validate({"repos": {"demo": REPO}, "sandbox": {"min_free_mib": 500}})
    assert list(warnings(config, 500)) == []
    assert list(network_findings(config)) == []
