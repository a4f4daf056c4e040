"""Large files and submodules: the host makes the workspace without them, the sandbox gets them through the proxy."""

import base64
from pathlib import Path

import pytest
import pytest_asyncio

from airut_common.secrets import Secret
from airut_sandbox.mirror import Mirror
from airut_sandbox.overlay import git_config
from airut_sandbox.podman import Podman
from airut_sandbox.testing.containers import base_image, podman
from airut_sandbox.testing.git_server import run_git
from airut_sandbox.testing.lfs_server import oid_of, pointer
from airut_sandbox.workspace import create_workspace

from .clients.git_hosts import (
    AWAY,
    GIT,
    GIT_SECRETS,
    LARGE,
    OTHER,
    STORE,
    STORED,
    SUBMODULES,
    UNKNOWN,
    GitHosts,
    open_git_hosts,
)
from .clients.image import ensure_clients_image
from .clients.stage import Played, play

__all__ = ["base_image", "podman"]

pytestmark = [
    pytest.mark.integration,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(900),  # the image may have to be built first
]

PROGRAMS = Path(__file__).parent / "clients" / "git_programs"
POLICY = f"""\
url_prefixes:
  - {{host: {GIT}, path: /demo.git/*}}
  - {{host: {GIT}, path: /part.git/info/refs}}
  - {{host: {GIT}, path: /part.git/git-upload-pack}}
  - {{host: {OTHER}, path: /part.git/*}}
  - {{host: {STORE}, path: /demo/*, methods: [GET]}}
"""
SAID = {
    "lfs_pull": (0, f"{oid_of(LARGE)}  large.bin\n{oid_of(STORED)}  stored.bin\n"),
    "lfs_push": (0, "Uploading LFS objects: 100%"),
    "lfs_refused": (2, "LFS: The network allowlist has no rule for this host."),
    "submodules": (0, "from the part\n" * 3),
    "submodules_elsewhere": (0, "from the part\n"),
    # Git says no more when its second request is the one that is refused.
    "submodules_push": (1, "HTTP 403"),
    "submodules_refused": (1, "remote: The network allowlist has no rule for this host."),
    "submodules_refused_path": (1, "remote: The network allowlist allows this host, but not this path."),
}
"""Program to its exit code, and what it prints among other things."""


async def make_workspace(hosts: GitHosts, folder: Path) -> None:
    """As for the first message of a conversation."""
    url = f"https://{GIT}/demo.git"
    mirror = Mirror(folder / "mirror.git", url, hosts.ca_file, connect_to=hosts.connect_to)
    head = await mirror.fetch("x-access-token", Secret(GIT_SECRETS["GIT_TOKEN"]))
    (folder / "workspace").mkdir()
    await create_workspace(mirror, head, folder / "workspace" / "demo", url)
    assert not any("/info/lfs/" in path or "/part.git/" in path for path in hosts.git.requests)
    assert (hosts.lfs.taken, hosts.other.requests, hosts.store.seen) == ([], [], [])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def played(
    tmp_path_factory: pytest.TempPathFactory, podman: Podman, base_image: str
) -> tuple[Played, GitHosts]:
    """All programs have run, in one workspace."""
    folder = tmp_path_factory.mktemp("git")
    image = await ensure_clients_image(podman, base_image)
    async with open_git_hosts(folder) as hosts:
        await make_workspace(hosts, folder)
        # What a task's image has in /etc/airut.
        variables = {f"https://{GIT}": ("x-access-token", "GIT_TOKEN")}
        config = git_config(credential_variables=variables, user_name="Airut", user_email="airut@localhost")
        (folder / "workspace" / "gitconfig").write_text(config)
        settings = {
            "credentials": {"GIT_TOKEN": {"scopes": [GIT]}, "THEME_TOKEN": {"scopes": [OTHER]}},
            "environment": {"GIT_CONFIG_GLOBAL": "/workspace/gitconfig"},
            "egress": {"ca_file": str(hosts.ca_file), "connect_to": hosts.connect_to},
        }
        done = await play(
            PROGRAMS, folder, image=image, policy=POLICY, settings=settings, secrets=GIT_SECRETS
        )
    return done, hosts


async def test_every_program_is_looked_at(played: tuple[Played, GitHosts]) -> None:
    assert played[0].codes.keys() == SAID.keys()


@pytest.mark.parametrize("program", SAID)
async def test_it_ends_as_it_should(played: tuple[Played, GitHosts], program: str) -> None:
    done, _ = played
    code, text = SAID[program]
    assert done.codes[program] == code, done.output[program]
    assert text in done.output[program]


async def test_the_host_left_a_pointer_and_the_sandbox_a_clean_workspace(
    played: tuple[Played, GitHosts],
) -> None:
    done, hosts = played
    begin, end = pointer(LARGE), SAID["lfs_pull"][1]
    assert done.output["lfs_pull"].startswith(begin)
    assert done.output["lfs_pull"].endswith(end)
    assert hosts.lfs.taken == [oid_of(LARGE)]


async def test_what_was_pushed_is_there(played: tuple[Played, GitHosts]) -> None:
    done, hosts = played
    digests = dict(line.split("  ")[::-1] for line in done.output["lfs_push"].splitlines()[-2:])
    assert {name: len(hosts.lfs.objects[oid]) for name, oid in digests.items()} == {
        "new.bin": 3_000_000,
        "small.bin": 6,
    }
    committed = run_git("show", "from-the-sandbox:new.bin", cwd=hosts.root / "demo.git")
    assert committed == pointer(hosts.lfs.objects[digests["new.bin"]])


async def test_only_what_is_refused_is_a_denied_event(played: tuple[Played, GitHosts]) -> None:
    done, _ = played
    denied = {(event.host, event.path, event.reason) for event in done.requests() if event.decision == "deny"}
    assert denied == {
        (UNKNOWN, "/object", "host"),
        (UNKNOWN, "/part.git/info/refs", "host"),
        (GIT, "/private.git/info/refs", "path"),
        (GIT, "/part.git/git-receive-pack", "path"),
    }


async def test_objects_and_answers_went_with_the_credential(played: tuple[Played, GitHosts]) -> None:
    done, _ = played
    moved = [event for event in done.requests() if "/info/lfs/stored/" in event.path]
    assert [(event.method, event.status, event.credentials) for event in moved] == [
        ("GET", 200, ("GIT_TOKEN",)),
        ("PUT", 200, ("GIT_TOKEN",)),
        ("PUT", 200, ("GIT_TOKEN",)),
    ]
    batches = [event for event in done.requests() if event.path.endswith("/objects/batch")]
    assert any("scrubbed" in event.tags for event in batches), "the server repeats the real credential"


async def test_each_side_knows_its_own_credential_alone(played: tuple[Played, GitHosts]) -> None:
    done, hosts = played
    everything = "\n".join([*done.output.values(), *done.environment.values()])
    for name, host in (("GIT_TOKEN", hosts.git), ("THEME_TOKEN", hosts.other)):
        real = base64.b64encode(f"x-access-token:{GIT_SECRETS[name]}".encode()).decode()
        # Clients begin without one.
        assert set(host.authorizations) == {"", f"Basic {real}"}
        assert GIT_SECRETS[name] not in everything
        assert done.environment[name] != GIT_SECRETS[name]
    assert [seen.header("authorization") for seen in hosts.store.seen] == [None]


async def test_what_was_refused_is_not_there(played: tuple[Played, GitHosts]) -> None:
    _, hosts = played
    demo = hosts.root.parent / "workspace" / "demo"
    there = {name for name in SUBMODULES if (demo / name / "part.txt").exists()}
    assert there == {"part", "beside", "by-ssh", "theme"}
    oid = oid_of(AWAY)
    assert not (demo / ".git" / "lfs" / "objects" / oid[:2] / oid[2:4] / oid).exists()
    assert "from-the-sandbox" not in run_git("for-each-ref", cwd=hosts.root / "part.git")
