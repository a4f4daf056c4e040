import pytest

from airut.errors import UsageError
from airut.secret import find_places, listing, remove_secret, secret_places, set_secret
from airut_common.config.models import InstallationConfig
from airut_common.sealed import ServiceKey, watch_secrets

CONFIG = InstallationConfig.model_validate_json("""{
  "email": {"hostname": "h", "relay": {"host": "r", "username": "u", "password_secret": "SMTP"}},
  "repos": {"demo": {"address": "a@b.example", "senders": ["x@y.example"],
    "git": {"url": "https://g/x", "token_secret": "TOKEN"},
    "credentials": {"TOKEN": {"scopes": ["g"]}, "KEY": {"scopes": ["k"]}}}}}""")


def test_every_secret_of_the_configuration_has_a_place() -> None:
    assert [(place.service, place.repo, place.name) for place in secret_places(CONFIG)] == [
        ("gateway-email", None, "SMTP"),
        ("orchestrator", "demo", "TOKEN"),
        ("egress-proxy", "demo", "TOKEN"),
        ("egress-proxy", "demo", "KEY"),
    ]


def test_one_name_may_serve_two_services() -> None:
    assert [place.service for place in find_places(CONFIG, "TOKEN", "demo")] == [
        "orchestrator",
        "egress-proxy",
    ]


@pytest.mark.parametrize(
    ("name", "repo"), [("NOPE", "demo"), ("KEY", None), ("KEY", "other"), ("SMTP", "demo")]
)
def test_a_name_that_is_not_configured_is_refused_with_those_that_are(name, repo) -> None:
    with pytest.raises(UsageError, match="SMTP, TOKEN --repo demo"):
        find_places(CONFIG, name, repo)


async def test_a_value_is_sealed_listed_and_removed(bus, tmp_path) -> None:
    places = find_places(CONFIG, "KEY", "demo")
    with pytest.raises(UsageError, match="has not started"):
        await set_secret(bus, places, "value")
    async with watch_secrets(bus, "egress-proxy", ServiceKey.load_or_create(tmp_path / "key")) as secrets:
        with pytest.raises(UsageError, match="empty"):
            await set_secret(bus, places, "")
        await set_secret(bus, places, "value")
        await secrets.wait_changed()
        assert secrets.get("demo", "KEY").reveal() == "value"
        assert [place.name for place, is_set in await listing(bus, CONFIG) if is_set] == ["KEY"]
        await remove_secret(bus, places)
        await secrets.wait_changed()
        assert secrets.get("demo", "KEY") is None
