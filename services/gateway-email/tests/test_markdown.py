"""What an agent writes becomes HTML of a few harmless elements (row 56)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airut_gateway_email.markdown import markdown_to_html


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("**bold** `code`", "<p><strong>bold</strong> <code>code</code></p>"),
        ("- a\n- b", "<ul>\n<li>a</li>\n<li>b</li>\n</ul>"),
        ("[x](https://a.example/)", '<p><a href="https://a.example/" rel="noopener noreferrer">x</a></p>'),
        ("~~old~~", "<p><s>old</s></p>"),
        ("```py\na < b\n```", "<pre><code>a &lt; b\n</code></pre>"),
    ],
)
def test_markdown(text: str, html: str):
    assert markdown_to_html(text).strip() == html


def test_tables():
    assert "<td>1</td>" in markdown_to_html("| a |\n|---|\n| 1 |\n")


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "![pixel](https://evil.example/x.png)",
        "[x](javascript:alert(1))",
        "[x](data:text/html,<script>)",
        "<a href='https://a.example' onclick='x()'>y</a>",
        "<style>body{display:none}</style>",
        "[x]: javascript:alert(1)\n\n[x]",
        "<svg/onload=alert(1)>",
        '<https://a.example/"onmouseover=x>',
    ],
)
def test_row_56_nothing_runs_and_nothing_is_fetched(text: str):
    html = markdown_to_html(text)
    for word in (
        "<script",
        "<img",
        "<style",
        "<svg",
        'href="javascript',
        'href="data',
        'onclick="',
        " onmouseover=x",
    ):
        assert word not in html


@given(st.text(max_size=300))
def test_any_text_renders(text: str):
    html = markdown_to_html(text)
    assert "<script" not in html.lower()
    assert "<img" not in html.lower()


def test_deep_nesting_ends():
    assert markdown_to_html("> " * 5000 + "x")
    assert markdown_to_html("*a " * 5000)
    assert markdown_to_html("[" * 5000)
