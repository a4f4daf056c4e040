"""The world as a whole: opened, shared by nobody, and gone afterwards."""

import asyncio
from pathlib import Path

import pytest

from airut_demo.world.world import API_KEY_PREFIX, EXFIL_NAME, GIT_NAME, MODEL_NAME, REPOSITORY, open_world


async def test_two_worlds_share_nothing(tmp_path: Path) -> None:
    async with open_world(tmp_path / "one", ()) as one, open_world(tmp_path / "other", ()) as other:
        assert set(one.connect_to()) == {EXFIL_NAME, GIT_NAME, MODEL_NAME}
        assert not set(one.connect_to().values()) & set(other.connect_to().values())
        assert one.git_token != other.git_token
        assert one.api_key != other.api_key
        assert one.api_key.startswith(API_KEY_PREFIX)
        assert one.domain.record != other.domain.record


async def test_files_are_added_to_the_sample_repository(tmp_path: Path) -> None:
    async with open_world(tmp_path, (), files={"extra/notes.txt": "a note\n"}) as world:
        process = await asyncio.create_subprocess_exec(
            *("git", "-C", str(world.bare_repository), "ls-tree", "-r", "--name-only", "main"),
            stdout=asyncio.subprocess.PIPE,
        )
        listed, _ = await asyncio.wait_for(process.communicate(), 30)
        assert world.bare_repository.name == f"{REPOSITORY}.git"
    assert {".airut/network-allowlist.yaml", ".airut/container/Dockerfile", "extra/notes.txt"} <= set(
        listed.decode().split()
    )


async def test_nobody_answers_afterwards(tmp_path: Path) -> None:
    async with open_world(tmp_path, ()) as world:
        addresses = [*world.connect_to().values(), world.mail_address, world.resolver]
    for address in addresses:
        host, _, port = address.rpartition(":")
        with pytest.raises(OSError):
            await asyncio.open_connection(host, int(port))
