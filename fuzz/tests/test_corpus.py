"""What fuzzing has found worth keeping keeps every promise."""

from pathlib import Path

import pytest

from fuzz.targets import TARGETS

CORPUS = Path(__file__).parents[1] / "corpus"


@pytest.mark.parametrize("target", TARGETS)
def test_the_corpus(target: str) -> None:
    files = sorted((CORPUS / target).iterdir())
    assert files, f"run `make fuzz` once: {target} has no corpus"
    for file in files:
        TARGETS[target](file.read_bytes())
