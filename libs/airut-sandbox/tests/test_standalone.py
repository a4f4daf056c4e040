"""`airut-sandbox run` as CI calls it: a real container, a real upstream, the real command."""

import asyncio
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trustme

from airut_common.config.yamlfile import ConfigError
from airut_egress.testing.origin import Answer, Origin
from airut_sandbox.podman import Podman
from airut_sandbox.standalone import MissingSecrets, SandboxFile, read_settings
from airut_sandbox.standalone.settings import take_secrets

HOST = "api.example.test"
REAL = "ghp_realrealreal0123456789REALREALREAL01"


class Ci:
    """A checkout, and the command."""

    def __init__(self, folder: Path, image: str) -> None:
        self.folder = folder
        self.image = image
        (folder / "policy.yaml").write_text(f"domains: [{HOST}]\n")

    async def run(
        self, *command: str, options: tuple[str, ...] = (), **environment: str
    ) -> subprocess.CompletedProcess[str]:
        process = await self.start(*command, options=options, **environment)
        out, err = await process.communicate()
        return subprocess.CompletedProcess([], process.returncode or 0, out.decode(), err.decode())

    async def start(
        self, *command: str, options: tuple[str, ...] = (), **environment: str
    ) -> asyncio.subprocess.Process:
        arguments = options or ("--policy=policy.yaml", f"--image={self.image}", "--config=sandbox.yaml")
        return await asyncio.create_subprocess_exec(
            sys.executable, "-c", "from airut_sandbox.cli import main; main()", "run", *arguments, "--", *command,
            cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(self.folder), **environment},
        )  # fmt: skip


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ci(tmp_path: Path, base_image: str) -> Ci:
    return Ci(tmp_path, base_image)


@pytest.mark.integration
async def test_a_command_with_its_network_and_a_credential(ci: Ci, authority: trustme.CA) -> None:
    async with Origin((HOST,), authority).running() as origin:
        origin.respond = lambda seen: Answer(body=f"you are {seen.header('authorization')}".encode())
        ca_file = origin.write_ca(ci.folder / "ca.pem")
        (ci.folder / "sandbox.yaml").write_text(
            f"credentials:\n  TOKEN: {{scopes: [{HOST}]}}\n"
            f"egress:\n  ca_file: {ca_file}\n  connect_to: {{{HOST}: '{origin.tls_address}'}}\n"
        )
        script = (
            f'curl -sS -H "Authorization: Bearer $TOKEN" https://{HOST}/; echo; echo "$TOKEN"; echo late >&2;'
            "curl -s -o /dev/null -w '%{http_code}' https://evil.example/; touch /workspace/made; exit 7"
        )
        done = await ci.run(
            "sh", "-c", script,
            options=("--policy=policy.yaml", f"--image={ci.image}", "--config=sandbox.yaml", "--events=events.jsonl"),
            TOKEN=REAL,
        )  # fmt: skip
    answer, token, late, denied = done.stdout.splitlines()
    assert done.returncode == 7, done.stderr
    assert (answer, late, denied) == (f"you are Bearer {token}", "late", "403")
    assert token != REAL
    assert token.startswith("ghp_")
    assert origin.seen[0].header("authorization") == f"Bearer {REAL}"
    assert (ci.folder / "made").exists()
    assert "2 requests, 1 refused" in done.stderr
    assert "refused evil.example: host" in done.stderr
    lines = [json.loads(line) for line in (ci.folder / "events.jsonl").read_text().splitlines()]
    requests = [(line["host"], line["decision"]) for line in lines if line["kind"] == "request"]
    assert requests == [(HOST, "allow"), ("evil.example", "deny")]
    assert [line["seq"] for line in lines] == list(range(len(lines)))
    assert REAL not in (ci.folder / "events.jsonl").read_text() + done.stdout + done.stderr


@pytest.mark.integration
async def test_a_signal_ends_it_and_nothing_stays(ci: Ci, podman: Podman) -> None:
    (ci.folder / "sandbox.yaml").write_text("limits: {timeout_seconds: 60}\n")
    process = await ci.start("sh", "-c", "echo running; sleep 1000")
    assert process.stdout is not None
    assert await asyncio.wait_for(process.stdout.readline(), 60) == b"running\n"
    process.send_signal(signal.SIGTERM)
    _, err = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 143, err
    assert b"the sandbox is gone" in err
    listed = await podman.run("ps", "--all", "--format={{.Labels}}", "--filter=label=airut.installation")
    assert b"standalone" not in listed.stdout


@pytest.mark.integration
async def test_time_and_images(ci: Ci) -> None:
    (ci.folder / "sandbox.yaml").write_text("limits: {timeout_seconds: 10}\n")
    context = ci.folder / "context"
    context.mkdir()
    (context / "Dockerfile").write_text("FROM localhost/nobody-has-this:1\n")
    late, unbuilt = await asyncio.gather(
        ci.run("sleep", "1000"), ci.run("true", options=("--policy=policy.yaml", "--context=context"))
    )
    assert (late.returncode, "stopped after 10 seconds" in late.stderr) == (124, True)
    assert unbuilt.returncode == 125
    assert "localhost/nobody-has-this:1 could not be pulled" in unbuilt.stderr


@pytest.mark.integration
async def test_a_full_disk_is_told(ci: Ci) -> None:
    (ci.folder / "sandbox.yaml").write_text("limits: {timeout_seconds: 60, disk_mib: 64}\n")
    done = await ci.run("dd", "if=/dev/zero", "of=/workspace/f", "bs=1M", "count=20000")
    assert done.returncode == 137
    assert "stopped because it took more of the disk than the 64 MiB that it may" in done.stderr


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("--policy=missing.yaml", "--image=x"), "missing.yaml"),
        (("--policy=policy.yaml",), "give either --image or --context"),
        (("--policy=bad.yaml", "--image=x"), "bad.yaml:1: domain: unknown key; did you mean `domains`?"),
        (("--policy=policy.yaml", "--image=x", "--config=bad.yaml"), "bad.yaml:1: domain: unknown key"),
    ],
)
async def test_what_is_wrong_is_said(tmp_path: Path, options: tuple[str, ...], text: str) -> None:
    (tmp_path / "bad.yaml").write_text("domain: [x]\n")
    done = await Ci(tmp_path, "").run("true", options=options)
    assert done.returncode == 2
    assert text in done.stderr


def test_values_come_from_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "sandbox.yaml"
    file.write_text("credentials:\n  T: {scopes: [a.b]}\n  K: {type: aws-sigv4, scopes: [c.d]}\n")
    settings = read_settings(file)
    values = {"T": "one", "K": "two", "AWS_SECRET_ACCESS_KEY": "three", "OTHER": "four"}
    found = take_secrets(settings, values)
    assert {
        name: {part: value.reveal() for part, value in parts.items()} for name, (_, parts) in found.items()
    } == {
        "T": {"T": "one"},
        "K": {"K": "two", "AWS_SECRET_ACCESS_KEY": "three"},
    }
    with pytest.raises(MissingSecrets, match="AWS_SECRET_ACCESS_KEY, K"):
        take_secrets(settings, {"T": "one", "K": ""})
    assert read_settings(None) == SandboxFile()
    file.write_text("credentials: {T: {scopes: x}}\n")
    with pytest.raises(ConfigError, match=r"sandbox\.yaml:1"):
        read_settings(file)


def test_the_example_of_the_documentation(tmp_path: Path) -> None:
    text = (Path(__file__).parents[3] / "docs" / "ci.md").read_text()
    file = tmp_path / "sandbox.yaml"
    file.write_text(text.partition("```yaml\n")[2].partition("```")[0])
    assert list(read_settings(file).credentials) == ["GITHUB_TOKEN"]
