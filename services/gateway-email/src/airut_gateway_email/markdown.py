"""Pure: Markdown of an agent (hostile) -> HTML that is safe to show in a mail program."""

import nh3
from markdown_it import MarkdownIt

#: No images: a remote one would tell its server who read the answer when, and could carry data out (row 51).
_TAGS = frozenset(
    {
        "a", "blockquote", "br", "code", "del", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "li", "ol", "p", "pre",
        "s", "strong", "table", "tbody", "td", "th", "thead", "tr", "ul",
    }
)  # fmt: skip
MAX_NESTING = 30

_markdown = MarkdownIt("commonmark", {"html": False, "maxNesting": MAX_NESTING}).enable(
    ["table", "strikethrough"]
)


def markdown_to_html(text: str) -> str:
    """HTML of a fixed set of elements, with links to http, https and mailto only."""
    return nh3.clean(
        _markdown.render(text),
        tags=set(_TAGS),
        attributes={"a": {"href"}, "ol": {"start"}},
        url_schemes={"http", "https", "mailto"},
        link_rel="noopener noreferrer",
    )
