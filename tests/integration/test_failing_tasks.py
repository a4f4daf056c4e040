"""The real agent crashes, a credential has no value: each answered in words, and the next task is unharmed."""

import json
import sys

import pytest

from airut_common.processes import run
from airut_demo.installation import ADDRESS

from .conftest import ALL, Site, bash, text_of

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(300)]


async def test_an_agent_that_crashes_is_told_and_the_thread_goes_on(site: Site) -> None:
    first = await site.ask(bash("kill -9 $PPID; sleep 5"), ALL, subject="Crash")
    assert "Traceback" not in text_of(first)
    assert "exit code" in text_of(first) or "ended" in text_of(first)
    again = await site.ask(bash("echo alive"), ALL, subject="Re: Crash", reply_to=first)
    assert "alive" in text_of(again)


async def test_a_credential_without_a_value_is_named_with_the_way_out_while_everything_runs(
    site: Site,
) -> None:
    file = site.installation.config_file
    before = file.read_text()
    config = json.loads(before)
    config["repos"]["demo"]["credentials"]["FORGOTTEN_KEY"] = {
        "scopes": ["git.demo.example"],
        "headers": ["x-forgotten"],
    }

    async def apply(text: str) -> None:
        file.write_text(text)
        await run([sys.executable, "-P", "-m", "airut", "apply", "-c", str(file)], timeout_seconds=60)

    await apply(json.dumps(config))
    try:
        text = text_of(await site.ask(bash("true"), ALL, subject="Forgotten"))
        assert "airut secret set FORGOTTEN_KEY" in text
    finally:
        await apply(before)
    assert "fine" in text_of(await site.ask(bash("echo fine"), ALL, subject=f"Mended, {ADDRESS}"))
