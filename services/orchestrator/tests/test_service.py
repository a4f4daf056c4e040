"""The orchestrator as it runs: real bus, git, Podman and database; only the model's words are invented."""

import asyncio
import json
import re
import stat
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from airut_common.contracts.v1 import PlanStep, Refused, new_id
from airut_common.testing.builders import email_route
from airut_sandbox.testing.containers import base_image, podman
from airut_sandbox.testing.git_server import run_git

from .site import DOCKERFILE, POLICY, VERSION, Site, broken, good_files, open_site, remove_images

__all__ = ["base_image", "podman"]  # fixtures

pytestmark = [
    pytest.mark.integration,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(240),
]

ENVIRONMENT = (
    "result(json.dumps({'argv': ARGV, 'env': dict(os.environ), 'prompt': PROMPT, 'cwd': str(Path.cwd())}))"
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory, podman, base_image, service_database) -> AsyncIterator[Site]:
    async with open_site(tmp_path_factory.mktemp("site"), podman, base_image, service_database) as found:
        yield found


async def test_row_82_a_task_from_request_to_reply_with_the_exact_command_and_environment(site: Site) -> None:
    reply = await site.ask(ENVIRONMENT, model="opus")
    assert reply.outcome == "done", reply.text
    seen = json.loads(reply.text)
    assert seen["argv"] == [
        "-p", "--output-format", "stream-json", "--verbose", "--dangerously-skip-permissions", "--model", "opus",
    ]  # fmt: skip
    environment = seen["env"]
    assert environment["CLAUDE_CONFIG_DIR"] == "/agent"
    assert environment["IS_SANDBOX"] == "1"
    assert environment["DISABLE_AUTOUPDATER"] == "1"
    assert environment["CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC"] == "1"
    assert environment["SSL_CERT_FILE"] == environment["NODE_EXTRA_CA_CERTS"] == "/etc/airut/ca.pem"
    assert environment["HOME"] == "/root"
    opened = site.egress.opened[-1]
    assert environment["DEMO_TOKEN"] == f"surrogate-{opened.sandbox[:8]}"
    assert opened.policy == POLICY
    assert seen["cwd"] == "/workspace"
    assert "ada@lovelace.example" in seen["prompt"]
    assert (reply.usage.cost_usd, reply.usage.turns) == (0.5, 2)
    assert site.egress.closed[-1] == opened.sandbox
    assert await site.containers() == []


async def test_every_state_is_told_in_order_with_timings(site: Site) -> None:
    task = await site.send("say('working')\nresult('ok')")
    final = await site.until(task, "done")
    assert site.states(task) == ["queued", "preparing", "running", "replying", "done"]
    running = await site.until(task, "running")
    stages = {"mirror", "workspace", "image", "inbox", "agent", "egress_open", "container", "attach", "start"}
    assert stages | {"accept_to_claim", "accept_to_agent"} <= running.timings_ms.keys()
    assert running.sandbox == site.egress.opened[-1].sandbox
    assert running.agent_version == VERSION
    assert final.usage.turns == 2
    said = [event.type for event in site.outputs(task) if event.type != "build"]
    assert said == ["prompt", "system", "text", "result"]


async def test_the_next_message_resumes_session_workspace_and_storage(site: Site) -> None:
    first = await site.ask("system('echo kept > mine; echo kept > /storage/mine')\nresult(SESSION)")
    again = await site.ask(
        "result(json.dumps([SESSION, ARGV[-2:], system('cat mine /storage/mine'), 'Please' in earlier]))",
        conversation=first.conversation,
    )
    assert again.conversation == first.conversation
    assert json.loads(again.text) == [first.text, ["--resume", first.text], "kept\nkept", True]


async def test_a_session_that_the_agent_lost_begins_anew_and_says_so(site: Site) -> None:
    first = await site.ask("system('echo kept > mine')\nmemory.unlink()\nresult(SESSION)")
    again = await site.ask(
        "told = PROMPT.rpartition('---')[0]\n"
        "assert 'memory of this thread is lost' in told and 'You answered:' in told\n"
        "result(system('cat mine') + SESSION)",
        conversation=first.conversation,
    )
    assert again.outcome == "done"
    assert again.text.startswith("kept")
    assert first.text not in again.text
    assert any("began a new one" in note for note in again.notes)
    third = await site.ask("result(SESSION)", conversation=first.conversation)
    assert again.text.endswith(third.text)


async def test_a_merged_change_of_the_policy_holds_from_the_next_message_on(site: Site) -> None:
    first = await site.ask("result('ok')")
    wider = f"{POLICY}# merged meanwhile\n"
    site.upstream.commit({**good_files(), ".airut/network-allowlist.yaml": wider})
    opened = len(site.egress.opened)
    try:
        again = await site.ask(
            "system('echo x >> runs')\nresult(system('cat runs'))", conversation=first.conversation
        )
    finally:
        site.upstream.commit(good_files())
    assert again.text == "x"
    *guessed, real = site.egress.opened[opened:]
    assert [question.policy for question in (*guessed, real)] == [*[POLICY] * len(guessed), wider]
    running = await site.until(again.id, "running")
    assert running.sandbox == real.sandbox
    await site.egress.until_closed(*(question.sandbox for question in (*guessed, real)))
    logs = (site.state / "logs" / again.conversation).glob(f"{again.id}.*")
    assert [log.name for log in logs] == [f"{again.id}.1.log.gz"], "what was dropped left none"


async def test_a_conversation_goes_on_after_its_image_its_agent_and_its_settings_have_changed(
    site: Site,
) -> None:
    first = await site.ask("system('echo kept > mine')\nresult(SESSION)")
    before = dict(site.config["repos"]["demo"])
    dockerfile = DOCKERFILE + "RUN echo new > /image-mark\n"
    site.upstream.commit({**good_files(), ".airut/container/Dockerfile": dockerfile})
    site.publish_agent("0.0.2")
    await site.configure(
        agent={"version": "0.0.2", "model": "opus"}, environment={"MARK": "set"}, limits={"memory_mib": 512}
    )
    try:
        again = await site.ask(
            "result(json.dumps([SESSION, system('cat mine /image-mark'), os.environ['MARK'], ARGV[-4:]]))",
            conversation=first.conversation,
        )
    finally:
        site.config["repos"]["demo"] = before
        await site.configure()
        site.upstream.commit(good_files())
    assert json.loads(again.text) == [
        first.text,
        "kept\nnew",
        "set",
        ["--resume", first.text, "--model", "opus"],
    ]
    assert (await site.until(again.id, "running")).agent_version == "0.0.2"
    back = await site.ask("result(SESSION + system('cat mine'))", conversation=first.conversation)
    assert back.text == f"{first.text}kept"


@pytest.mark.parametrize("fault", ["no policy", "bad preamble", "a Dockerfile that fails"])
async def test_what_was_broken_is_no_trouble_once_it_is_mended(site: Site, fault: str) -> None:
    first = await site.ask("result('ok')")
    files, _, _ = REPOSITORY_FAULTS[fault]
    with broken(site, files):
        assert (await site.ask("result('ok')", conversation=first.conversation)).outcome != "done"
    mended = await site.ask("result('mended')", conversation=first.conversation)
    assert mended.text == "mended"
    said = "".join(event.text for event in site.outputs(mended.id))
    assert "no-such-program" not in said, "nobody is told of a build that is of no use any more"


async def test_what_is_prepared_for_a_branch_that_has_moved_is_given_up_at_once(site: Site) -> None:
    ref = await site.bus.put_blob(b"1", name="notes.txt", media_type="text/plain")
    first = await site.ask("result('ok')")
    site.upstream.commit({**good_files(), ".airut/network-allowlist.yaml": f"{POLICY}# moved\n"})
    opened = len(site.egress.opened)
    site.egress.slow[POLICY] = asyncio.Event()
    try:
        again = await site.ask(
            "result(system('cat /inbox/notes.txt'))", conversation=first.conversation, attachments=(ref,)
        )
    finally:
        site.egress.slow.pop(POLICY).set()
        site.upstream.commit(good_files())
    assert again.text == "1"
    *guessed, _ = site.egress.opened[opened:]
    assert len(guessed) <= 1, "it did not ask again and again"


async def test_an_image_that_somebody_removed_is_built_again(site: Site) -> None:
    first = await site.ask("result('ok')")
    await remove_images(site)
    again = await site.ask("result('again')", conversation=first.conversation)
    assert again.text == "again"
    assert [event for event in site.outputs(again.id) if event.type == "build"]


async def test_a_reply_is_not_slowed_by_questions_whose_answer_is_known(site: Site) -> None:
    """Each would be a process that somebody waits for: of git, what the commit holds; of Podman, what its image is."""
    first = await site.ask("result('ok')")
    mirror = site.state / "mirrors" / "demo.git"
    _unpack(mirror)
    policy = run_git("rev-parse", "HEAD:.airut/network-allowlist.yaml", cwd=mirror).strip()
    (there := mirror / "objects" / policy[:2] / policy[2:]).rename(aside := there.with_suffix(".aside"))
    try:
        again = await site.ask("result('again')", conversation=first.conversation)
    finally:
        aside.rename(there)
    assert again.text == "again"
    assert "mirror_read_again" not in site.log()


async def test_what_was_wrong_with_the_copy_of_a_repository_is_no_trouble_once_the_fetch_has_mended_it(
    site: Site,
) -> None:
    first = await site.ask("result('ok')")
    mirror = site.state / "mirrors" / "demo.git"
    _unpack(mirror)
    policy = run_git("rev-parse", "HEAD:.airut/network-allowlist.yaml", cwd=mirror).strip()
    (mirror / "objects" / policy[:2] / policy[2:]).unlink()
    (mirror / "refs" / "heads" / "other.lock").touch()
    run_git("branch", "--force", "other", cwd=site.upstream.tree)
    site.upstream.push()
    assert (await site.ask("result('mended')", conversation=first.conversation)).text == "mended"
    assert "mirror is made anew" in site.log()


def _unpack(mirror: Path) -> None:
    """Every object a file of its own."""
    packs = mirror / "objects" / "pack"
    for pack in list(packs.glob("*.pack")):
        data = pack.read_bytes()
        for file in packs.glob(f"{pack.stem}.*"):
            file.unlink()
        subprocess.run(["git", "unpack-objects", "-q"], cwd=mirror, input=data, check=True)


async def test_every_answer_of_an_agent_with_an_open_network_says_so(site: Site) -> None:
    await site.configure(network_sandbox=False)
    try:
        task = await site.send("say('here')\nsleep(60)\nresult('ok')")
        await site.until_said(task, "here")
        await site.send("", text="stop", conversation=(await site.until(task, "running")).conversation)
        stopped = await site.reply_to(task)
        done = await site.ask("result('ok')")
    finally:
        await site.configure(network_sandbox=True)
    for reply, outcome in ((stopped, "stopped"), (done, "done")):
        assert reply.outcome == outcome
        assert sum("network_sandbox: false" in note for note in reply.notes) == 1
    assert not any("network_sandbox" in note for note in (await site.ask("result('ok')")).notes)


async def test_a_remote_that_does_not_answer_stops_also_the_next_message(site: Site) -> None:
    first = await site.ask("result('ok')")
    site.git.status = 503
    try:
        again = await site.ask("system('touch ran')\nresult('ok')", conversation=first.conversation)
    finally:
        site.git.status = None
    assert again.outcome == "failed"
    assert "Nothing was run" in again.text
    last = await site.ask("result(system('ls'))", conversation=first.conversation)
    assert "ran" not in last.text.split()


async def test_row_71_an_unknown_conversation_begins_a_new_one_with_a_note(site: Site) -> None:
    reply = await site.ask("result(system('ls /storage'))", conversation="0123456789abcdef")
    assert reply.conversation != "0123456789abcdef"
    assert "not known here" in reply.notes[0]


async def test_attachments_go_in_and_files_come_out(site: Site) -> None:
    ref = await site.bus.put_blob(b"the data", name="../../etc/da ta.txt", media_type="text/plain")
    program = "system('cp /inbox/* /outbox; echo new > /outbox/new.txt; touch /inbox/x')\nresult(system('ls /inbox'))"
    reply = await site.ask(program, attachments=(ref,))
    files = {found.name: await site.blob(found) for found in reply.attachments}
    (name,) = [name for name in files if name.endswith("ta.txt")]
    assert files[name] == b"the data"
    assert "/" not in name
    assert files["new.txt"] == b"new\n"
    assert reply.text.splitlines() == sorted([name, "manifest.json"])


async def test_the_outbox_is_emptied_before_each_task(site: Site) -> None:
    first = await site.ask("system('echo old > /outbox/old')\nresult('ok')")
    again = await site.ask("result(system('ls /outbox /inbox'))", conversation=first.conversation)
    assert [found.name for found in first.attachments] == ["old"]
    assert again.attachments == ()
    assert "old" not in again.text


async def test_rows_42_and_62_links_are_refused_and_never_written_through(site: Site) -> None:
    program = (
        "system('ln -s /etc/passwd /outbox/passwd; mkfifo /outbox/pipe; ln /outbox/a /outbox/b; "
        "rm -rf /storage/x; ln -s /etc /storage/etc')\nresult('ok')"
    )
    reply = await site.ask(program)
    assert reply.attachments == ()
    for name in ("passwd", "pipe"):
        assert any(name in note for note in reply.notes), reply.notes


async def test_rows_40_and_41_steering_files_are_named_and_no_hook_runs_on_the_host(site: Site) -> None:
    mark = site.folder / "pwned"
    trap = f"#!/bin/sh\\ntouch {mark}\\n"
    program = (
        f"system(r\"mkdir -p .git/hooks; printf '{trap}' > .git/hooks/post-checkout; chmod +x .git/hooks/post-checkout; "
        f"git config core.fsmonitor 'touch {mark}'; echo x > CLAUDE.md\")\nresult('ok')"
    )
    reply = await site.ask(program)
    notes = "\n".join(reply.notes)
    assert "CLAUDE.md" in notes
    assert "post-checkout" in notes
    again = await site.ask("result('ok')", conversation=reply.conversation)
    assert again.outcome == "done"
    assert not mark.exists()


async def test_row_41_steering_files_are_named_when_a_person_stops_the_agent(site: Site) -> None:
    first = await site.ask("result('ok')")
    program = "system('echo x > CLAUDE.md')\nsay('plan' + 'ted')\nsleep(60)"  # the prompt is told, too
    task = await site.send(program, conversation=first.conversation)
    await site.until_said(task, "planted")
    site.egress.denied = 2
    try:
        await site.send("", text="stop", conversation=first.conversation)
        reply = await site.reply_to(task)
    finally:
        site.egress.denied = 0
    assert reply.outcome == "stopped"
    assert any("CLAUDE.md" in note for note in reply.notes)
    assert any("2 network requests were refused" in note for note in reply.notes)


async def test_row_41_an_agent_that_says_it_lost_its_session_hides_no_steering_file(site: Site) -> None:
    first = await site.ask("result('ok')")
    reply = await site.ask(
        "if '--resume' in ARGV:\n"
        "    system('mkdir .claude; echo {} > .claude/settings.json')\n"
        "    error = 'No conversation found with session ID: x'\n"
        "    result('', subtype='error_during_execution', is_error=True, errors=[error])\n"
        "    sys.exit(1)\n"
        "result('ok')",
        conversation=first.conversation,
    )
    assert reply.outcome == "done"
    assert any(".claude/settings.json" in note for note in reply.notes)


@pytest.mark.parametrize("begun", [False, True])
async def test_a_message_that_no_agent_has_seen_is_told_with_the_next_one(site: Site, begun: bool) -> None:
    """What was refused before an agent ran is not to be written again: "try again" is enough."""
    conversation = (await site.ask("result('ok')")).conversation if begun else None
    with broken(site, {".airut/network-allowlist.yaml": None}):
        refused = await site.ask("", text="Rename the colour.", conversation=conversation)
    assert refused.outcome == "refused"
    again = await site.ask("result(PROMPT)", conversation=refused.conversation)
    assert "Rename the colour." in again.text
    assert "Please." in again.text
    following = await site.ask("result(PROMPT)", conversation=refused.conversation)
    assert "Rename the colour." not in following.text


async def test_refused_requests_are_counted_in_the_reply(site: Site) -> None:
    site.egress.denied = 3
    try:
        reply = await site.ask("result('ok')")
    finally:
        site.egress.denied = 0
    assert any("3 network requests were refused" in note for note in reply.notes)


async def test_what_waits_in_a_conversation_is_handed_over_together_and_everyone_is_answered_once(
    site: Site,
) -> None:
    first = await site.ask("result('ok')")
    conversation = first.conversation
    busy = await site.send("say('here')\nsleep(3)\nresult('ok')", conversation=conversation)
    await site.until_said(busy, "here")
    one = await site.bus.put_blob(b"1", name="notes.txt", media_type="text/plain")
    two = await site.bus.put_blob(b"2", name="notes.txt", media_type="text/plain")
    bob = email_route(recipient="bob@example.org")
    lead = await site.send("", conversation=conversation, text="First.", attachments=(one,))
    await site.until(lead, "queued")
    second = await site.send(
        "", conversation=conversation, text="model: haiku\nAnd this.", sender="bob@example.org", route=bob,
        attachments=(two,),
    )  # fmt: skip
    await site.until(second, "queued")
    route = email_route(in_reply_to="<last@lovelace.example>")
    program = "result(json.dumps([PROMPT, ARGV, system('cat /inbox/manifest.json')]))"
    last = await site.send(program, conversation=conversation, route=route)
    reply, copy = await site.reply_to(lead), await site.reply_to(second)
    prompt, argv, inbox = json.loads(reply.text)
    assert "3 messages came" in prompt
    assert (
        prompt.index("Message 1 of 3, from ada@")
        < prompt.index("Message 2 of 3, from bob@")
        < prompt.index("Please.")
    )
    assert argv[-2:] == ["--model", "haiku"]
    assert [(file["file"], file["message"]) for file in json.loads(inbox)["files"]] == [
        ("notes.txt", 1), ("notes (2).txt", 2),
    ]  # fmt: skip
    assert (reply.route, copy.route, copy.text) == (route, bob, reply.text)
    merged = [await site.until(task, "merged") for task in (second, last)]
    assert [event.merged_into for event in merged] == [lead, lead]
    await site.until(lead, "done")
    assert (site.states(second), site.states(last)) == (["queued", "merged"],) * 2
    places = [(await site.until(task, "queued")).place for task in (lead, second, last)]
    assert places == [1, 2, 3]
    assert (await site.until(last, "queued")).waits_for == "turn"
    assert [event.text.split("\n")[0] for event in site.outputs(lead)[:3]] == [
        "First.",
        "And this.",
        "Please.",
    ]
    follow_up = await site.ask("result('ok')", conversation=conversation)
    assert follow_up.outcome == "done"
    assert [item.id for item in site.replies if item.conversation == conversation] == [
        first.id, busy, lead, second, follow_up.id,
    ]  # fmt: skip


async def test_authors_hear_at_once_that_their_message_was_taken_where_the_operator_wants_it(
    site: Site,
) -> None:
    quiet = await site.ask("result('ok')")
    site.config["email"] = {"hostname": "m", "relay": {"host": "mail.example"}, "acknowledge": True}
    try:
        await site.configure()
        busy = await site.send("say('here')\nsleep(1)\nresult('ok')", conversation=quiet.conversation)
        await site.until_said(busy, "here")
        waits = await site.send("result('ok')", conversation=quiet.conversation)
        taken = [await site.acknowledgement_of(task) for task in (busy, waits)]
        assert [(each.waits_for, each.place, each.conversation) for each in taken] == [
            (None, 1, quiet.conversation), ("turn", 1, quiet.conversation),
        ]  # fmt: skip
        await site.reply_to(waits)
        assert [each.id for each in site.acknowledgements] == [busy, waits]
    finally:
        del site.config["email"]
        await site.configure()


async def test_progress_is_told_while_the_agent_works(site: Site) -> None:
    program = (
        "use = lambda name, **given: emit(type='assistant', message={'content': [{'type': 'tool_use', 'id': 'u', "
        "'name': name, 'input': given}]})\n"
        "use('TodoWrite', todos=[{'content': 'Look\\x1b[31m around', 'status': 'in_progress', 'activeForm': 'x'}])\n"
        "use('Bash', command='make check\\n\\x1b]0;title\\x07')\n"
        "for _ in range(3000): use('Read', file_path='/workspace/x')\n"
        "say('here')\nsleep(2)\nresult('ok')"
    )
    task = await site.send(program)
    await site.until(task, "done")
    told = site.progress(task)
    assert told[0].plan == (PlanStep(text="Look around", status="in_progress"),)
    assert 2 <= len(told) <= 8, "one in a second, whatever the agent does"
    assert "writing" in [event.activity for event in told]
    assert (told[-1].activity, told[-1].plan) == ("", None)


async def test_two_conversations_have_nothing_in_common(site: Site) -> None:
    one = await site.send("system('echo 1 > /storage/x; echo 1 > x')\nsay('here')\nsleep(2)\nresult('ok')")
    await site.until_said(one, "here")
    two = await site.ask(
        "result(system('ls /storage /agent/projects/-workspace; ls') + os.environ['DEMO_TOKEN'])"
    )
    first = await site.reply_to(one)
    assert (first.outcome, two.outcome) == ("done", "done")
    assert first.conversation != two.conversation
    assert "\nx" not in two.text
    sandboxes = [question.sandbox for question in site.egress.opened[-2:]]
    assert len(set(sandboxes)) == 2


async def test_conversation_folders_belong_to_us_alone(site: Site) -> None:
    reply = await site.ask("result('ok')")
    root = site.state / "conversations" / reply.conversation
    assert stat.S_IMODE(root.stat().st_mode) == 0o700
    assert sorted(entry.name for entry in root.iterdir()) == [
        "agent", "inbox", "outbox", "storage", "workspace",
    ]  # fmt: skip
    assert list((site.state / "scratch").iterdir()) == []
    mirror = {path.lstat().st_ino for path in (site.state / "mirrors").rglob("*") if path.is_file()}
    assert not mirror & {path.lstat().st_ino for path in (root / "workspace").rglob("*") if path.is_file()}


async def test_a_damaged_conversation_is_refused_not_followed(site: Site, tmp_path) -> None:
    reply = await site.ask("result('ok')")
    storage = site.state / "conversations" / reply.conversation / "storage"
    storage.rmdir()
    storage.symlink_to(tmp_path)
    again = await site.ask("result('ok')", conversation=reply.conversation)
    assert again.outcome == "failed"
    assert "`storage`" in again.text


# -- what goes wrong ------------------------------------------------------------------------------------------

AGENT_FAULTS = {
    "a crash": ("os.write(2, b'core dumped'); os._exit(3)", "failed", ["exit code 3", "core dumped"]),
    "garbage": ("raw('\\x00garbage'); raw('[1,2'); sys.exit(0)", "failed", ["without an answer"]),
    "an error": ("result('the model is overloaded', is_error=True)", "failed", ["the model is overloaded"]),
    "half an answer": ("say('half way'); sys.exit(1)", "failed", ["half way", "exit code 1"]),
    "a signal": ("say('x'); os.kill(os.getpid(), 11)", "failed", ["exit code 139"]),
    "silence": ("pass", "failed", ["without an answer (exit code 0)"]),
}


@pytest.mark.parametrize("fault", AGENT_FAULTS)
async def test_an_agent_that_fails_is_explained_and_the_next_task_is_unharmed(site: Site, fault: str) -> None:
    program, outcome, words = AGENT_FAULTS[fault]
    reply = await site.ask(program)
    assert reply.outcome == outcome
    for word in words:
        assert word in reply.text
    assert "Traceback" not in reply.text
    assert (await site.ask("result('fine')", conversation=reply.conversation)).text == "fine"


async def test_an_agent_that_never_ends_is_stopped_and_its_words_are_kept(site: Site) -> None:
    await site.configure(limits={"timeout_seconds": 10})
    try:
        reply = await site.ask("say('half way')\nimport signal\nsignal.signal(15, 1)\nwhile True: sleep(1)")
    finally:
        await site.configure(limits={"timeout_seconds": 60})
    assert reply.outcome == "timed_out", reply.text
    assert "within 10 s" in reply.text
    assert "half way" in reply.text
    assert await site.containers() == []


async def test_a_session_id_that_is_a_path_is_not_taken_up(site: Site) -> None:
    """The id becomes an argument of the next start."""
    reply = await site.ask("SESSION = '../../etc'\nsay('x')\nSESSION = '--help'\nresult('ok')")
    again = await site.ask("result(' '.join(ARGV))", conversation=reply.conversation)
    assert re.search(r"--resume [0-9a-f-]{36}$", again.text)


async def test_a_hint_that_is_no_model_is_refused(site: Site) -> None:
    reply = await site.ask("result('ok')", model="--dangerously")
    assert reply.outcome == "refused"
    assert "--dangerously" in reply.text


async def test_a_repository_says_it_in_its_own_words(site: Site) -> None:
    site.upstream.commit({**good_files(), ".airut/preamble.md": b"Hello from $sender.\n"})
    try:
        reply = await site.ask("result(PROMPT.partition('---')[0])")
    finally:
        (site.upstream.tree / ".airut/preamble.md").unlink()
        site.upstream.commit(good_files())
    assert reply.text.startswith("Hello from ada@lovelace.example.")
    assert "/outbox" not in reply.text


async def test_first_lines_choose_model_and_effort(site: Site) -> None:
    text = "model: sonnet\neffort: max\nPlease.\n---\nresult(' '.join(ARGV) + PROMPT.partition('Please')[0])"
    reply = await site.ask("", text=text, model="opus")
    assert "--model sonnet --effort max" in reply.text
    assert "effort: max" not in reply.text


async def test_an_unknown_repository_is_answered(site: Site) -> None:
    reply = await site.ask("result('ok')", repo="nowhere")
    assert reply.outcome == "refused"
    assert "`nowhere`" in reply.text
    assert (await site.until(reply.id, "failed")).reason == "no repository nowhere"


REPOSITORY_FAULTS = {
    "bad preamble": ({".airut/preamble.md": b"Hello $you\n"}, "refused", ["preamble.md", "line 1"]),
    "no policy": ({".airut/network-allowlist.yaml": None}, "refused", ["network-allowlist.yaml", "missing"]),
    "a policy that is no text": (
        {".airut/network-allowlist.yaml": b"domains:\n\xff\xfe"},
        "refused",
        ["network-allowlist.yaml:2", "UTF-8"],
    ),
    "no folder": ({".airut/container/Dockerfile": None}, "refused", ["container/Dockerfile", "missing"]),
    "no Dockerfile": (
        {".airut/container/Dockerfile": None, ".airut/container/other": "x"},
        "refused",
        ["container/Dockerfile", "missing"],
    ),
    "a Dockerfile that fails": (
        {".airut/container/Dockerfile": "ARG AIRUT_BASE\nFROM ${AIRUT_BASE}\nRUN echo because; no-such-program\n"},
        "failed",
        ["could not be built", "because", "no-such-program"],
    ),
    "a Dockerfile that is none": ({".airut/container/Dockerfile": "HELLO\n"}, "failed", ["could not be built"]),
}  # fmt: skip


@pytest.mark.parametrize("fault", REPOSITORY_FAULTS)
async def test_a_broken_repository_is_explained_and_the_next_task_is_unharmed(site: Site, fault: str) -> None:
    files, outcome, words = REPOSITORY_FAULTS[fault]
    with broken(site, files):
        reply = await site.ask("result('ok')")
    assert reply.outcome == outcome
    for word in words:
        assert word in reply.text
    assert "Traceback" not in reply.text
    assert (await site.ask("result('fine')", conversation=reply.conversation)).text == "fine"


async def test_a_git_server_that_fails_is_explained(site: Site) -> None:
    site.git.status = 503
    try:
        reply = await site.ask("result('ok')")
    finally:
        site.git.status = None
    assert reply.outcome == "failed"
    assert "localhost" in reply.text
    assert "Nothing was run" in reply.text
    assert (await site.ask("result('fine')")).text == "fine"


async def test_the_git_token_is_sealed_to_us_and_stays_out_of_the_sandbox(site: Site) -> None:
    token = "the-real-git-token-0815"
    git = site.config["repos"]["demo"]["git"]
    site.git.token = token
    try:
        refused = await site.ask("result('ok')")
        await site.configure(git={**git, "token_secret": "GIT_TOKEN"})
        await site.seal("GIT_TOKEN", token)
        reply = await site.ask(
            "result(system('env; cat .git/config; grep -r 0815 / --include=*config* 2>/dev/null'))"
        )
    finally:
        site.git.token = None
        await site.configure(git=git)
    assert "refused our credentials" in refused.text
    assert reply.outcome == "done"
    assert token not in reply.text
    assert token not in site.log()
    assert token.encode() not in b"".join(
        path.read_bytes() for path in site.state.rglob("*") if path.is_file() and path.stat().st_size < 10**7
    )


async def test_row_67_a_default_branch_with_a_slash_that_is_renamed_is_followed(site: Site) -> None:
    run_git("branch", "--force", "release/main", cwd=site.upstream.tree)
    site.upstream.push()
    run_git("symbolic-ref", "HEAD", "refs/heads/release/main", cwd=site.upstream.bare)
    try:
        reply = await site.ask("result(system('git branch --show-current; git status --porcelain'))")
    finally:
        run_git("symbolic-ref", "HEAD", "refs/heads/main", cwd=site.upstream.bare)
    assert reply.text == "release/main"


async def test_a_refused_policy_is_passed_on_with_its_line(site: Site) -> None:
    text = ".airut/network-allowlist.yaml:1: domains: a list is needed"
    site.egress.refuse = Refused(code="invalid_policy", text=text)
    try:
        reply = await site.ask("result('ok')")
    finally:
        site.egress.refuse = None
    assert reply.outcome == "refused"
    assert text in reply.text


async def test_an_attachment_that_is_gone_is_explained(site: Site) -> None:
    ref = await site.bus.put_blob(b"x", name="gone.txt", media_type="text/plain")
    reply = await site.ask("result('ok')", attachments=(ref.model_copy(update={"blob": "0" * 32}),))
    assert reply.outcome == "refused"
    assert "attachment" in reply.text


async def test_an_agent_version_that_does_not_exist_is_explained(site: Site) -> None:
    await site.configure(agent={"version": "nonsense"})
    try:
        reply = await site.ask("result('ok')")
    finally:
        await site.configure(agent={"version": "0.0.1"})
    assert "the channel nonsense of the agent" in reply.text


async def test_an_answer_of_many_megabytes_is_cut(site: Site) -> None:
    reply = await site.ask("result('y' * 5_000_000)")
    assert reply.outcome == "done"
    assert 200_000 < len(reply.text) < 210_000


async def test_row_44_a_deep_workspace_and_odd_names_are_no_trouble(site: Site) -> None:
    program = "system('mkdir -p ' + '/'.join(['d' * 50] * 40) + '; mkdir /outbox/$(printf \"a\\\\nb\")')\nresult('ok')"
    reply = await site.ask(program)
    assert reply.outcome == "done"
    assert (await site.ask("result('ok')", conversation=reply.conversation)).outcome == "done"


# -- builds with a network -----------------------------------------------------------------------------------


@pytest_asyncio.fixture(loop_scope="module")
async def build_network(site: Site) -> AsyncIterator[None]:
    """Builds may reach something, and the next task has something to build."""
    sandbox = dict(site.config["sandbox"])
    site.config["sandbox"]["build_allowlist"] = "domains: [deb.example.org]\n"
    await site.configure()
    dockerfile = good_files()[".airut/container/Dockerfile"] + f"RUN ls /etc/airut > /seen # {new_id()}\n"
    site.upstream.commit({**good_files(), ".airut/container/Dockerfile": dockerfile})
    try:
        yield
    finally:
        site.config["sandbox"] = sandbox
        await site.configure()
        site.upstream.commit(good_files())


async def test_row_73_a_build_has_a_session_of_its_own_without_credentials(
    site: Site, build_network: None
) -> None:
    already = len(site.egress.opened)
    reply = await site.ask("result(system('cat /seen'))")
    assert reply.text == "ca.pem", "steps could read the authority"
    task, build = site.egress.opened[already:]
    assert (task.with_credentials, task.policy) == (True, POLICY)
    assert (build.with_credentials, build.policy) == (False, "domains: [deb.example.org]\n")
    assert (build.policy_source, build.task, build.repo) == ("sandbox.build_allowlist", reply.id, "demo")
    assert build.sandbox in site.egress.closed
    said = "".join(event.text for event in site.outputs(reply.id) if event.type == "build")
    assert "RUN ls /etc/airut > /seen" in said, "the build is seen on the task's page"
    assert await site.containers() == []
    again = await site.ask("result('ok')")
    assert again.outcome == "done"
    assert [question.task for question in site.egress.opened[already + 2 :]] == [again.id], (
        "nothing was built"
    )


async def test_a_build_that_is_refused_its_network_fails_with_the_reason(
    site: Site, build_network: None
) -> None:
    text = "sandbox.build_allowlist:1: domain: unknown key"
    site.egress.refuse_builds = Refused(code="invalid_policy", text=text)
    try:
        reply = await site.ask("result('ran')")
    finally:
        site.egress.refuse_builds = None
    assert reply.outcome in {"failed", "refused"}
    assert text in reply.text
    assert "Your operator can mend it" in reply.text
    assert await site.containers() == []


async def test_a_build_whose_proxy_is_away_fails_and_is_not_run_without_a_network(
    site: Site, build_network: None
) -> None:
    already = len(site.egress.opened)
    site.egress.deaf_to_builds = True
    try:
        reply = await site.ask("result('ran')")
    finally:
        site.egress.deaf_to_builds = False
    assert reply.outcome == "failed"
    assert "could not be given its network, and nothing runs without it" in reply.text
    builds = {question.sandbox for question in site.egress.opened[already:] if not question.with_credentials}
    assert len(builds) == 1, "asked again for the same session"
    assert builds <= set(site.egress.closed)
    assert await site.containers() == []
    # Nothing was kept of it: with the proxy back, the same image is built.
    assert (await site.ask("result(system('cat /seen'))")).text == "ca.pem"
