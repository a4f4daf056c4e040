"""What must hold when everything is over, whatever happened on the way."""

import json
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import aclosing, closing
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter

from airut.bus_access import admin_bus
from airut.egress import open_sessions
from airut.errors import UsageError
from airut.installation import open_installation
from airut_common.contracts.v1 import FINAL_STATES, TaskEvent, TaskStateChanged
from chaos.people import Accepted
from chaos.site import Site

_EVENT: Final[TypeAdapter[TaskEvent]] = TypeAdapter(TaskEvent)


@dataclass(frozen=True)
class Task:
    """A row of the orchestrator's database."""

    id: str
    conversation: str
    position: int
    state: str
    merged_into: str | None
    answers: str
    """Message-ID of the mail that it is about."""
    sender: str
    leased: bool


def read_tasks(database: Path) -> list[Task]:
    """Every task, in order of arrival."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        rows = connection.execute(
            "SELECT id, conversation, position, state, merged_into, request, leased_by FROM tasks ORDER BY position"
        ).fetchall()
    return [
        Task(
            task, conversation, position, state, merged_into,
            json.loads(request)["route"]["in_reply_to"], json.loads(request)["sender"], leased_by is not None,
        )
        for task, conversation, position, state, merged_into, request, leased_by in rows
    ]  # fmt: skip


def answers(mails: Sequence[EmailMessage]) -> Mapping[str, Counter[str]]:
    """Message-ID of a mail to those of its answers, with how often each came."""
    found: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for mail in mails:
        found[mail["In-Reply-To"]][mail["Message-ID"]] += 1
    return found


def expected_answers(tasks: Sequence[Task]) -> set[str]:
    """Which mails are answered: of those that were worked on together, each author's last one."""
    last: dict[tuple[str, str], str] = {}
    for task in tasks:
        last[task.merged_into or task.id, task.sender] = task.answers
    return set(last.values())


def is_settled(accepted: Sequence[Accepted], tasks: Sequence[Task], mails: Sequence[EmailMessage]) -> bool:
    """Whether nothing is to be waited for any more."""
    known = {task.answers for task in tasks}
    return (
        all(mail.message_id in known for mail in accepted)
        and all(task.state in FINAL_STATES for task in tasks)
        and expected_answers(tasks) <= answers(mails).keys()
    )


def check_replies(
    accepted: Sequence[Accepted], tasks: Sequence[Task], mails: Sequence[EmailMessage]
) -> Iterator[str]:
    """Every accepted message is one task, and has exactly one final answer, its own or that of those it was with."""
    by_mail = Counter(task.answers for task in tasks)
    for mail in accepted:
        if by_mail[mail.message_id] != 1:
            yield f"{mail.thread} {mail.number}: accepted, and {by_mail[mail.message_id]} tasks"
    for task in tasks:
        if task.state not in FINAL_STATES:
            yield f"task {task.id} is still {task.state}"
    expected, found = expected_answers(tasks), answers(mails)
    for mail in accepted:
        count, wanted = len(found.get(mail.message_id, ())), int(mail.message_id in expected)
        if count != wanted:
            yield f"{mail.thread} {mail.number}: {count} answers, not {wanted}"
    for stray in found.keys() - {mail.message_id for mail in accepted}:
        yield f"an answer to {stray}, which nobody sent"


def check_order(accepted: Sequence[Accepted], tasks: Sequence[Task]) -> Iterator[str]:
    """Messages of a thread are tasks of one conversation, in the order in which they were accepted."""
    by_mail = {task.answers: task for task in tasks}
    threads: defaultdict[str, list[Task]] = defaultdict(list)
    for mail in accepted:
        if mail.message_id in by_mail:
            threads[mail.thread].append(by_mail[mail.message_id])
    for thread, found in threads.items():
        if len({task.conversation for task in found}) > 1:
            yield f"{thread} fell into {len({task.conversation for task in found})} conversations"
        positions = [task.position for task in found]
        if positions != sorted(positions):
            yield f"{thread} was taken in another order than it was sent in: {positions}"


def check_log(name: str, lines: Sequence[str]) -> Iterator[str]:
    """What the agents of a conversation wrote down: one at a time, in order; a second try may begin again."""
    if "overlap" in lines:
        yield f"{name}: two agents worked at once"
    begun = [int(line.split()[1]) for line in lines if line.startswith("begin ")]
    first = list(dict.fromkeys(begun))
    if first != sorted(first):
        yield f"{name}: worked on in the order {first}"


def check_logs(site: Site) -> Iterator[str]:
    """`check_log` for every conversation."""
    for log in (site.orchestrator / "conversations").glob("*/storage/log"):
        yield from check_log(log.parent.parent.name, log.read_text("ascii").splitlines())


async def check_events(site: Site, tasks: Sequence[Task]) -> list[str]:
    """The event stream's last word on each task is the database's."""
    last: dict[str, str] = {}
    installation = open_installation(site.installation.config_file)
    async with (
        admin_bus(installation) as bus,
        aclosing(bus.replay(["airut.v1.event.task.>"])) as events,
    ):
        async for stored in events:
            event = _EVENT.validate_json(stored.data)
            if isinstance(event, TaskStateChanged):
                last[event.task] = event.state
            if not stored.pending:
                break
    found = [
        f"task {task.id} is {task.state}, and its events end with {last.get(task.id)}"
        for task in tasks
        if last.get(task.id) != task.state
    ]
    return found + [
        f"events of a task {task} that nobody knows" for task in last.keys() - {t.id for t in tasks}
    ]


async def check_leftovers(site: Site, tasks: Sequence[Task]) -> list[str]:
    """Nothing of a task is left while the installation still runs."""
    found = [f"task {task.id} is still leased" for task in tasks if task.leased]
    found += [f"container {container} is still there" for container in await site.containers()]
    try:
        async with admin_bus(open_installation(site.installation.config_file)) as bus:
            found += [
                f"egress session {session.sandbox} is still open" for session in await open_sessions(bus)
            ]
    except UsageError as error:
        found.append(f"open egress sessions are not known: {error}")
    found += [f"{path} is still there" for path in _temporary(site)]
    return found


def _temporary(site: Site) -> Iterator[Path]:
    yield from (site.orchestrator / "scratch").iterdir()
    yield from (site.orchestrator / "conversations").glob("*/.workspace.*")
    for lock in (site.orchestrator / "mirrors").rglob("*.lock"):
        if ".git/" in str(lock):
            yield lock


def check_processes(installation: str) -> Iterator[str]:
    """After the stop: no process of the installation lives."""
    mark = f"AIRUT_INSTALLATION={installation}".encode()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            if mark in (entry / "environ").read_bytes().split(b"\0"):
                yield f"process {entry.name} still runs"
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue  # gone, or somebody else's
