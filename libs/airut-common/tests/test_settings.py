"""A service's environment: read once, every bad value named at once."""

from pathlib import Path

import pytest

from airut_common.settings import ServiceSettings, SettingsError

GOOD = {
    "AIRUT_NATS_URL": "nats://127.0.0.1:4222",
    "AIRUT_STATE_DIR": "/var/lib/airut/x",
    "AIRUT_INSTALLATION": "i-1",
}


def test_what_is_needed_is_enough() -> None:
    settings = ServiceSettings.from_env(GOOD)
    assert settings == ServiceSettings(
        nats_url="nats://127.0.0.1:4222",
        nkey_seed_file=None,
        state_dir=Path("/var/lib/airut/x"),
        installation="i-1",
        host="local",
        log_format="text",
        log_level="info",
    )


def test_everything_can_be_set(tmp_path: Path) -> None:
    seed = tmp_path / "seed"
    seed.touch()
    settings = ServiceSettings.from_env(
        GOOD
        | {
            "AIRUT_NKEY_SEED_FILE": str(seed),
            "AIRUT_HOST": "h2",
            "AIRUT_LOG_FORMAT": "json",
            "AIRUT_LOG_LEVEL": "debug",
        }
    )
    assert (settings.nkey_seed_file, settings.host, settings.log_format) == (seed, "h2", "json")


@pytest.mark.parametrize(
    ("changed", "names"),
    [
        ({"AIRUT_NATS_URL": ""}, ["AIRUT_NATS_URL is not set"]),
        ({"AIRUT_INSTALLATION": "Not Good"}, ["AIRUT_INSTALLATION: 'Not Good' must be lower-case"]),
        ({"AIRUT_HOST": "a.b"}, ["AIRUT_HOST: 'a.b' must be lower-case"]),
        ({"AIRUT_LOG_FORMAT": "xml"}, ["AIRUT_LOG_FORMAT: 'xml' must be one of text, json"]),
        ({"AIRUT_NKEY_SEED_FILE": "/nowhere"}, ["AIRUT_NKEY_SEED_FILE: /nowhere is not a file"]),
        (
            {"AIRUT_NATS_URL": "", "AIRUT_STATE_DIR": "", "AIRUT_LOG_LEVEL": "loud"},
            [
                "AIRUT_NATS_URL is not set",
                "AIRUT_STATE_DIR is not set",
                "AIRUT_LOG_LEVEL: 'loud' must be one of",
            ],
        ),
    ],
)
def test_every_bad_value_is_named_at_once(changed: dict[str, str], names: list[str]) -> None:
    with pytest.raises(SettingsError) as caught:
        ServiceSettings.from_env(GOOD | changed)
    lines = str(caught.value).splitlines()
    assert len(lines) == len(names)
    assert all(line.startswith(name) for line, name in zip(lines, names, strict=True))
