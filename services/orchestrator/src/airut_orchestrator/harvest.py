"""What is taken from a conversation's folders once the container is gone. Nothing here loses the agent's answer:
what cannot be had becomes a note."""

import asyncio
from collections.abc import Sequence
from functools import partial

import structlog

from airut_common.bus import Bus, BusUnavailable
from airut_common.config.models import SandboxConfig
from airut_common.contracts.v1 import BlobRef, SessionClosed
from airut_orchestrator.folders import ConversationFolders
from airut_orchestrator.patience import patiently
from airut_orchestrator.verdict import Result
from airut_sandbox.outbox import OutboxLimits, OutFile, collect_outbox
from airut_sandbox.steering import SteeringSnapshot, changed_steering, snapshot_steering

STORE_SECONDS = 300.0
"""How long files wait for a bus that is away; the reply waits for it anyway."""
MAX_NAMED = 20

log = structlog.get_logger()


async def collect_files(
    bus: Bus, folders: ConversationFolders, settings: SandboxConfig, result: Result
) -> None:
    """The outbox, into the object store and the result."""
    limits = OutboxLimits(
        max_files=settings.max_outbox_files,
        max_file_bytes=settings.max_outbox_file_bytes,
        max_total_bytes=settings.max_outbox_total_bytes,
    )
    try:
        collected = await asyncio.to_thread(collect_outbox, folders.outbox, limits)
    except OSError as error:
        log.warning("outbox_unreadable", reason=str(error))
        result.notes.append(f"The files in /outbox could not be read ({error.strerror}).")
        return
    result.notes += _listed(
        [f"Not attached: {refusal.name} ({refusal.reason})" for refusal in collected.refused],
        "more files were not attached",
    )
    await _store(bus, collected.files, result)


async def _store(bus: Bus, files: Sequence[OutFile], result: Result) -> None:
    for position, file in enumerate(files):
        try:
            blob = await patiently(partial(_put, bus, file), STORE_SECONDS)
        except BusUnavailable as error:
            log.warning("outbox_not_stored", reason=str(error))
            names = ", ".join(left.name for left in files[position : position + MAX_NAMED])
            result.notes.append(f"Not attached, because the object store did not answer: {names}")
            return
        result.attachments.append(blob)


async def _put(bus: Bus, file: OutFile) -> BlobRef:
    return await bus.put_blob(file.data, name=file.name, media_type="application/octet-stream")


async def note_steering(before: SteeringSnapshot, folders: ConversationFolders, result: Result) -> None:
    """Name what a task changed of the files that steer later ones."""
    try:
        after = await asyncio.to_thread(snapshot_steering, folders.workspace)
    except OSError as error:
        log.warning("workspace_unreadable", reason=str(error))
        result.notes.append("The workspace could not be looked at for files that steer the agent or git.")
        return
    changed = changed_steering(before, after)
    if changed:
        named = ", ".join(changed[:MAX_NAMED])
        more = f", and {len(changed) - MAX_NAMED} more" if len(changed) > MAX_NAMED else ""
        result.notes.append(f"Files that steer the agent or git were changed: {named}{more}")


def note_denied(totals: SessionClosed | None, result: Result) -> None:
    """Say that the network refused something."""
    if totals is not None and totals.denied:
        requests = "request was" if totals.denied == 1 else "requests were"
        result.notes.append(f"{totals.denied} network {requests} refused; the task's network log names them.")


def _listed(notes: Sequence[str], more: str) -> list[str]:
    if len(notes) <= MAX_NAMED:
        return list(notes)
    return [*notes[:MAX_NAMED], f"… and {len(notes) - MAX_NAMED} {more}"]
