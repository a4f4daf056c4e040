"""Images on real Podman. Field-notes rows 46, 65, 66, 73."""

import asyncio
import os
import secrets
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme

import airut_sandbox.old_images as old_images_module
from airut_common.processes import ProcessFailed
from airut_sandbox.base_image import ensure_base_image
from airut_sandbox.image import (
    DockerfileRefused,
    ImageBuildFailed,
    ImageRef,
    ImageRefused,
    Overlay,
    ensure_image,
    git_config,
)
from airut_sandbox.image_build import guarded_argv
from airut_sandbox.image_facts import images_of
from airut_sandbox.old_images import old_images, remove_image
from airut_sandbox.podman import Podman, probe_podman
from airut_sandbox.testing.tiny_image import import_tiny_image

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

OVERLAY = Overlay(
    b"-----OUR CA-----\n",
    git_config(credential_variables={}, user_name="Airut", user_email="a@airut.example"),
)
DOCKERFILE = "ARG AIRUT_BASE=scratch\nFROM ${AIRUT_BASE}\nCOPY . /copied\n"


@dataclass
class Builder:
    """One installation of its own on this host's Podman."""

    podman: Podman
    context: Path
    base: str
    installation: str = field(default_factory=lambda: f"test-{secrets.token_hex(6)}")
    keep_base: bool = False

    def write(self, name: str, content: str) -> None:
        path = self.context / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)

    async def ensure(self, overlay: Overlay = OVERLAY, timeout_seconds: float = 120, **more: Any) -> ImageRef:
        return await ensure_image(
            self.podman,
            self.context,
            overlay=overlay,
            installation=self.installation,
            repo="demo",
            base_image=self.base,
            timeout_seconds=timeout_seconds,
            **more,
        )

    async def run(self, image: ImageRef, script: str) -> str:
        done = await self.podman.run("run", "--rm", "--network=none", image.id, "/bin/sh", "-c", script)
        return done.stdout.decode()

    async def clean(self) -> None:
        if images := await images_of(self.podman, self.installation, "--all"):
            await self.podman.run("rmi", "--ignore", *{image["Id"] for image in images}, check=False)
        if not self.keep_base:
            await self.podman.run("rmi", "--force", "--ignore", self.base, check=False)


@pytest.fixture
async def builder(tmp_path: Path) -> AsyncIterator[Builder]:
    podman = await probe_podman(tmp_path / "state", runtime=None)
    base = f"localhost/airut-test-{secrets.token_hex(6)}:base"
    await import_tiny_image(podman, base)
    made = Builder(podman, tmp_path / "context", base)
    made.write("Dockerfile", DOCKERFILE)
    yield made
    await made.clean()


async def test_built_once_with_ca_and_git_configuration(builder: Builder) -> None:
    builder.write("sub/data.txt", "real tree")
    image = await builder.ensure()
    assert image.built
    output = await builder.run(
        image,
        "cat /copied/sub/data.txt /etc/airut/ca.pem /etc/ssl/certs/ca-certificates.crt /etc/gitconfig /etc/airut/gitconfig",
    )
    assert "real tree" in output
    assert output.count("OUR CA") == 2
    assert "OTHERS" in output
    assert "path = /etc/airut/gitconfig" in output
    assert "directory = *" in output
    again = await builder.ensure()
    assert (again.built, again.id) == (False, image.id)


async def test_callers_at_once_share_one_build(builder: Builder) -> None:
    images = await asyncio.gather(*(builder.ensure() for _ in range(5)))
    assert sum(image.built for image in images) == 1
    assert len({image.id for image in images}) == 1


async def test_row_73_every_ingredient_counts(builder: Builder) -> None:
    tags = {(await builder.ensure()).tag}
    builder.write("extra", "x")
    tags.add((await builder.ensure()).tag)
    other = await builder.ensure(Overlay(b"-----NEW CA-----\n", OVERLAY.git_config))
    tags.add(other.tag)
    assert len(tags) == 3
    assert "NEW CA" in await builder.run(other, "cat /etc/airut/ca.pem")


async def test_a_new_base_image_makes_a_new_image(builder: Builder) -> None:
    first = await builder.ensure()
    await import_tiny_image(builder.podman, builder.base)  # the same reference, another image
    second = await builder.ensure()
    assert second.built
    assert second.id != first.id


async def test_row_73_the_build_has_no_network_and_no_environment_of_ours(
    builder: Builder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRUT_CANARY", "canary-value")
    builder.write("Dockerfile", DOCKERFILE + "RUN cat /proc/net/dev > /net; cat /proc/self/environ > /env\n")
    image = await builder.ensure()
    interfaces = [
        line.split(":")[0].strip() for line in (await builder.run(image, "cat /net")).splitlines()[2:]
    ]
    assert interfaces == ["lo"]
    assert "canary" not in await builder.run(image, "cat /env")


async def test_a_failing_build_shows_its_end(builder: Builder) -> None:
    builder.write("Dockerfile", DOCKERFILE + "RUN echo first; echo '\x1b[31mno such package'; exit 7\n")
    with pytest.raises(ImageBuildFailed, match=r"\.airut/container/Dockerfile") as caught:
        await builder.ensure()
    assert "no such package" in caught.value.output_tail
    assert "\x1b" not in caught.value.output_tail
    assert len(caught.value.output_tail) <= 4000
    builder.write("Dockerfile", DOCKERFILE)
    assert (await builder.ensure()).built


async def test_a_dockerfile_that_is_none(builder: Builder) -> None:
    builder.write("Dockerfile", "MAKE ME A SANDWICH\n")
    with pytest.raises(ImageBuildFailed) as caught:
        await builder.ensure()
    assert "FROM" in caught.value.output_tail


def processes_with(marker: str) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if marker.encode() in path.read_bytes():
                found.append(path.parent.name)
    return found


@dataclass
class Endless:
    """A build step that never ends, and a way to see whether it runs."""

    builder: Builder
    marker: str = field(default_factory=lambda: secrets.token_hex(16))

    def write(self) -> None:
        loop = f": {self.marker}; while :; do :; done"
        # Two processes, of which one has left its session.
        self.builder.write("Dockerfile", f"{DOCKERFILE}RUN sh -c '{loop}' & {loop}\n")

    async def running(self, *, wanted: bool) -> None:
        async with asyncio.timeout(60):
            while bool(processes_with(self.marker)) is not wanted:
                await asyncio.sleep(0.1)

    async def nothing_left(self) -> None:
        await self.running(wanted=False)
        async with asyncio.timeout(60):
            while self.builder.base in await self.containers():
                await asyncio.sleep(0.1)

    async def containers(self) -> str:
        while True:
            with suppress(ProcessFailed):  # Podman gives up when others remove a container meanwhile
                done = await self.builder.podman.run("ps", "--all", "--external", "--format", "{{.Image}}")
                return done.stdout.decode()


async def test_row_65_an_endless_build_is_stopped_and_nothing_stays(builder: Builder) -> None:
    endless = Endless(builder)
    endless.write()
    with pytest.raises(ImageBuildFailed, match="took longer than 8 seconds"):
        await builder.ensure(timeout_seconds=8)
    await endless.nothing_left()
    builder.write("Dockerfile", DOCKERFILE)
    assert (await builder.ensure()).built


async def test_row_64_a_cancelled_task_takes_its_build_along(builder: Builder) -> None:
    endless = Endless(builder)
    endless.write()
    task = asyncio.ensure_future(builder.ensure())
    await endless.running(wanted=True)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await endless.nothing_left()


async def test_row_65_a_killed_caller_takes_its_build_along(builder: Builder) -> None:
    """As when the orchestrator gets `kill -9` while it builds."""
    endless = Endless(builder)
    endless.write()
    options = ["--network=none", "--force-rm", "--build-arg", f"AIRUT_BASE={builder.base}"]
    argv = guarded_argv(builder.podman, [*options, str(builder.context)])
    caller = await asyncio.create_subprocess_exec(
        *(
            sys.executable,
            "-c",
            "import subprocess, sys; subprocess.Popen(sys.argv[1:], stdin=-1).wait()",
            *argv,
        ),
        env=dict(builder.podman.env),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        cwd=builder.podman.state_dir,
    )
    await endless.running(wanted=True)
    caller.kill()
    await caller.wait()
    await endless.nothing_left()


async def test_row_44_a_build_that_never_stops_talking(builder: Builder) -> None:
    builder.write(
        "Dockerfile", DOCKERFILE + "RUN i=0; while [ $i -lt 300000 ]; do i=$((i+1)); echo $i; done; exit 1\n"
    )
    with pytest.raises(ImageBuildFailed) as caught:
        await builder.ensure()
    assert "300000" in caught.value.output_tail
    assert len(caught.value.output_tail) <= 4000


async def test_a_missing_dockerfile_is_named(builder: Builder) -> None:
    (builder.context / "Dockerfile").unlink()
    with pytest.raises(ImageRefused, match=r"\.airut/container/Dockerfile is missing"):
        await builder.ensure()
    (builder.context / "Dockerfile").symlink_to("/etc/passwd")
    with pytest.raises(ImageRefused, match="regular file"):
        await builder.ensure()


@pytest.mark.parametrize(
    "name", ["io.podman.annotations.seccomp", "io.podman.annotations.privileged", "IO.podman.Annotations.x"]
)
async def test_row_46_an_image_that_gives_podman_orders_is_refused(builder: Builder, name: str) -> None:
    builder.write("Dockerfile", f"{DOCKERFILE}LABEL {name}=TRUE\n")
    for _ in range(2):  # also when it is there already
        with pytest.raises(ImageRefused, match="annotation"):
            await builder.ensure()


async def test_row_46_an_annotation_of_the_base_is_refused(builder: Builder, tmp_path: Path) -> None:
    folder = tmp_path / "annotated"
    folder.mkdir()
    (folder / "Dockerfile").write_text(f"FROM {builder.base}\n")
    annotation = "--annotation=io.podman.annotations.init=TRUE"
    label = f"--label=airut.installation={builder.installation}"
    await builder.podman.run(
        "build", "--network=none", label, annotation, "-t", f"{builder.base}-evil", str(folder)
    )
    builder.base = f"{builder.base}-evil"
    with pytest.raises(ImageRefused, match="annotation"):
        await builder.ensure()


async def test_row_46_triggers_of_a_base_are_refused_before_they_run(
    builder: Builder, tmp_path: Path
) -> None:
    folder = tmp_path / "triggering"
    folder.mkdir()
    (folder / "Dockerfile").write_text(
        f"FROM {builder.base}\nONBUILD RUN --mount=type=tmpfs,target=/tmp exit 1\n"
    )
    label = f"--label=airut.installation={builder.installation}"
    tag = f"{builder.base}-trigger"
    await builder.podman.run("build", "--network=none", "--format=docker", label, "-t", tag, str(folder))
    builder.base = tag
    with pytest.raises(ImageRefused, match="ONBUILD"):
        await builder.ensure()


async def test_row_7_a_dockerfile_that_reaches_for_the_host_is_refused(builder: Builder) -> None:
    mount = "RUN --mount=type=bind,from=evil,source=/z/dir,target=/mnt,rw cat /mnt/etc/shadow"
    builder.write("Dockerfile", f"FROM {builder.base} AS evil\nRUN mkdir /z\nFROM evil\n{mount}\n")
    with pytest.raises(DockerfileRefused, match="bind and cache mounts"):
        await builder.ensure()


async def test_a_base_image_that_is_nowhere(builder: Builder) -> None:
    builder.write("Dockerfile", "FROM localhost/airut-test-nowhere:1\n")
    with pytest.raises(ImageBuildFailed, match="localhost/airut-test-nowhere:1 could not be pulled"):
        await builder.ensure()


async def test_row_66_old_images_of_an_installation_are_found_and_removed(
    builder: Builder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(old_images_module, "KEPT", 0)
    image = await builder.ensure()
    later = datetime.now(UTC) + timedelta(hours=1)
    assert await old_images(builder.podman, builder.installation, before=later - timedelta(hours=2)) == []
    assert await old_images(builder.podman, builder.installation[:-1], before=later) == []
    found = await old_images(builder.podman, builder.installation, before=later)
    assert image.id in {old.id for old in found}
    for old in found:
        await remove_image(builder.podman, old)
    assert await old_images(builder.podman, builder.installation, before=later) == []
    assert (await builder.ensure()).built


async def test_row_66_images_carry_their_installation(builder: Builder) -> None:
    image = await builder.ensure()
    form = '{{index .Labels "airut.installation"}} {{index .Labels "airut.repo"}}'
    done = await builder.podman.run("image", "inspect", "--format", form, image.id)
    assert done.stdout.decode().split() == [builder.installation, "demo"]
    assert builder.installation in image.tag


async def test_row_42_the_context_is_all_that_a_build_can_copy(builder: Builder, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("host")
    builder.write("Dockerfile", DOCKERFILE + "COPY ../secret /secret\n")
    with pytest.raises(ImageBuildFailed):
        await builder.ensure()
    (builder.context / "link").symlink_to(tmp_path / "secret")
    builder.write("Dockerfile", DOCKERFILE + "COPY link /secret\n")
    with pytest.raises(ImageBuildFailed):
        await builder.ensure()


async def test_debian_trusts_the_ca_and_git_knows_the_surrogate(builder: Builder) -> None:
    cache = Path(os.environ.get("AIRUT_CACHE_DIR") or Path.home() / ".cache" / "airut")
    builder.base = await ensure_base_image(builder.podman, cache_dir=cache / "base-image")
    builder.keep_base = True
    ca = trustme.CA()
    builder.write("leaf.pem", ca.issue_cert("git.demo.example").cert_chain_pems[0].bytes().decode())
    config = git_config(
        credential_variables={"https://git.demo.example": ("x-access-token", "GIT_TOKEN")},
        user_name="Airut",
        user_email="airut@airut.example",
    )
    image = await builder.ensure(Overlay(ca.cert_pem.bytes(), config))
    output = await builder.run(
        image,
        "openssl verify /copied/leaf.pem; "
        "printf 'protocol=https\\nhost=git.demo.example\\n\\n' | GIT_TOKEN=surrogate-value git credential fill; "
        "git config user.email; git config http.sslCAInfo; "
        "git init -q /r && chown -R 1234:1234 /r && git -C /r rev-parse --git-dir",
    )
    assert "/copied/leaf.pem: OK" in output
    assert "password=surrogate-value" in output
    assert output.splitlines()[-3:] == ["airut@airut.example", "/etc/airut/ca.pem", ".git"]


async def test_build_arguments_reach_the_dockerfile_and_make_another_image(builder: Builder) -> None:
    builder.write("Dockerfile", DOCKERFILE + "ARG FLAVOUR=plain\nRUN echo $FLAVOUR > /flavour\n")
    plain = await builder.ensure()
    sweet = await builder.ensure(build_args={"FLAVOUR": "sweet"})
    assert (await builder.run(plain, "cat /flavour"), await builder.run(sweet, "cat /flavour")) == (
        "plain\n",
        "sweet\n",
    )
    assert plain.tag != sweet.tag
    assert not (await builder.ensure(build_args={"FLAVOUR": "sweet"})).built


async def test_an_image_that_is_too_old_is_built_anew_and_not_from_old_layers(builder: Builder) -> None:
    builder.write("Dockerfile", DOCKERFILE + "RUN cat /proc/sys/kernel/random/uuid > /mark\n")
    first = await builder.ensure(max_age=timedelta(days=1))
    assert not (await builder.ensure(max_age=timedelta(days=1))).built
    again = await builder.ensure(max_age=timedelta(0))
    assert again.built
    assert await builder.run(first, "cat /mark") != await builder.run(again, "cat /mark")


async def test_a_base_image_that_cannot_be_pulled_anew_is_taken_as_it_is(builder: Builder) -> None:
    """Its registry is away; the one that is here is second best, and work goes on."""
    name = f"127.0.0.1:1/airut-{secrets.token_hex(4)}:base"
    await builder.podman.run("tag", builder.base, name, timeout_seconds=30)
    try:
        builder.write("Dockerfile", f"FROM {name}\nRUN echo built > /mark\n")
        assert (await builder.ensure(max_age=timedelta(days=1))).built
        again = await builder.ensure(max_age=timedelta(0))
        assert again.built
        assert await builder.run(again, "cat /mark") == "built\n"
    finally:
        await builder.podman.run("untag", name, timeout_seconds=30)
