"""The table of attacks in docs/execution-sandbox.md and the tests it names are the same."""

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[3]
DOCUMENT = ROOT / "docs" / "execution-sandbox.md"
NAMED = re.compile(r"`(test_\w+\.py)::(test_\w+)`")
COMPLETE = re.compile(r"test_(hostile_\w+|disk_limit)\.py")


@cache
def _tests() -> set[tuple[str, str]]:
    found: set[tuple[str, str]] = set()
    for folder in (*ROOT.glob("libs/*/tests"), *ROOT.glob("services/*/tests"), ROOT / "tests"):
        for path in folder.rglob("test_*.py"):
            tree = ast.parse(path.read_text("utf-8"))
            functions = [
                node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            ]
            found |= {(path.name, node.name) for node in functions if node.name.startswith("test_")}
    return found


def test_every_test_that_the_table_names_exists() -> None:
    named = set(NAMED.findall(DOCUMENT.read_text("utf-8")))
    assert len(named) > 60
    assert sorted(named - _tests()) == []


def test_every_attack_that_is_tried_is_in_the_table() -> None:
    named = set(NAMED.findall(DOCUMENT.read_text("utf-8")))
    tried = {test for test in _tests() if COMPLETE.fullmatch(test[0])}
    assert len(tried) > 30
    assert sorted(tried - named) == []


def test_every_row_of_the_table_names_a_test() -> None:
    _, _, table = DOCUMENT.read_text("utf-8").partition("| attack | what happens | test |\n|---|---|---|\n")
    rows = [line for line in table.splitlines() if line.startswith("|")]
    assert [row for row in rows if not NAMED.search(row) and not row.startswith("| **")] == []
