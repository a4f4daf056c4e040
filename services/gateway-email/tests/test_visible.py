"""The agent reads what the person saw (row 51)."""

import time

import pytest

from airut_gateway_email.content.visible import clean_text, html_to_text


@pytest.mark.parametrize(
    "hidden",
    [
        '<p style="display:none">evil</p>',
        '<p style="DISPLAY : NONE !important">evil</p>',
        '<span style="visibility:hidden">evil</span>',
        '<div style="font-size:0">evil</div>',
        '<div style="font-size: 1px">evil</div>',
        '<div style="opacity:0">evil</div>',
        '<div style="opacity:0.0;x:y">evil</div>',
        '<div style="max-height:0;overflow:hidden">evil</div>',
        '<div style="mso-hide:all">evil</div>',
        '<div style="position:absolute;left:-9999px">evil</div>',
        '<div style="text-indent:-9999px">evil</div>',
        '<span style="color:#fff">evil</span>',
        '<font color="white">evil</font>',
        '<span style="color:transparent">evil</span>',
        '<span style="color:#123456;background:#123456">evil</span>',
        "<p hidden>evil</p>",
        "<!-- evil -->",
        "<script>evil</script>",
        "<style>evil{}</style>",
        "<template>evil</template>",
        "<noscript>evil</noscript>",
        "<svg><text>evil</text></svg>",
        "<title>evil</title>",
        '<div style="display:none"><div><b>evil</b></div><p>evil</div>',
        '<img src="https://evil.example/x.png" alt="evil">',
    ],
)
def test_row_51_hidden_html_is_not_read(hidden: str):
    text = html_to_text(f"<p>before</p>{hidden}<p>after</p>")
    assert "before" in text
    assert "after" in text
    assert "evil" not in text


@pytest.mark.parametrize(
    "shown",
    [
        '<p style="display:block">good</p>',
        '<table><tr><td bgcolor="#000"><font color="#ffffff">good</font></td></table>',
        '<div style="background:#000"><span style="color:#fff">good</span></div>',
        '<div style="font-size:10px">good</div>',
        '<div style="font-size:0.9em">good</div>',
        '<div style="font-size:80%">good</div>',
        '<div style="line-height:0.8">good</div>',
        '<div style="width:100%;height:100px">good</div>',
        '<p style="display:none">x<p>good',
        '<p style="display:none">x</p>good',
        "<a href='https://a.example/'>good</a>",
        "&#103;ood",
        "<center>good</center>",
    ],
)
def test_visible_html_is_read(shown: str):
    assert "good" in html_to_text(f"<html><body>{shown}</body></html>")


def test_links_and_structure_survive():
    text = html_to_text(
        '<p>See <a href="https://a.example/x?a=1&b=2">this</a></p><pre>  code</pre><blockquote>old</blockquote>'
    )
    assert "[this](https://a.example/x?a=1&b=2)" in text.replace("<", "").replace(">", "")
    assert "  code" in text
    assert "> old" in text
    assert "javascript" not in html_to_text('<a href="javascript:x()">a</a>')


@pytest.mark.parametrize(
    "character",
    ["\u200b", "\u200e", "\u202e", "\u2060", "\u2066", "\ufeff", "\u00ad", "\u061c", "\u180e", "\u3164", "\U000e0041",
     "\U000e0101", "\x00", "\x1b", "\x7f", "\x9b", "\ufff9", "\u2028"],
)  # fmt: skip
def test_row_51_invisible_characters_go(character: str):
    assert clean_text(f"a{character}b") == "ab"


def test_scripts_and_emoji_keep_their_joiners():
    assert clean_text("👩\u200d💻 می\u200cخواهم") == "👩\u200d💻 می\u200cخواهم"
    assert clean_text("a\u200c\u200d\u200c\u200db") == "a\u200cb"


def test_lines_are_kept():
    assert clean_text("a\r\nb\rc\n\n\n\n\nd \t\n") == "a\nb\nc\n\nd"


def test_a_mountain_of_tags_takes_little_time():
    started = time.monotonic()
    html_to_text("<div>" * 10_000 + "x" + "</div>" * 10_000)
    html_to_text("<p style='display:none'>" * 20_000 + "x")
    html_to_text("<ul><li>" * 10_000 + "x\n" * 1000)
    html_to_text("<blockquote>" * 20_000 + "x\n" * 1000)
    html_to_text("<" * 20_000)
    clean_text("\n " * 300_000 + "\u200c" * 300_000)
    assert time.monotonic() - started < 20
