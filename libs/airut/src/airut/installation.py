"""Where an installation keeps things: its id, its folders, its bus identities. Everything is 0700 or 0600."""

import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from airut.errors import InstallationBusy, UsageError
from airut_common.config.base import StrictModel
from airut_common.config.models import BUILD_ALLOWLIST, InstallationConfig
from airut_common.config.yamlfile import load_yaml_model
from airut_common.private_file import create_private
from airut_egress.policy.model import parse_policy

DEFAULT_FILE = Path("airut.yaml")


@dataclass(frozen=True)
class Installation:
    """One `airut.yaml` and its state folder."""

    config_file: Path
    config: InstallationConfig
    state: Path
    id: str
    """Twelve hex digits; labels containers and images, so that several installations share a host."""

    @property
    def keys(self) -> Path:
        """Folder of the bus identities' nkey seeds."""
        return self.state / "keys"

    @property
    def nats(self) -> Path:
        """Folder of the embedded server."""
        return self.state / "nats"

    def service_state(self, service: str) -> Path:
        """The folder that belongs to one service alone."""
        return self.state / "services" / service

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the state folder for one `airut up`.

        Raises:
            InstallationBusy: when another process holds it.
        """
        descriptor = os.open(self.state / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise InstallationBusy(
                f"{self.state}: another `airut up` is running here; stop it first, or use another state_dir"
            ) from None
        try:
            yield
        finally:
            os.close(descriptor)


def read_config(path: Path) -> InstallationConfig:
    """Parse and validate an `airut.yaml`. Relative paths in it are relative to the file.

    Raises:
        UsageError: when the file cannot be read.
        ConfigError: when it does not validate; each problem names line and field.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UsageError(
            f"{path}: there is no such file; name one with -c, or begin with docs/airut.example.yaml"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read: {error}") from None
    config = load_yaml_model(text, str(path), InstallationConfig)
    if config.sandbox.build_allowlist is not None:
        parse_policy(config.sandbox.build_allowlist, f"{path}: {BUILD_ALLOWLIST}")
    # Services run in another folder.
    return config.beside(path.parent.absolute())


def named_files(value: StrictModel, field: str = "") -> Iterator[tuple[str, Path]]:
    """Files that the configuration names, each with its field; they are there before Airut is."""
    for name in type(value).model_fields:
        for key, found in _entries(name, getattr(value, name)):
            place = f"{field}.{key}" if field else key
            if isinstance(found, StrictModel):
                yield from named_files(found, place)
            elif isinstance(found, Path) and name != "state_dir":
                yield place, found


def _entries(name: str, value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, dict):
        yield from ((f"{name}.{key}", each) for key, each in value.items())
    else:
        yield name, value


def open_installation(path: Path) -> Installation:
    """Read the configuration and make sure that the state folder and the installation id exist.

    Raises:
        UsageError, ConfigError: as `read_config`, and when the state folder cannot be written to.
    """
    config = read_config(path)
    state = config.state_dir.resolve()
    try:
        state.mkdir(parents=True, exist_ok=True, mode=0o700)
        state.chmod(0o700)
        found = _installation_id(state)
    except OSError as error:
        raise UsageError(
            f"{path}: state_dir: {state} cannot be used ({error.strerror}); name a folder that you may write to"
        ) from None
    return Installation(config_file=path, config=config, state=state, id=found)


def _installation_id(state: Path) -> str:
    file = state / "installation.json"
    if not file.exists():
        create_private(file, json.dumps({"id": secrets.token_hex(6)}).encode())
    try:
        found = json.loads(file.read_text(encoding="utf-8"))["id"]
    except (ValueError, KeyError, TypeError):
        raise UsageError(
            f"{file}: is damaged; restore it from a backup (it names this installation)"
        ) from None
    return str(found)
