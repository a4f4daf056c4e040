"""From events to HTML. Everything that comes from agents, mails or hosts is escaped or sanitised here."""

import contextlib
import json
import re
from datetime import UTC, datetime
from importlib.resources import files

import nh3
from jinja2 import Environment, PackageLoader, StrictUndefined
from markdown_it import MarkdownIt
from markupsafe import Markup
from pydantic import ValidationError

from airut_common.config.addresses import SenderRule
from airut_common.contracts.v1 import AgentOutput, EmailEvidence
from airut_dashboard.model import Change, TaskView
from airut_mail_auth import Record
from airut_mail_auth.lines import lines_of

_MARKDOWN = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"]).disable("image")
_TAGS = {
    "p", "br", "strong", "em", "s", "code", "pre", "blockquote", "ul", "ol", "li", "hr",
    "h1", "h2", "h3", "h4", "h5", "h6", "table", "thead", "tbody", "tr", "th", "td", "a",
}  # fmt: skip
#: Control characters but line breaks and tabs, and what turns the reading direction, hides, or hides text in itself.
#: Joiners and variation selectors of emoji stay.
_STEERING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\ufff9-\ufffb\U000e0000-\U000e0fff]"
)
#: The part of a tool call that a reader wants first, by input key.
_TOOL_SUMMARY_KEYS = ("command", "file_path", "path", "pattern", "url", "query", "description")


def markdown(text: str) -> Markup:
    """Agent text as HTML: no raw HTML, no images, links that neither run scripts nor pass a referrer on."""
    cleaned = nh3.clean(
        _MARKDOWN.render(text),
        tags=_TAGS,
        attributes={"a": {"href"}},
        url_schemes={"http", "https", "mailto"},
    )
    return Markup(cleaned)  # noqa: S704 - sanitised on the line above


def tool_summary(output: AgentOutput) -> str:
    """One line that says what a tool call does."""
    arguments = output.input or {}
    for key in _TOOL_SUMMARY_KEYS:
        if isinstance(arguments.get(key), str):
            return str(arguments[key])
    return json.dumps(arguments, ensure_ascii=False)[:400]


def duration(seconds: float | None) -> str:
    """Seconds for people: `0.4 s`, `12 s`, `3 min 05 s`, `2 h 07 min`."""
    if seconds is None:
        return ""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def size(count: int) -> str:
    """Bytes for people."""
    value = float(count)
    for unit in ("B", "kB", "MB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} GB"


def clock(at: datetime) -> str:
    """Time of day in UTC."""
    return at.astimezone(UTC).strftime("%H:%M:%S")


def evidence_lines(evidence: EmailEvidence) -> list[tuple[str, str]]:
    """A decision who sent a mail, as a label and a text each; a record that cannot be read gives the summary alone."""
    rule = str(SenderRule(evidence.rule, evidence.group))
    lines = [("sender list", rule), ("proven by", evidence.detail)]
    with contextlib.suppress(ValidationError):
        lines += lines_of(Record.model_validate(evidence.record))
    return [(label, _printable(text)) for label, text in lines]


def _printable(text: str) -> str:
    """Without what would turn the reading direction or hide itself: records of the DNS are their owner's words."""
    return "".join(char if char.isprintable() else "�" for char in text)


def _harmless(value: object) -> object:
    """What a template shows, without what steers a reader's eyes: agents, mails and hosts wrote most of it."""
    if isinstance(value, Markup):
        return Markup(_STEERING.sub("�", value))  # noqa: S704 - no character of markup comes in
    return _STEERING.sub("�", value) if isinstance(value, str) else value


class Renderer:
    """Templates of this package."""

    def __init__(self) -> None:
        self._templates = Environment(
            loader=PackageLoader("airut_dashboard"),
            autoescape=True,
            finalize=_harmless,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters |= {
            "markdown": markdown, "duration": duration, "size": size, "clock": clock, "tool_summary": tool_summary,
            "evidence_lines": evidence_lines,
        }  # fmt: skip

    def page(self, name: str, **values: object) -> str:
        """A whole page."""
        return self._templates.get_template(name).render(**values)

    def task_row(self, task: TaskView) -> str:
        """A task in the list."""
        return self._fragment("task_row", task=task)

    def task_header(self, task: TaskView) -> str:
        """The head of a task's page: state, cost, duration."""
        return self._fragment("task_header", task=task)

    def progress(self, task: TaskView) -> str:
        """What the agent does now, and its plan."""
        return self._fragment("progress", task=task)

    def output(self, change: Change) -> str:
        """One thing the agent said or did."""
        return self._fragment("output", change=change)

    def network_row(self, change: Change) -> str:
        """One line of the network log."""
        return self._fragment("network_row", change=change)

    def _fragment(self, macro: str, **values: object) -> str:
        module = self._templates.get_template("fragments.html").module
        return str(getattr(module, macro)(**values)).strip()


def static_folder() -> str:
    """Where style and script lie."""
    return str(files("airut_dashboard").joinpath("static"))
