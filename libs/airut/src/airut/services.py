"""The services of an installation: their names, modules and the order in which they stop."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from airut.identities import seed_file
from airut.installation import Installation
from airut.supervisor import ChildSpec
from airut_common.config.models import InstallationConfig

ADMIN = "admin"

#: Variables of the operator's shell that a service may see; everything else stays outside.
_PASSED_ON = (
    "PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ", "TMPDIR", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "NPM_CONFIG_REGISTRY", "npm_config_registry", "AIRUT_CACHE_DIR", "AIRUT_HOST",
    "PYTHONDONTWRITEBYTECODE",
)  # fmt: skip


@dataclass(frozen=True)
class ServiceKind:
    """A service as a process: it stops before those that come later in `SERVICES`."""

    name: str
    module: str
    stop_seconds: float
    reads: tuple[str, ...] = ()
    """Variables of the operator's shell that only this one may see."""


#: In stopping order: no new work, then the work, then its network, then the view of it all.
SERVICES = (
    ServiceKind("gateway-email", "airut_gateway_email", 10),
    ServiceKind(
        "orchestrator", "airut_orchestrator", 30, reads=("AIRUT_DATABASE_URL", "PGPASSFILE", "PGSSLROOTCERT")
    ),
    ServiceKind("egress-proxy", "airut_egress_proxy", 10),
    ServiceKind("dashboard", "airut_dashboard", 5),
)
IDENTITIES = (ADMIN, *(kind.name for kind in SERVICES))


def wanted_services(config: InstallationConfig) -> list[ServiceKind]:
    """The services this configuration needs: a channel runs only when it is configured."""
    return [kind for kind in SERVICES if kind.name != "gateway-email" or config.email is not None]


def service_child(installation: Installation, kind: ServiceKind, nats_url: str) -> ChildSpec:
    """How to start a service of this installation."""
    state = installation.service_state(kind.name)
    state.mkdir(parents=True, exist_ok=True, mode=0o700)
    environment = passed_on(os.environ) | {
        "AIRUT_NATS_URL": nats_url,
        "AIRUT_NKEY_SEED_FILE": str(seed_file(installation.keys, kind.name)),
        "AIRUT_STATE_DIR": str(state),
        "AIRUT_INSTALLATION": installation.id,
        "AIRUT_LOG_FORMAT": "text",
        "PYTHONUNBUFFERED": "1",
    }
    environment |= {name: os.environ[name] for name in kind.reads if name in os.environ}
    argv = (sys.executable, "-P", "-m", kind.module)
    return ChildSpec(kind.name, argv, environment, stop_seconds=kind.stop_seconds, cwd=Path("/"))


def passed_on(environment: Mapping[str, str]) -> dict[str, str]:
    """What of our own environment the children inherit."""
    return {name: environment[name] for name in _PASSED_ON if name in environment}
