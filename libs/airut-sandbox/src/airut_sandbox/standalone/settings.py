"""The file that `airut-sandbox run` is configured by, and the values of its credentials."""

from collections.abc import Mapping
from pathlib import Path

from pydantic import Field

from airut_common.config.base import SecretName, StrictModel
from airut_common.config.credentials import CredentialConfig
from airut_common.config.models import EgressConfig, LimitsConfig, SandboxConfig, VariableName
from airut_common.config.yamlfile import load_yaml_model
from airut_common.secrets import Secret
from airut_egress.sessions import Credentials


class MissingSecrets(ValueError):
    """Credentials whose values are not in the environment; the text names them."""


class SandboxFile(StrictModel):
    """The keys mean what they mean in `airut.yaml`."""

    credentials: dict[SecretName, CredentialConfig] = Field(default_factory=dict)
    environment: dict[VariableName, str] = Field(default_factory=dict)
    limits: LimitsConfig = LimitsConfig()
    egress: EgressConfig = EgressConfig()
    sandbox: SandboxConfig = SandboxConfig()


def read_settings(file: Path | None) -> SandboxFile:
    """Read the file; None gives what is built in.

    Raises:
        airut_common.config.yamlfile.ConfigError: it does not validate.
        OSError, UnicodeDecodeError: it cannot be read.
    """
    return SandboxFile() if file is None else load_yaml_model(file.read_text("utf-8"), str(file), SandboxFile)


def take_secrets(settings: SandboxFile, environment: Mapping[str, str]) -> Credentials:
    """Find the values of all credentials in variables of their names.

    Raises:
        MissingSecrets: some are not set.
    """
    names = {name: config.secret_names(name) for name, config in settings.credentials.items()}
    missing = sorted({part for parts in names.values() for part in parts if not environment.get(part)})
    if missing:
        raise MissingSecrets(
            f"these credentials have no value: {', '.join(missing)}; set variables of these names"
        )
    return {
        name: (config, {part: Secret(environment[part]) for part in names[name]})
        for name, config in settings.credentials.items()
    }
