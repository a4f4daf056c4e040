"""A short run of `make chaos`: two dozen messages while a dozen misfortunes fall."""

import pytest

from chaos.plan import make_plan
from chaos.run import run_plan

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]


async def test_everything_dies_and_nothing_is_lost(tmp_path) -> None:
    outcome = await run_plan(make_plan(7, messages=24, seconds=50, blows=14), keep=tmp_path)
    assert outcome.broken == ()
    assert outcome.accepted == 24
    assert outcome.kills >= 5
