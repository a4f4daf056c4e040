"""Real containers: what goes in and out, and that nothing stays. Field-notes rows 9, 44, 64, 65, 66."""

import asyncio
import os
import secrets
import signal
import time
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from airut_sandbox import sandbox as sandbox_module
from airut_sandbox.container import Mount, open_sandbox, remove_leftovers
from airut_sandbox.creation import create_container
from airut_sandbox.errors import SandboxError
from airut_sandbox.podman import Podman
from airut_sandbox.streams import CUT_MARK, MAX_LINE_BYTES, STDERR_TAIL_BYTES
from airut_sandbox.testing.containers import LIMITS, Bench, Output

pytestmark = pytest.mark.integration


async def test_prompt_in_lines_and_exit_code_out(bench: Bench) -> None:
    done, text = await bench.run(
        bench.shell("cat; echo last; printf unfinished; echo oops >&2; exit 7"), stdin=b"one\ntwo\n"
    )
    assert text.splitlines() == ["one", "two", "last", "unfinished"]
    assert (done.code, done.timed_out, done.oom_killed, done.stopped) == (7, False, False, False)
    assert done.stderr_tail == b"oops\n"
    assert await bench.containers() == []


async def test_a_large_prompt_arrives_whole(bench: Bench) -> None:
    _, text = await bench.run(bench.shell("wc -c"), stdin=b"x" * 5_000_000)
    assert text.strip() == "5000000"


async def test_a_command_may_ignore_its_prompt(bench: Bench) -> None:
    done, _ = await bench.run(bench.spec("true"), stdin=b"x" * 5_000_000)
    assert done.code == 0


async def test_environment_is_ours_alone_and_exact(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:1")
    monkeypatch.setenv("AIRUT_CANARY", "of the host")
    values = {
        "PLAIN": "a b",
        "ODD": 'it\'s "quoted" #=\\ $HOME ',
        "EMPTY": "",
        "UMLAUT": "ü",
        "HOME": "/root",
    }
    _, text = await bench.run(bench.spec("env", "-0", environment=values))
    given = dict(entry.split("=", 1) for entry in text.split("\0") if entry)
    assert values.items() <= given.items()
    assert set(given) - set(values) <= {"PATH", "HOSTNAME", "container", "TERM"}


async def test_nothing_of_the_host_is_inside(bench: Bench) -> None:
    """Row 9: no inherited descriptors, no sockets of the host, names of our own."""
    script = "ls /proc/self/fd | wc -l; hostname; cat /etc/hosts /etc/resolv.conf; find / -xdev -type s; ls /run; id -u"
    done, text = await bench.run(bench.shell(script))
    lines = text.splitlines()
    assert done.code == 0
    # ls itself has one more open: the folder that it lists.
    assert lines[0] == "4"
    assert lines[1] == "sandbox"
    assert "nameserver 198.18.0.1" in lines
    assert "/run/" not in text
    assert lines[-1] == "0"


async def test_small_files_of_ours_are_read_only(bench: Bench) -> None:
    """Row 44: no way to fill the host's disk through a file that is not a mount of the task."""
    script = "for f in /etc/hosts /etc/resolv.conf /etc/hostname /run/.containerenv; do (echo x > $f) 2>/dev/null && echo wrote $f; done; true"
    _, text = await bench.run(bench.shell(script))
    assert text == ""


async def test_before_it_is_attached_there_is_no_network(bench: Bench) -> None:
    _, text = await bench.run(
        bench.shell("curl -sS -m 5 http://192.0.2.1/ 2>&1; cat /proc/net/route | wc -l")
    )
    assert "Couldn't connect" in text
    assert text.splitlines()[-1] == "1"


async def test_mounts_are_what_was_asked_for(bench: Bench) -> None:
    odd = bench.workspace / 'comma,quote"blank '
    odd.mkdir()
    (odd / "file").write_text("content")
    spec = bench.shell(
        "cat /odd/file; (echo x > /odd/new) 2>/dev/null || echo refused; echo made > /workspace/out",
        mounts=(Mount(bench.workspace, "/workspace"), Mount(odd, "/odd", read_only=True)),
    )
    _, text = await bench.run(spec)
    assert text == "contentrefused"
    assert (bench.workspace / "out").read_text() == "made\n"


async def test_orphans_are_reaped(bench: Bench) -> None:
    if bench.podman.init_program is None:
        pytest.fail("catatonit is needed for this test")
    script = "(sleep 0.01 &) ; sleep 0.3; grep -l '^State:.Z' /proc/[0-9]*/status | wc -l"
    _, text = await bench.run(bench.shell(script))
    assert text == "0"


async def test_deadline_ends_it(bench: Bench) -> None:
    begun = time.monotonic()
    done, text = await bench.run(bench.shell("echo before; sleep 1000"), timeout_seconds=1)
    assert (done.timed_out, done.stopped, done.code) == (True, False, 128 + signal.SIGTERM)
    assert text == "before"
    assert time.monotonic() - begun < 10
    assert await bench.containers() == []


async def test_a_command_that_ignores_sigterm_is_killed_with_its_children(bench: Bench) -> None:
    """Row 44: fork at teardown."""
    script = (
        "trap '' TERM; (trap '' TERM; while :; do date > /workspace/alive; sleep 0.01; done) & echo up; wait"
    )
    async with open_sandbox(bench.podman, bench.shell(script)) as sandbox:
        up = asyncio.Event()

        async def on_line(line: bytes) -> None:
            assert line == b"up"
            up.set()

        running = asyncio.create_task(sandbox.run(b"", on_line, 60))
        await asyncio.wait_for(up.wait(), 10)
        await sandbox.stop()
        done = await running
        assert (done.stopped, done.timed_out, done.code) == (True, False, 128 + signal.SIGKILL)
        alive = bench.workspace / "alive"
        alive.unlink(missing_ok=True)
        await asyncio.sleep(0.1)  # long enough for a survivor to write again
        assert not alive.exists()


@pytest.mark.parametrize("delay", [0.0, 0.02, 0.06, 0.1, 0.3])
async def test_stop_while_it_starts_and_runs(bench: Bench, delay: float) -> None:
    """Row 64: stop reaches the container itself, at whatever moment it comes."""
    async with open_sandbox(bench.podman, bench.spec()) as sandbox:
        running = asyncio.create_task(sandbox.run(b"", Output(), 60))
        await asyncio.sleep(delay)
        await sandbox.stop()
        done = await asyncio.wait_for(running, 20)
    assert done.stopped
    assert await bench.containers() == []


async def test_a_sandbox_that_died_before_its_start_is_not_made_again(bench: Bench) -> None:
    """Podman would start a second process, which nobody checked and which has no network."""
    async with open_sandbox(bench.podman, bench.shell("sleep 1000")) as sandbox:
        os.kill(sandbox.pid, signal.SIGKILL)
        with pytest.raises(SandboxError, match="died"):
            await sandbox.run(b"prompt", Output(), 60)
    assert await bench.containers() == []


async def test_a_sandbox_that_dies_while_its_disk_is_looked_at_has_died(bench: Bench, monkeypatch) -> None:
    async with open_sandbox(bench.podman, bench.shell("sleep 1000")) as sandbox:
        look = sandbox_module.open_disk_watch

        def look_too_late(*args, pid: int, **options):
            os.kill(pid, signal.SIGKILL)
            while Path(f"/proc/{pid}/root/proc").exists():
                time.sleep(0.01)
            return look(*args, pid=pid, **options)

        monkeypatch.setattr(sandbox_module, "open_disk_watch", look_too_late)
        with pytest.raises(SandboxError, match="died"):
            await sandbox.run(b"prompt", Output(), 60)
    assert await bench.containers() == []


async def test_stop_before_it_runs_and_after_it_ended(bench: Bench) -> None:
    async with open_sandbox(bench.podman, bench.shell("echo never > /workspace/ran")) as sandbox:
        await sandbox.stop()
        done = await sandbox.run(b"", Output(), 60)
        assert done.stopped
    assert not (bench.workspace / "ran").exists()
    async with open_sandbox(bench.podman, bench.spec("true")) as sandbox:
        done = await sandbox.run(b"", Output(), 60)
        assert (done.code, done.stopped) == (0, False)
        await sandbox.stop()
    await sandbox.stop()


async def test_a_sandbox_runs_once(bench: Bench) -> None:
    async with open_sandbox(bench.podman, bench.spec("true")) as sandbox:
        await sandbox.run(b"", Output(), 60)
        with pytest.raises(SandboxError, match="once"):
            await sandbox.run(b"", Output(), 60)


@pytest.mark.parametrize("delay", [0.0, 0.05, 0.15, 0.3, 0.6])
async def test_cancelled_at_any_moment_nothing_stays(bench: Bench, delay: float) -> None:
    async def whole() -> None:
        await bench.run(bench.spec(), timeout_seconds=60)

    task = asyncio.create_task(whole())
    await asyncio.sleep(delay)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 30)
    assert await bench.containers() == []
    assert not [
        path for path in (bench.podman.state_dir / "sandboxes").glob("*") if path.name in task.get_name()
    ]


async def test_an_error_of_the_receiver_ends_the_command(bench: Bench) -> None:
    async def fail(line: bytes) -> None:
        raise ValueError(line.decode())

    with pytest.raises(ValueError, match="hello"):
        await bench.run(bench.shell("echo hello; sleep 1000"), on_line=fail)
    assert await bench.containers() == []


async def test_a_flood_without_a_line_end_is_cut(bench: Bench) -> None:
    """Row 44: log flood."""
    sizes: list[tuple[int, bytes]] = []

    async def on_line(line: bytes) -> None:
        sizes.append((len(line), line[-len(CUT_MARK) :]))

    script = "head -c 60000000 /dev/zero | tr '\\0' a; echo; echo next"
    await bench.run(bench.shell(script), on_line=on_line)
    assert sizes == [(MAX_LINE_BYTES + len(CUT_MARK), CUT_MARK), (4, b"next")]


async def test_a_slow_receiver_loses_nothing(bench: Bench) -> None:
    """The command waits; nothing is buffered without bound and nothing is dropped."""
    seen = 0

    async def slow(line: bytes) -> None:
        nonlocal seen
        seen += 1
        assert int(line) == seen
        if seen % 20000 == 0:
            await asyncio.sleep(0.1)

    await bench.run(bench.spec("seq", "1", "200000"), on_line=slow)
    assert seen == 200000


async def test_only_the_tail_of_the_errors_is_kept(bench: Bench) -> None:
    done, _ = await bench.run(bench.shell("seq 1 300000 >&2; echo the end >&2; exit 1"))
    assert len(done.stderr_tail) == STDERR_TAIL_BYTES
    assert done.stderr_tail.endswith(b"300000\nthe end\n")


async def test_limits_hold_or_nobody_says_they_do(bench: Bench) -> None:
    """Row 44. Where the host cannot enforce limits, the sandbox says so."""
    spec = bench.spec(
        "python3", "-c", "x = bytearray(1 << 30)", limits=LIMITS.model_copy(update={"memory_mib": 128})
    )
    async with open_sandbox(bench.podman, spec) as sandbox:
        assert sandbox.limits_enforced is bench.podman.limits_enforced
        done = await sandbox.run(b"", Output(), 30)
    assert done.oom_killed is bench.podman.limits_enforced
    assert (done.code == 137) is bench.podman.limits_enforced


async def test_a_fork_bomb_stays_inside(bench: Bench) -> None:
    if not bench.podman.limits_enforced:
        return  # the test above has shown that the sandbox says so
    script = "for i in $(seq 200); do sleep 30 & done 2>/dev/null; echo not reached"
    done, text = await bench.run(bench.shell(script), timeout_seconds=20)
    assert text == ""
    assert done.code != 0


async def test_leftovers_of_one_installation_only(bench: Bench, podman: Podman, base_image: str) -> None:
    """Row 66: ownership by label, exactly; a pattern or a prefix of another's name is not ours."""
    other = Bench(podman, base_image, bench.workspace, installation=f"{bench.installation}-2")
    async with AsyncExitStack() as stack:
        ours = await _abandon(bench, stack)
        theirs = await _abandon(other, stack)
        assert await remove_leftovers(podman, f"test-{secrets.token_hex(6)}") == []
        assert await remove_leftovers(podman, f"{bench.installation[:-1]}*") == []
        assert await remove_leftovers(podman, bench.installation) == [ours]
        assert await remove_leftovers(podman, bench.installation) == []
        assert await bench.containers() == []
        assert len(await other.containers()) == 1
        assert await remove_leftovers(podman, other.installation) == [theirs]


async def _abandon(bench: Bench, stack: AsyncExitStack) -> str:
    """A container as a killed orchestrator leaves it."""
    spec = bench.spec()
    folder = bench.podman.state_dir / "sandboxes" / spec.name
    folder.mkdir(parents=True)
    created = await create_container(bench.podman, spec, folder, stack)
    created.close()
    return spec.name


async def test_leftovers_leave_containers_alone_that_only_inherit_a_label(
    bench: Bench, podman: Podman
) -> None:
    """Row 66: our images carry the label too, and whoever runs one by hand inherits it."""
    done = await podman.run(
        *("create", "--network=none", f"--label=airut.installation={bench.installation}", bench.image, "true")
    )
    container = done.stdout.decode().strip()
    try:
        assert await remove_leftovers(podman, bench.installation) == []
        assert await bench.containers() == [container[:12]]
    finally:
        await podman.run("rm", "--force", container)


async def test_a_name_that_is_taken_is_refused_and_left_alone(bench: Bench) -> None:
    spec = bench.spec("true")
    async with open_sandbox(bench.podman, spec) as first:
        with pytest.raises(SandboxError, match="already"):
            async with open_sandbox(bench.podman, spec):
                pass
        done = await first.run(b"", Output(), 30)
    assert done.code == 0


async def test_files_of_a_killed_predecessor_do_not_matter(bench: Bench) -> None:
    spec = bench.spec("true")
    stale = bench.podman.state_dir / "sandboxes" / spec.name
    stale.mkdir(parents=True)
    (stale / "env").write_text("STALE=1\n")
    done, _ = await bench.run(spec)
    assert done.code == 0
    assert not stale.exists()


async def test_an_unknown_image_is_an_error_and_is_not_fetched(bench: Bench) -> None:
    with pytest.raises(SandboxError, match="image"):
        await bench.run(bench.spec(image="registry.example/nothing:1"))


async def test_an_unknown_command_is_an_outcome(bench: Bench) -> None:
    done, _ = await bench.run(bench.spec("/no/such/program"))
    assert done.code != 0
    assert b"No such file" in done.stderr_tail or b"/no/such/program" in done.stderr_tail
