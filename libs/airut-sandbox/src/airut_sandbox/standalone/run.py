"""One command in a sandbox whose network is an egress engine in this process."""

import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from airut_common.config.models import BUILD_ALLOWLIST
from airut_common.contracts.v1 import OpenSession, SessionOpened, new_id
from airut_egress.engine import Engine
from airut_egress.engines import OneEngine
from airut_egress.events import EventSink
from airut_egress.sessions import SandboxNetworks, engine_settings
from airut_sandbox.build_network import BuildNetwork, open_namespace
from airut_sandbox.container import Exit, Mount, SandboxSpec, open_sandbox
from airut_sandbox.image import ImageRef, Overlay, ensure_image, git_config
from airut_sandbox.overlay import CA_PATH, CA_VARIABLES
from airut_sandbox.podman import Podman, probe_podman
from airut_sandbox.sandbox import OnLine
from airut_sandbox.spec import INSTALLATION_LABEL

from .settings import SandboxFile, take_secrets

_NAME = "standalone"
#: Both streams of a command in the order in which it wrote them.
_JOINED = ("/bin/sh", "-c", 'exec "$@" 2>&1', "sh")


@dataclass(frozen=True)
class Asked:
    """What to run, and where."""

    command: Sequence[str]
    policy: str
    """Text of the network allowlist."""
    policy_source: str
    """How messages call it."""
    workspace: Path
    """Shown as `/workspace`, writable."""
    settings: SandboxFile
    context: Path | None = None
    """A folder with a Dockerfile; else `image`."""
    image: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Where the values of credentials are."""


async def run_command(asked: Asked, state_dir: Path, sink: EventSink, on_line: OnLine) -> Exit:
    """Run it to its end. `state_dir` keeps what the next run can use again: the certificate authority, Podman's
    configuration; 0700. `on_line` gets each line of the command's output.

    Raises:
        MissingSecrets: a credential has no value.
        airut_egress.sessions.SessionRefused: the policy or a credential cannot be used.
        airut_sandbox.errors.SandboxError: there is no image, no container, or no network for it.
        ValueError, OSError: the settings or a folder cannot be used.
    """
    credentials = take_secrets(asked.settings, asked.environment)
    sandbox_id = new_id()
    async with _networks(asked.settings, state_dir, sink) as networks:
        question = OpenSession(
            sandbox=sandbox_id,
            task=sandbox_id,
            repo=_NAME,
            policy=asked.policy,
            policy_source=asked.policy_source,
        )
        opened = await networks.open(question, credentials)
        podman = await probe_podman(state_dir / "podman", runtime=asked.settings.sandbox.runtime)
        image = await _image(podman, asked, opened.ca_certificate, networks)
        spec = _spec(asked, sandbox_id, image, opened)
        async with open_sandbox(podman, spec) as sandbox:
            await sandbox.attach_network(Path(opened.attach_socket), opened.attach_token)
            return await sandbox.run(b"", on_line, asked.settings.limits.timeout_seconds)


@asynccontextmanager
async def _networks(
    settings: SandboxFile, state_dir: Path, sink: EventSink
) -> AsyncIterator[SandboxNetworks]:
    # Runs beside each other share the state, but not the socket. Its path has to be short.
    folder = Path(tempfile.mkdtemp(prefix="airut-sandbox-"))  # 0700
    try:
        engine = Engine(
            engine_settings(settings.egress),
            sink=sink,
            installation_key=secrets.token_bytes(32),
            state_dir=state_dir,
        )
        networks = SandboxNetworks(OneEngine(engine), attach_socket=folder / "attach.sock")
        async with networks.running():
            yield networks
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def _image(podman: Podman, asked: Asked, ca_pem: str, networks: SandboxNetworks) -> ImageRef:
    sandbox = asked.settings.sandbox
    overlay = Overlay(
        ca_pem.encode(),
        git_config(credential_variables={}, user_name="Airut", user_email="airut@localhost"),
    )
    with tempfile.TemporaryDirectory(prefix="airut-sandbox-") as folder:
        context = asked.context
        if context is None:
            context = Path(folder)
            (context / "Dockerfile").write_text(f"FROM {asked.image}\n", "utf-8")
        return await ensure_image(
            podman,
            context,
            overlay=overlay,
            installation=_NAME,
            repo=_NAME,
            base_image=sandbox.base_image,
            network=_build_network(podman, sandbox.build_allowlist, networks),
        )


def _build_network(podman: Podman, allowlist: str | None, networks: SandboxNetworks) -> BuildNetwork | None:
    if allowlist is None:
        return None

    @asynccontextmanager
    async def network(image: str) -> AsyncIterator[Path]:
        build_id = new_id()
        question = OpenSession(
            sandbox=build_id,
            task=build_id,
            repo=_NAME,
            policy=allowlist,
            policy_source=BUILD_ALLOWLIST,
            with_credentials=False,
        )
        opened = await networks.open(question, {})
        labels = {INSTALLATION_LABEL: f"{_NAME}-{build_id}"}
        try:
            async with open_namespace(podman, image, name=f"airut-{build_id}", labels=labels) as (
                holder,
                namespace,
            ):
                await holder.attach_network(Path(opened.attach_socket), opened.attach_token)
                yield namespace
        finally:
            await networks.close(build_id)

    return network


def _spec(asked: Asked, sandbox_id: str, image: ImageRef, opened: SessionOpened) -> SandboxSpec:
    return SandboxSpec(
        name=f"airut-{sandbox_id}",
        image=image.id,
        command=(*_JOINED, *asked.command),
        labels={INSTALLATION_LABEL: f"{_NAME}-{sandbox_id}"},
        environment={
            "HOME": "/root",
            **dict.fromkeys(CA_VARIABLES, CA_PATH),
            **asked.settings.environment,
            **opened.environment,
        },
        mounts=(Mount(asked.workspace.absolute(), "/workspace"),),
        limits=asked.settings.limits,
        keep_free_bytes=asked.settings.sandbox.min_free_mib * 1024 * 1024,
    )
