"""`airut secret`: seal a value to the one service that needs it. Nothing here can read a value back."""

from collections.abc import Iterator
from dataclasses import dataclass

from airut.errors import UsageError
from airut_common.bus import Bus
from airut_common.config.models import InstallationConfig
from airut_common.sealed import list_sealed, remove_sealed, seal, sealed_key, service_public_key, store_sealed


@dataclass(frozen=True)
class SecretPlace:
    """A place in the configuration that names a secret, and the service it is sealed to."""

    service: str
    repo: str | None
    name: str
    field: str

    @property
    def key(self) -> str:
        """Its key in the `airut_sealed` bucket."""
        return sealed_key(self.service, self.repo, self.name)


def secret_places(config: InstallationConfig) -> Iterator[SecretPlace]:
    """Every secret that this configuration asks for."""
    if config.email is not None and config.email.relay.password_secret is not None:
        name = config.email.relay.password_secret
        yield SecretPlace("gateway-email", None, name, "email.relay.password_secret")
    if config.email is not None and config.email.login is not None:
        name = config.email.login.password_secret
        yield SecretPlace("gateway-email", None, name, "email.login.password_secret")
    if config.email is not None and config.email.imap is not None:
        for field, name in config.email.imap.secret_names().items():
            yield SecretPlace("gateway-email", None, name, f"email.imap.{field}")
    if config.email is not None and config.email.dkim is not None:
        yield SecretPlace("gateway-email", None, config.email.dkim.key_secret, "email.dkim.key_secret")
    for repo, settings in config.repos.items():
        if settings.git.token_secret is not None:
            yield SecretPlace(
                "orchestrator", repo, settings.git.token_secret, f"repos.{repo}.git.token_secret"
            )
        for name, credential in settings.credentials.items():
            for part in credential.secret_names(name):
                yield SecretPlace("egress-proxy", repo, part, f"repos.{repo}.credentials.{name}")


def find_places(config: InstallationConfig, name: str, repo: str | None) -> list[SecretPlace]:
    """The places a secret of this name goes to (one name may serve two services of one repository).

    Raises:
        UsageError: when the configuration does not name it.
    """
    found = [place for place in secret_places(config) if place.name == name and place.repo == repo]
    if found:
        return found
    scope = f"repository {repo}" if repo else "the installation"
    known = sorted(
        {f"{place.name}{f' --repo {place.repo}' if place.repo else ''}" for place in secret_places(config)}
    )
    hint = (
        "; the configuration names: " + ", ".join(known) if known else "; the configuration names no secrets"
    )
    raise UsageError(f"{name}: {scope} has no secret of this name{hint}")


async def set_secret(bus: Bus, places: list[SecretPlace], value: str) -> None:
    """Seal the value to each place's service.

    Raises:
        UsageError: for an empty value, or when a service has not published its key yet.
    """
    if not value:
        raise UsageError("the value is empty; give it on standard input or at the prompt")
    for place in places:
        public = await service_public_key(bus, place.service)
        if public is None:
            raise UsageError(
                f"{place.service} has not started yet, so nothing can be sealed to it; run `airut up`"
            )
        await store_sealed(bus, place.key, seal(public, value))


async def remove_secret(bus: Bus, places: list[SecretPlace]) -> None:
    """Forget the value everywhere."""
    for place in places:
        await remove_sealed(bus, place.key)


async def listing(bus: Bus, config: InstallationConfig) -> list[tuple[SecretPlace, bool]]:
    """Every secret the configuration names, and whether it has been set."""
    present = await list_sealed(bus)
    return [(place, place.key in present) for place in secret_places(config)]
