"""The main job, told and checked: a mail, a reply to the reply, a forged mail, the proof."""

import asyncio
import hashlib
import re
import subprocess
from email.message import EmailMessage
from typing import Any

import aiosmtplib
import httpx

from airut_demo import scenario
from airut_demo.installation import ADDRESS, API_KEY, GIT_TOKEN, DemoInstallation
from airut_demo.transcript import Transcript
from airut_demo.world.mail_user import SigningDomain, compose, send
from airut_demo.world.world import EXFIL_NAME, USER, World

TASK_SECONDS = 300.0


class Story:
    """One run of the demo. `failures` names everything that was not as it must be."""

    def __init__(
        self, world: World, installation: DemoInstallation, transcript: Transcript, *, real_model: bool
    ) -> None:
        self._world = world
        self._installation = installation
        self._tell = transcript
        self._real_model = real_model
        self.failures: list[str] = []

    async def run(self) -> None:
        """All parts, in order."""
        first = await self._first_mail()
        await self._second_mail(first)
        await self._forged_mail()
        await self._proof()

    def _expect(self, text: str, *, good: bool) -> None:
        self._tell.check(text, good=good)
        if not good:
            self.failures.append(text)

    async def _first_mail(self) -> EmailMessage:
        self._tell.title("Ada writes a mail")
        mail = compose(
            sender=f"Ada Lovelace <{USER}>",
            recipient=ADDRESS,
            subject=scenario.SUBJECT,
            text=scenario.FIRST,
            attachments=scenario.ATTACHMENT,
        )
        reply = await self._exchange(mail)
        text = _text(reply)
        self._expect("the reply is in the same thread", good=reply["In-Reply-To"] == _message_id(mail))
        attached = {part.get_filename() for part in reply.iter_attachments()}
        self._expect("what the agent left in /outbox is attached", good="summary.md" in attached)
        pushed = await asyncio.to_thread(self._read_branch, "greet.py")
        self._expect(
            f"the branch {scenario.BRANCH} is in the repository, with the fix", good="Hello" in pushed
        )
        self._expect(
            "the agent says that the other host was refused", good=self._real_model or "refused" in text
        )
        return reply

    async def _second_mail(self, first: EmailMessage) -> None:
        self._tell.title("Ada replies in the thread")
        mail = compose(
            sender=f"Ada Lovelace <{USER}>",
            recipient=ADDRESS,
            subject=f"Re: {scenario.SUBJECT}",
            text=scenario.SECOND,
            in_reply_to=first["Message-ID"],
            references=f"{first['References'] or ''} {first['Message-ID']}".strip(),
        )
        reply = await self._exchange(mail)
        self._expect("the agent remembers its branch", good=scenario.BRANCH in _text(reply))
        if not self._real_model:
            self._expect("the session went on where it was", good=max(self._world.model.carried_over) > 0)
        readme = await asyncio.to_thread(self._read_branch, "README.md")
        self._expect("the second commit is on the same branch", good="friendly" in readme)

    async def _forged_mail(self) -> None:
        self._tell.title("Mallory forges a mail from Ada")
        forged = compose(sender=USER, recipient=ADDRESS, subject="Urgent", text=scenario.FORGED)
        forged = SigningDomain("mallory.example").sign(forged)
        try:
            words = await send(
                forged, server=self._installation.smtp, sender="x@mallory.example", recipient=ADDRESS
            )
        except aiosmtplib.SMTPResponseException as refusal:
            self._tell.step(f"refused: {refusal.code} {refusal.message}")
            self._expect("a mail that only claims to be Ada's is refused", good=refusal.code == 550)
        else:
            self._expect(
                f"a mail that only claims to be Ada's is refused (it was taken: {words})", good=False
            )

    async def _exchange(self, mail: bytes) -> EmailMessage:
        """Send a mail and wait for its answer, telling what happens in between."""
        known = len(self._world.mailbox.messages)
        words = await send(
            self._world.domain.sign(mail), server=self._installation.smtp, sender=USER, recipient=ADDRESS
        )
        self._tell.step(f"the gateway has it: 250 {words}")
        watching = asyncio.get_running_loop().create_task(self._watch())
        try:
            reply = await self._world.mailbox.wait_for(
                lambda message: message in self._world.mailbox.messages[known:], timeout_seconds=TASK_SECONDS
            )
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
        self._tell.step("the reply is in Ada's mailbox")
        self._tell.mail(reply)
        return reply

    async def _watch(self) -> None:
        """Tell what the newest task's agent does, as the dashboard's API shows it."""
        told: set[tuple[str, int]] = set()
        seen_states: set[tuple[str, str]] = set()
        async with httpx.AsyncClient(base_url=self._installation.dashboard) as client:
            while True:
                for task in (await client.get("/api/v1/tasks")).json()[:1]:
                    if (task["id"], task["state"]) not in seen_states and not task["final"]:
                        seen_states.add((task["id"], task["state"]))
                        self._tell.step(f"task {task['id'][:8]}: {task['state']}{_timing(task)}")
                    if task["final"]:
                        continue
                    for output in (await client.get(f"/api/v1/tasks/{task['id']}/output")).json():
                        key = (task["id"], output["seq"])
                        if key not in told and output["type"] == "tool_use":
                            self._tell.step(f"agent: {output['tool']} {_first_line(output)}")
                        told.add(key)
                await asyncio.sleep(0.1)

    async def _proof(self) -> None:
        self._tell.title("What went over the network")
        async with httpx.AsyncClient(base_url=self._installation.dashboard) as client:
            tasks = (await client.get("/api/v1/tasks")).json()
            first = min(tasks, key=lambda task: task["created_at"])
            network = (await client.get(f"/api/v1/tasks/{first['id']}/network")).json()
            outputs = [(await client.get(f"/api/v1/tasks/{task['id']}/output")).text for task in tasks]
        self._tell.network(network)
        denied = [event for event in network if event["decision"] == "deny" and event["host"] == EXFIL_NAME]
        self._expect(f"{EXFIL_NAME} was refused and recorded", good=bool(denied))
        self._tell.title("What the sandbox held")
        everything = "\n".join(outputs)
        real = {GIT_TOKEN: self._world.git_token, API_KEY: self._world.api_key}
        rows = []
        for name, value in real.items():
            found = re.search(rf"{name}=([A-Za-z0-9_-]+)", everything)
            rows.append((name, found.group(1) if found else "(not shown)", value, self._arrived(name, value)))
        self._tell.secrets(rows)
        self._expect(
            "no real value was in the sandbox", good=not any(value in everything for value in real.values())
        )
        self._expect("the real values reached their hosts", good=all(row[3] for row in rows))

    def _arrived(self, name: str, value: str) -> bool:
        if name == GIT_TOKEN:
            return self._world.git.seen == {hashlib.sha256(value.encode()).hexdigest()}
        return self._real_model or (self._world.model.accepted > 0 and self._world.model.refused == 0)

    def _read_branch(self, file: str) -> str:
        command = ["git", "-C", str(self._world.bare_repository), "show", f"{scenario.BRANCH}:{file}"]
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False).stdout


def _text(message: EmailMessage) -> str:
    body = message.get_body(preferencelist=("plain",))
    return body.get_content() if body is not None else ""


def _message_id(mail: bytes) -> str:
    found = re.search(rb"^Message-ID:\s*(\S+)", mail, re.MULTILINE | re.IGNORECASE)
    return found.group(1).decode() if found else ""


def _timing(task: dict[str, Any]) -> str:
    total = task["timings_ms"].get("accept_to_agent")
    return f" ({total / 1000:.2f} s after the mail was taken)" if total and task["state"] == "running" else ""


def _first_line(output: dict[str, Any]) -> str:
    arguments = output["input"] or {}
    text = str(arguments.get("description") or arguments.get("file_path") or arguments.get("command") or "")
    return text.splitlines()[0] if text else ""
