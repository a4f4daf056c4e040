"""The main job, told and checked: a mail, a reply to the reply, a forged mail, the proof."""

import asyncio
import hashlib
import json
import re
import subprocess
from collections.abc import Mapping
from email.message import EmailMessage
from typing import Any

import aiosmtplib

from airut_demo import scenario
from airut_demo.errors import DemoFailed
from airut_demo.installation import ADDRESS, API_KEY, GIT_TOKEN, DemoInstallation
from airut_demo.proof import occurs, search_files
from airut_demo.transcript import Transcript
from airut_demo.watching import FINAL_SECONDS, POLL_SECONDS, Dashboard, Watch
from airut_demo.world.mail_user import SigningDomain, compose, send
from airut_demo.world.world import EXFIL_NAME, REPOSITORY, USER, World

TASK_SECONDS = 300.0


class Story:
    """One run of the demo. `failures` names everything that was not as it must be.

    `real_key` is the key of the real Messages API; None means that the scripted one answers.
    """

    def __init__(
        self,
        world: World,
        installation: DemoInstallation,
        dashboard: Dashboard,
        transcript: Transcript,
        *,
        real_key: str | None,
    ) -> None:
        self._world = world
        self._installation = installation
        self._dashboard = dashboard
        self._tell = transcript
        self._scripted = real_key is None
        self._secrets = {GIT_TOKEN: world.git_token, API_KEY: real_key or world.api_key}
        self._tasks: list[str] = []
        self._log: list[dict[str, Any]] = []
        self.failures: list[str] = []

    async def run(self) -> None:
        """All parts, in order.

        Raises:
            DemoFailed: a mail was not taken or not answered, so that the rest makes no sense.
        """
        first = await self._first_mail()
        if not self.failures:
            await self._second_mail(first)
        await self._forged_mail()
        await self._network()
        await self._proof()

    def _expect(self, text: str, *, good: bool) -> None:
        self._tell.check(text, good=good)
        if not good:
            self.failures.append(text)

    async def _first_mail(self) -> EmailMessage:
        self._tell.title("Ada writes a mail, signed by her domain, with an attachment")
        mail = compose(
            sender=f"Ada Lovelace <{USER}>",
            recipient=ADDRESS,
            subject=scenario.SUBJECT,
            text=scenario.FIRST,
            attachments=scenario.ATTACHMENT,
        )
        reply = await self._exchange(mail)
        self._expect("the reply is in the same thread", good=reply["In-Reply-To"] == _message_id(mail))
        attached = {part.get_filename() for part in reply.iter_attachments()}
        self._expect("what the agent left in /outbox is attached", good="summary.md" in attached)
        pushed = await self._read_branch("greet.py")
        self._expect(f"the branch {scenario.BRANCH} was pushed, with the fix", good="Hello" in pushed)
        if self._scripted:
            text = _text(reply)
            self._expect("the agent read the attachment", good=scenario.GREETING in text)
            self._expect("the agent tells that the other host was refused", good="was refused" in text)
        return reply

    async def _second_mail(self, first: EmailMessage) -> None:
        self._tell.title("Ada replies in the thread")
        mail = compose(
            sender=f"Ada Lovelace <{USER}>",
            recipient=ADDRESS,
            subject=f"Re: {scenario.SUBJECT}",
            text=scenario.SECOND,
            in_reply_to=str(first["Message-ID"]),
            references=f"{first['References'] or ''} {first['Message-ID']}".strip(),
        )
        reply = await self._exchange(mail)
        self._expect("the agent remembers its branch", good=scenario.BRANCH in _text(reply))
        if self._scripted:
            carried = max(self._world.model.carried_over, default=0)
            self._expect("the model was sent the first mail again: the same session", good=carried > 0)
        readme = await self._read_branch("README.md")
        self._expect("the second commit is on the same branch", good="friendly" in readme)

    async def _forged_mail(self) -> None:
        self._tell.title("Mallory writes as Ada")
        tasks = len(await self._dashboard.tasks())
        forged = compose(
            sender=f"Ada Lovelace <{USER}>", recipient=ADDRESS, subject="Urgent", text=scenario.FORGED
        )
        forged = SigningDomain("mallory.example").sign(forged)
        server = self._installation.smtp
        try:
            words = await send(forged, server=server, sender="mallory@mallory.example", recipient=ADDRESS)
        except aiosmtplib.SMTPResponseException as refusal:
            self._tell.step(f"refused: {refusal.code} {refusal.message}")
            self._expect("a mail that only claims to be Ada's is refused", good=refusal.code == 550)
        else:
            self._expect(f"a mail that only claims to be Ada's is refused (taken: {words})", good=False)
        self._expect("and no task came of it", good=len(await self._dashboard.tasks()) == tasks)

    async def _exchange(self, mail: bytes) -> EmailMessage:
        """Send a mail and wait for its answer, telling what happens in between."""
        watch = Watch(self._dashboard, self._tell, {task["id"] for task in await self._dashboard.tasks()})
        signed = self._world.domain.sign(mail)
        try:
            words = await send(signed, server=self._installation.smtp, sender=USER, recipient=ADDRESS)
        except aiosmtplib.SMTPException as error:
            raise DemoFailed(f"Ada's mail was not taken: {error}") from error
        self._tell.step(f"the gateway has it: 250 {words}")
        known = list(self._world.mailbox.messages)
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(watch.follow())
            try:
                reply = await self._world.mailbox.wait_for(
                    lambda message: message not in known, timeout_seconds=TASK_SECONDS
                )
            except TimeoutError:
                watching.cancel()
                raise DemoFailed(f"there was no answer within {TASK_SECONDS:g} s") from None
            # The last events may come a moment after the reply.
            await asyncio.wait({watching}, timeout=FINAL_SECONDS)
            watching.cancel()
        self._tell.step("the reply is in Ada's mailbox")
        self._tell.mail(reply)
        if watch.task is not None:
            self._tasks.append(watch.task["id"])
            self._tell.usage(watch.task)
            self._expect("the task is done", good=watch.task["state"] == "done")
        return reply

    async def _network(self) -> None:
        self._tell.title("What the first task did on the network")
        self._log = events = await self._events()
        self._tell.network(events)
        refused = [event for event in events if _refused(event)]
        self._expect(f"{EXFIL_NAME} was refused, and the refusal recorded", good=bool(refused))
        self._expect(f"nothing arrived at {EXFIL_NAME}", good=not self._world.exfil.requests)
        pushed = [
            event for event in events if GIT_TOKEN in event["credentials"] and event["method"] == "POST"
        ]
        self._expect("git pushed through it, the real token put in on the way", good=bool(pushed))

    async def _events(self) -> list[dict[str, Any]]:
        """The first task's network log; its last events may come a moment after the task's own."""
        events: list[dict[str, Any]] = []
        deadline = asyncio.get_running_loop().time() + FINAL_SECONDS
        while self._tasks and not any(map(_refused, events)) and asyncio.get_running_loop().time() < deadline:
            events = await self._dashboard.network(self._tasks[0])
            await asyncio.sleep(POLL_SECONDS)
        return events

    async def _proof(self) -> None:
        self._tell.title("What the sandbox held, and what was real")
        outputs = [await self._dashboard.output(task) for task in self._tasks]
        said = "\n".join(entry["text"] for output in outputs for entry in output)
        told = json.dumps(outputs)
        rows = []
        for name, value in self._secrets.items():
            shown = re.search(rf"\b{name}=([A-Za-z0-9_-]+)", said)
            rows.append((name, shown.group(1) if shown else "", value, self._arrived(name, value)))
        self._tell.secrets(rows)
        if self._scripted:
            good = all(shown and shown != value for _, shown, value, _ in rows)
            self._expect("the sandbox's environment held surrogates", good=good)
        self._expect("the hosts saw the real ones, and nothing else", good=all(row[3] for row in rows))
        values = list(self._secrets.values())
        mails = b"\n".join(message.as_bytes() for message in self._world.mailbox.messages)
        clean = not occurs(told.encode() + mails, values)
        self._expect("no real value is in what the agent saw, did or wrote", good=clean)
        roots = [self._installation.folder / "state", self._installation.log_file]
        found = await asyncio.to_thread(search_files, roots, values)
        for path in [*found.holders, *found.unread]:
            self._tell.remark(str(path))
        self._expect(
            f"nor in any file of the installation: streams, databases, workspaces, logs "
            f"({found.files} files, {found.size_bytes / 1e6:.1f} MB)",
            good=not found.holders and not found.unread and found.files > 0,
        )

    def _arrived(self, name: str, value: str) -> bool:
        if name == GIT_TOKEN:
            return self._world.git.seen == {hashlib.sha256(value.encode()).hexdigest()}
        if self._scripted:
            return self._world.model.accepted > 0 and self._world.model.refused == 0
        # The real API does not tell us what it saw; but it answers 200 to nobody else.
        return any(API_KEY in event["credentials"] and event["status"] == 200 for event in self._log)

    async def _read_branch(self, file: str) -> str:
        """A file of the pushed branch as the git host has it; empty when there is none."""
        place = f"{scenario.BRANCH}:{file}"
        command = ["git", "-C", str(self._world.git.root / f"{REPOSITORY}.git"), "show", place]
        done = await asyncio.to_thread(
            subprocess.run, command, capture_output=True, text=True, timeout=30, check=False
        )
        return done.stdout


def _refused(event: Mapping[str, Any]) -> bool:
    return bool(event["decision"] == "deny" and event["host"] == EXFIL_NAME)


def _text(message: EmailMessage) -> str:
    body = message.get_body(preferencelist=("plain",))
    return str(body.get_content()) if body is not None else ""


def _message_id(mail: bytes) -> str:
    found = re.search(rb"^Message-ID:\s*(\S+)", mail, re.MULTILINE | re.IGNORECASE)
    return found.group(1).decode() if found else ""
