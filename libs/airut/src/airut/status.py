"""`airut status`: what runs, where it listens, what waits."""

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from airut.failures import Failure, read_failures
from airut.installation import Installation
from airut.services import wanted_services
from airut_common.bus import Bus
from airut_common.bus.topology import STATUS_BUCKET, STREAMS, status_key
from airut_common.bus.watching import snapshot
from airut_common.config.models import InstallationConfig, RepoConfig, open_networks
from airut_common.config.store import applied_repos


@dataclass(frozen=True)
class ServiceStatus:
    """What a service said of itself when it became ready. Where there are several hosts, one for each."""

    name: str
    ready: bool
    since: str = ""
    addresses: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class InstallationStatus:
    """The answer of `airut status`."""

    nats_url: str
    services: tuple[ServiceStatus, ...]
    streams: Mapping[str, int]
    """Stream name to number of stored messages."""
    failures: tuple[Failure, ...] = ()
    """What was given up lately, newest first."""
    warnings: tuple[str, ...] = ()
    """What an operator should not overlook."""

    def to_json(self) -> str:
        """The same for programs."""
        return json.dumps(asdict(self), indent=2)


async def read_status(bus: Bus, nats_url: str, installation: Installation) -> InstallationStatus:
    """Ask the bus: each service keeps its own entry while it runs and removes it when it stops."""
    config, services = installation.config, []
    entries = await snapshot(bus, STATUS_BUCKET)
    for kind in wanted_services(config):
        hosts = sorted(key for key in entries if key.partition(".")[0] == kind.name)
        for key in hosts or [status_key(kind.name)]:
            said = json.loads(entries[key]) if entries.get(key) else None
            name = kind.name if key == status_key(kind.name) else key
            # With the embedded bus every service runs on this host: one that was killed could not take its entry back.
            if said is None or (config.nats_url is None and not _lives(said["pid"])):
                services.append(ServiceStatus(name, ready=False))
            else:
                services.append(
                    ServiceStatus(name, ready=True, since=said["at"], addresses=said["addresses"])
                )
    streams = {stream.name: await bus.stream_size(stream.name) for stream in STREAMS}
    failures = await read_failures(bus)
    free_mib = shutil.disk_usage(installation.state).free // 2**20
    return InstallationStatus(
        nats_url=nats_url,
        services=tuple(services),
        streams=streams,
        failures=failures,
        warnings=tuple(warnings(config, await applied_repos(bus), free_mib)),
    )


def warnings(config: InstallationConfig, applied: Mapping[str, RepoConfig], free_mib: int) -> Iterator[str]:
    """What stands in the configuration, or is in force, and should not be overlooked, and a disk that is nearly
    full."""
    for name in sorted({*open_networks(config.repos), *open_networks(applied)}):
        yield f"the network sandbox of {name} is switched off: agents there reach every public host"
    if free_mib < config.sandbox.min_free_mib:
        yield (
            f"the disk has {free_mib} MiB left, below sandbox.min_free_mib ({config.sandbox.min_free_mib}): new tasks "
            "are refused; see `airut gc`"
        )


def _lives(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()
