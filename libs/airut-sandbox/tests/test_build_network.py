"""What a build reaches: with the real engine, a real upstream and real Podman, through the command that CI uses."""

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trustme

from airut_common.contracts.v1 import new_id
from airut_egress.testing.origin import Answer, Origin
from airut_sandbox.build_network import declare_variables
from airut_sandbox.dockerfile import DockerfileRefused
from airut_sandbox.image_facts import list_images
from airut_sandbox.overlay import CA_PATH, CA_VARIABLES
from airut_sandbox.podman import Podman

from .test_standalone import HOST, REAL, Ci

DECLARED = "\n".join(f"ARG {name}={CA_PATH}" for name in CA_VARIABLES)


@dataclass
class Builder:
    ci: Ci
    origin: Origin
    mark: str = field(default_factory=new_id)
    """So that no layer comes from another test's build."""

    async def build(
        self, *steps: str, command: str = "cat /result", allowlist: str = f"domains: [{HOST}]"
    ) -> str:
        """What `command` says in the image that was built; the build's own error where there is none."""
        context = self.ci.folder / "context"
        context.mkdir(exist_ok=True)
        (context / "Dockerfile").write_text(
            "\n".join((f"FROM {self.ci.image}", f"LABEL mine={self.mark}", *steps)) + "\n"
        )
        config = {
            "credentials": {"TOKEN": {"scopes": [HOST]}},
            "sandbox": {"build_allowlist": allowlist} if allowlist else {},
            "egress": {
                "ca_file": str(self.ci.folder / "ca.pem"),
                "connect_to": {HOST: self.origin.tls_address},
            },
        }
        (self.ci.folder / "sandbox.yaml").write_text(json.dumps(config))
        options = (
            "--policy=policy.yaml",
            "--context=context",
            "--config=sandbox.yaml",
            "--events=events.jsonl",
        )
        done = await self.ci.run("sh", "-c", command, options=options, TOKEN=REAL)
        return done.stdout if done.returncode == 0 else done.stderr

    def events(self) -> list[dict]:
        return [json.loads(line) for line in (self.ci.folder / "events.jsonl").read_text().splitlines()]


@pytest.fixture
async def builder(tmp_path: Path, base_image: str, podman: Podman) -> AsyncIterator[Builder]:
    ci = Ci(tmp_path, base_image)
    async with Origin((HOST,), trustme.CA()).running() as origin:
        origin.respond = lambda seen: Answer(body=f"for {seen.header('authorization')}".encode())
        origin.write_ca(tmp_path / "ca.pem")
        found = Builder(ci, origin)
        yield found
        if images := await list_images(podman, "--all", f"--filter=label=mine={found.mark}"):
            # Thousands of old images make every later question slow.
            await podman.run("rmi", "--ignore", *{image["Id"] for image in images}, check=False)


@pytest.mark.integration
async def test_a_step_reaches_what_the_operator_allowed_and_proves_it(builder: Builder) -> None:
    said = await builder.build(f"RUN curl -sS --retry 0 https://{HOST}/package > /result")
    assert said == "for None\n"
    (seen,) = builder.origin.seen
    assert seen.target == "/package"
    (request,) = [event for event in builder.events() if event["kind"] == "request"]
    assert (request["host"], request["decision"]) == (HOST, "allow")


@pytest.mark.integration
async def test_a_second_build_takes_what_is_there_and_asks_for_no_network(builder: Builder) -> None:
    step = f"RUN curl -sS https://{HOST}/once > /result"
    assert await builder.build(step) == await builder.build(step) == "for None\n"
    assert len(builder.origin.seen) == 1


@pytest.mark.integration
async def test_row_73_everything_else_is_refused_and_told(builder: Builder) -> None:
    code = "curl -s -o /dev/null -m 5 -w '%{http_code} '"
    said = await builder.build(
        f"RUN {code} https://evil.example/ > /result;"
        f" {code} https://1.1.1.1/ >> /result; {code} -g 'https://[2606:4700::1]/' >> /result;"
        f" {code} http://169.254.169.254/ >> /result; {code} http://127.0.0.1:4222/ >> /result;"
        " getent hosts evil.example >/dev/null; cat /etc/resolv.conf >> /result"
    )
    codes, _, resolver = said.partition("nameserver")
    assert codes.split() == ["403", "000", "000", "403", "000"], said
    assert resolver.split() == ["198.18.0.1"]
    assert builder.origin.seen == []
    events = builder.events()
    denied = {(event["host"], event["reason"]) for event in events if event["decision"] == "deny"}
    assert denied == {
        ("evil.example", "host"),
        ("1.1.1.1", "literal"),
        ("2606:4700::1", "literal"),
        ("169.254.169.254", "literal"),
    }
    asked = {(event["host"], event["method"]) for event in events if event["kind"] == "dns"}
    assert ("evil.example", "A") in asked


@pytest.mark.integration
async def test_a_build_gets_no_credential_and_a_surrogate_is_worth_nothing_in_it(builder: Builder) -> None:
    said = await builder.build("RUN env > /result; cat /proc/1/environ >> /result")
    assert "TOKEN" not in said
    assert "ghp_" not in said
    surrogate = await builder.build("RUN true > /result", command="echo $TOKEN")
    await builder.build(
        f"RUN curl -sS -H 'Authorization: Bearer {surrogate.strip()}' https://{HOST}/ > /result"
    )
    assert [REAL in str(seen) for seen in builder.origin.seen] == [False] * len(builder.origin.seen)


@pytest.mark.integration
async def test_steps_cannot_change_the_rules_of_their_namespace(builder: Builder) -> None:
    said = await builder.build(
        "RUN grep CapEff /proc/self/status > /result; grep Seccomp: /proc/self/status >> /result;"
        " python3 -c 'import socket; socket.socket(17, 3)' 2>&1 | tail -1 >> /result"
    )
    effective, seccomp, packet = said.splitlines()
    rights = int(effective.split()[1], 16)
    assert rights & (1 << 12 | 1 << 13 | 1 << 21) == 0, "neither NET_ADMIN nor NET_RAW nor SYS_ADMIN"
    assert seccomp.split()[1] == "2"
    assert "Error" in packet


@pytest.mark.integration
async def test_nothing_of_it_is_left_in_the_image_or_on_the_host(builder: Builder, podman: Podman) -> None:
    steps = (f"RUN curl -sS https://{HOST}/ > /result", "ENV MINE=1")
    said = await builder.build(
        *steps, command="env | cut -d= -f1 | sort; ls /etc/airut; cat /etc/airut/ca.pem"
    )
    assert "BEGIN CERTIFICATE" in said
    # Others on this host build, and remove, images of such names.
    ours = ("--filter=reference=localhost/airut/standalone/*", f"--filter=label=mine={builder.mark}")
    ids = {image["Id"] for image in await list_images(podman, *ours)}
    assert ids
    for image in json.loads((await podman.run("image", "inspect", *ids)).stdout):
        config = image["Config"]
        assert not [entry for entry in config.get("Env", ()) if entry.partition("=")[0] in CA_VARIABLES]
        assert not config.get("Volumes")
    # Others on this host may have containers of the same labels: ours are those whose folders the run kept.
    assert not list((builder.ci.folder / ".cache/airut-sandbox/podman/sandboxes").iterdir())


@pytest.mark.integration
async def test_a_build_ends_with_its_namespace(builder: Builder, podman: Podman) -> None:
    """Its later steps would be put into whatever process got the number."""
    step = f"sleep 600.{int(builder.mark[:8], 16)}"
    building = asyncio.create_task(builder.build(f"RUN {step}"))
    async with asyncio.timeout(90):
        while not runs(step):
            assert not building.done(), building.result()
            await asyncio.sleep(0.1)
        (holder,) = (builder.ci.folder / ".cache/airut-sandbox/podman/sandboxes").iterdir()
        found = await podman.run("inspect", "--format={{.State.Pid}}", holder.name)
        os.kill(int(found.stdout), signal.SIGKILL)
        assert "the network of the build ended" in await building
        while runs(step):
            await asyncio.sleep(0.1)


def runs(command: str) -> bool:
    """Whether some process was started with these words."""
    wanted = command.replace(" ", "\0").encode() + b"\0"
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if file.read_bytes() == wanted:
                return True
    return False


@pytest.mark.integration
async def test_without_an_allowlist_there_is_no_network(builder: Builder) -> None:
    said = await builder.build(
        f"RUN curl -s -m 5 https://{HOST}/ > /result || echo none > /result", allowlist=""
    )
    assert said == "none\n"
    assert builder.origin.seen == []


@pytest.mark.integration
async def test_an_allowlist_that_does_not_validate_is_named(builder: Builder) -> None:
    said = await builder.build("RUN true > /result", allowlist="domain: [x]")
    assert "sandbox.build_allowlist:1: domain: unknown key; did you mean `domains`?" in said


# -- the file that is built -----------------------------------------------------------------------------------


def test_every_stage_knows_the_authority() -> None:
    text = "# from\nARG X=1\nFROM a AS b\nRUN x && \\\n    # FROM c\n    y\n\nfrom d\nCOPY --from=b / /\n"
    expected = text.replace("FROM a AS b", f"FROM a AS b\n{DECLARED}").replace(
        "\nfrom d", f"\nfrom d\n{DECLARED}"
    )
    assert declare_variables(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "FROM \\\n a\n",
        "FROM a\nRUN echo \\\nFROM b\n",
        "FROM a\nRUN echo \\\n\n# x\nFROM b\n",
        "FROM a\nRUN cat <<EOF > /f\nFROM b\nEOF\n",
        "# escape=`\nFROM a\n",
    ],
)
def test_where_a_stage_begins_has_to_be_certain(text: str) -> None:
    with pytest.raises(DockerfileRefused, match="where builds have a network"):
        declare_variables(text)
