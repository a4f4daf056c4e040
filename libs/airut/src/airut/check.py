"""`airut check`: can this host run sandboxes, and can this configuration be served?"""

import socket
import ssl
import tempfile
from collections.abc import Iterable
from pathlib import Path

from airut.errors import UsageError
from airut.installation import named_files, read_config
from airut_common.config.models import InstallationConfig, open_networks
from airut_common.config.yamlfile import ConfigError
from airut_sandbox.host_checks import Finding, check_host


async def findings(config_file: Path, state: Path) -> list[Finding]:
    """Everything worth telling, host first. `state` is where probes may keep small files."""
    try:
        config = read_config(config_file)
    except (UsageError, ConfigError) as error:
        return [
            *await check_host(state, runtime=None),
            Finding("configuration", "fail", str(error), "correct the lines named here"),
        ]
    return [
        *await check_host(state, runtime=config.sandbox.runtime),
        Finding("configuration", "ok", f"{config_file} is valid, {len(config.repos)} repositories", ""),
        *network_findings(config),
        *state_findings(config),
        *file_findings(config),
        *listen_findings(config),
        *tls_findings(config),
    ]


def network_findings(config: InstallationConfig) -> Iterable[Finding]:
    """No repository at all, and repositories whose sandboxes reach every public host."""
    if not config.repos:
        yield Finding(
            "repos", "warn", "names no repository, so nobody can hand work over", "add one under repos:"
        )
    for name in open_networks(config.repos):
        yield Finding(
            f"repos.{name}.network_sandbox",
            "warn",
            "is off: agents there reach every public host, and can send them whatever they see",
            "remove the line, and name what is needed in .airut/network-allowlist.yaml",
        )


def tls_findings(config: InstallationConfig) -> Iterable[Finding]:
    """Whether the certificate for mail and its key belong together; each by itself is among `file_findings`."""
    if config.email is None or config.email.tls is None:
        return
    files = config.email.tls
    if _pem_problem(files.certificate) or _pem_problem(files.key):
        return
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(
            files.certificate,
            files.key,
            password="",  # it would be asked for at the terminal
        )
    except OSError as error:  # ssl.SSLError is one
        remedy = "name a certificate and its key, both PEM and readable by Airut's user"
        yield Finding("email.tls", "fail", str(error), remedy)
    else:
        yield Finding("email.tls", "ok", f"{files.certificate} and its key can be used", "")


def state_findings(config: InstallationConfig) -> Iterable[Finding]:
    """A state folder that cannot be written to, or made."""
    folder = next(each for each in (config.state_dir, *config.state_dir.parents) if each.exists())
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        detail = f"{folder} cannot be written to: {error.strerror}"
        yield Finding("state_dir", "fail", detail, "name a folder that the user of the service may write to")


def file_findings(config: InstallationConfig) -> Iterable[Finding]:
    """Files with certificates and keys that cannot be read, or hold something else."""
    for field, file in named_files(config):
        problem = _pem_problem(file)
        if problem is not None:
            yield Finding(
                field,
                "fail",
                f"{file} {problem}",
                "name a PEM file that the user of the service may read, or take the line out",
            )


def _pem_problem(file: Path) -> str | None:
    try:
        return None if b"-----BEGIN " in file.read_bytes() else "holds nothing in PEM"
    except OSError as error:
        return f"cannot be read: {error.strerror}"


def listen_findings(config: InstallationConfig) -> Iterable[Finding]:
    """Whether the addresses that the services listen on can be had."""
    wanted = {"dashboard.listen": config.dashboard.listen}
    if config.email is not None and config.email.smtp is not None:
        wanted["email.listen"] = config.email.smtp
    for field, endpoint in wanted.items():
        host, _, port = endpoint.rpartition(":")
        problem = _bind_problem(host.strip("[]"), int(port))
        if problem is None:
            yield Finding(field, "ok", f"{endpoint} is free", "")
        else:
            yield Finding(
                field,
                "fail",
                f"{endpoint}: {problem}",
                f"choose another {field}, or 0 as the port for any free one",
            )


def _bind_problem(host: str, port: int) -> str | None:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        return error.strerror or str(error)
    return None
