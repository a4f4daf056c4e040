"""Only an unmistakable quotation of our own reply is left out, and the text says so."""

import pytest

from airut_gateway_email.quotes import LEFT_OUT, drop_quoted_reply

US = "demo@airut.example"


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (f"Yes.\n\nOn Monday Airut demo <{US}> wrote:\n> Shall I?\n>\n> -- \n> Airut", f"Yes.\n\n{LEFT_OUT}"),
        # A wrapped introduction keeps its first line: it could be the author's own.
        (
            f"Yes.\n\nOn Monday, 1 Jan,\n<{US}> wrote:\n\n> Shall I?\n",
            f"Yes.\n\nOn Monday, 1 Jan,\n\n{LEFT_OUT}",
        ),
        (f"Yes.\n\nOn Monday <{US}>\nwrote:\n> Shall I?\n", f"Yes.\n\n{LEFT_OUT}"),
        (f"Ja.\n\nAm 1.1. schrieb {US}:\n> Soll ich?", f"Ja.\n\n{LEFT_OUT}"),
        # Everything else stays as it is.
        ("Yes.\n\nOn Monday Bob <bob@b.example> wrote:\n> Shall I?", None),
        ("Yes.\n> Shall I?", None),
        (f"Look at what {US} says:\nand then this", None),
        (f"On Monday <{US}> wrote:\n> Shall I?\n\nYes, do.", None),
        (f"On Monday <{US}> wrote:\n> only the quotation", None),
        (f"Yes.\n\nOn Monday xdemo{US} wrote:\n> Shall I?", None),
        ("", None),
        ("> > >", None),
    ],
)
def test_quotations(text: str, kept: str | None):
    assert drop_quoted_reply(text, US) == (text if kept is None else kept)
