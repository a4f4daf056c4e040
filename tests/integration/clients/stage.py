"""One sandbox in which programs do their work one after the other, with surrogates alone."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from airut_common.contracts.v1 import EgressEvent
from airut_sandbox.standalone import Asked, SandboxFile, run_command

from .image import clients_cache

#: Each program gets a folder of its own; what it printed and its exit code are found beside each other.
_RUN_ALL = """\
mkdir /workspace/out && env --null > /workspace/out/env
for program in /workspace/programs/*; do
    name=$(basename "${program%.*}")
    case $program in
        *.sh) interpreter='bash -eu -o pipefail';;
        *.py) interpreter=python3;;
        *.mjs) interpreter=node;;
    esac
    mkdir "/tmp/$name" && cd "/tmp/$name"
    timeout 60 $interpreter "$program" > "/workspace/out/$name.txt" 2>&1 < /dev/null
    echo $? > "/workspace/out/$name.code"
done
"""


@dataclass
class Recorder(list[EgressEvent]):
    """An event sink."""

    def record(self, event: EgressEvent) -> None:
        """Keep it."""
        self.append(event)


@dataclass(frozen=True)
class Played:
    """What came of all programs."""

    codes: Mapping[str, int]
    """Program to exit code."""
    output: Mapping[str, str]
    """Program to what it printed."""
    environment: Mapping[str, str]
    """Of the sandbox."""
    events: list[EgressEvent] = field(default_factory=list)

    def requests(self) -> list[EgressEvent]:
        """How requests ended, in that order."""
        return [event for event in self.events if event.kind == "request" and event.decision != "info"]


async def play(
    programs: Path,
    folder: Path,
    *,
    image: str,
    policy: str,
    settings: Mapping[str, object],
    secrets: Mapping[str, str],
) -> Played:
    """Run each file of `programs` in one sandbox.

    Args:
        folder: for the workspace.
        settings: as in the file of `airut-sandbox run`.
        secrets: the real values.
    """
    workspace = folder / "workspace"
    shutil.copytree(programs, workspace / "programs", ignore=shutil.ignore_patterns("__pycache__"))
    recorder = Recorder()
    lines: list[bytes] = []

    async def take(line: bytes) -> None:
        lines.append(line)

    asked = Asked(
        command=("bash", "-c", _RUN_ALL),
        policy=policy,
        policy_source="policy",
        workspace=workspace,
        settings=SandboxFile.model_validate(settings, strict=False),
        image=image,
        environment=secrets,
    )
    # The authority that is kept there is the same each time, and so is the image that has it.
    (state := clients_cache() / "state").mkdir(mode=0o700, parents=True, exist_ok=True)
    ended = await run_command(asked, state, recorder, take)
    assert (ended.code, lines) == (0, []), (ended, lines)
    out = workspace / "out"
    return Played(
        codes={file.stem: int(file.read_text()) for file in out.glob("*.code")},
        output={file.stem: file.read_text() for file in out.glob("*.txt")},
        environment=dict(pair.split("=", 1) for pair in (out / "env").read_text().split("\0") if pair),
        events=list(recorder),
    )
