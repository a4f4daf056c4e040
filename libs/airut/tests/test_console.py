import io

import pytest
from rich.console import Console

from airut.console import LogView, visible


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("\x1b[2Jgone", "\\x1b[2Jgone"),
        ("a\rb", "a\\x0db"),
        ("x\u202ey", "x\\x202ey"),
        ("\x9b31m", "\\x9b31m"),
        ("tab\tand ümläut", "tab\tand ümläut"),
    ],
)
def test_row_37_nothing_in_a_line_steers_the_terminal(hostile, shown) -> None:
    assert visible(hostile) == shown


def test_names_are_aligned_and_markup_is_text() -> None:
    out = io.StringIO()
    view = LogView(["a", "longer"], Console(file=out, highlight=False, soft_wrap=True))
    view.write("a", "[red]not markup[/red]")
    view.write("longer", "second")
    assert out.getvalue() == "a      │ [red]not markup[/red]\nlonger │ second\n"
