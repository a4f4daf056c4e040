"""The allowlist file: strict, and every problem has its line (field notes 57)."""

import pytest

from airut_common.config.yamlfile import ConfigError
from airut_egress.policy import parse_policy

SOURCE = ".airut/network-allowlist.yaml"


def problems_of(text: str) -> list[tuple[int | None, str, str]]:
    with pytest.raises(ConfigError) as caught:
        parse_policy(text, SOURCE)
    return [(problem.line, problem.field, problem.message) for problem in caught.value.problems]


def test_an_existing_file_is_read() -> None:
    policy = parse_policy(
        """
# Hosts that are open on all paths
domains:
  - api.anthropic.com
  - "*.Example.COM."
  - bücher.example
url_prefixes:
  - host: pypi.org
    path: ""
    methods: [get, HEAD]
  - host: api.github.com
    path: /repos/airut/*
    methods: []
  - host: "*"
    path: /health
""",
        SOURCE,
    )
    assert [(rule.name, rule.host.text, rule.path.text, rule.methods) for rule in policy.rules] == [
        ("domains[0] api.anthropic.com", "api.anthropic.com", "", None),
        ("domains[1] *.Example.COM.", "*.example.com", "", None),
        ("domains[2] bücher.example", "xn--bcher-kva.example", "", None),
        ("url_prefixes[0] pypi.org", "pypi.org", "", frozenset({"GET", "HEAD"})),
        ("url_prefixes[1] api.github.com /repos/airut/*", "api.github.com", "/repos/airut/*", None),
        ("url_prefixes[2] * /health", "*", "/health", None),
    ]


@pytest.mark.parametrize("text", ["domains: []", "url_prefixes: []", "domains: []\nurl_prefixes: []\n"])
def test_an_explicit_empty_list_allows_nothing(text: str) -> None:
    assert parse_policy(text, SOURCE).rules == ()


@pytest.mark.parametrize(
    "text", ["", "\n", "# only a comment\n", "---\n", "null\n", "{}\n", "[]\n", "domains\n", "- a\n"]
)
def test_an_empty_or_shapeless_file_is_an_error(text: str) -> None:
    """Row 57."""
    assert problems_of(text)


@pytest.mark.parametrize(
    ("text", "line", "field", "words"),
    [
        ('domains: "*.x.example"\n', 1, "domains", "expected a list of host patterns"),
        ("domains:\n", 1, "domains", "expected a list"),
        ("# a\n\nurl_prefixes:\n", 3, "url_prefixes", "expected a list"),
        ("url_prefixes: pypi.org\n", 1, "url_prefixes", "expected a list"),
        ("domains: {a.example: 1}\n", 1, "domains", "expected a list"),
        ("domains:\n  - a.example\n  - 12\n", 3, "domains", "must be text"),
        ("domains:\n  - a.example\n  - null\n", 3, "domains", "must be text"),
        ("domains:\n  - a.example\n  - [b.example]\n", 3, "domains", "must be text"),
        ("domains:\n  - a.example\n  - ''\n", 3, "domains", "not empty"),
        ("domains:\n  - a.example\n  - 10.0.0.1\n", 3, "domains", "addresses cannot be allowed"),
        ("domains:\n  - '[::1]'\n", 2, "domains", "addresses"),
        ("domains:\n  - a.example:8443\n", 2, "domains", "without a port"),
        ("domains:\n  - https://a.example/x\n", 2, "domains", "not a URL"),
        ("domains:\n  - a[bc].example\n", 2, "domains", "character classes"),
        ("domains:\n  - a..example\n", 2, "domains", "empty label"),
        ("domains:\n  - '*..example'\n", 2, "domains", "labels"),
        ("domains:\n  - '*.exa mple'\n", 2, "domains", "character"),
        ("domains:\n  - 'b*ü.example'\n", 2, "domains", "labels"),
        ("domian:\n  - a.example\n", 1, "domian", ""),
        ("domains: [a.example]\nextra: 1\n", 2, "extra", ""),
        ("domains: [a.example]\ndomains: ['*']\n", 2, "domains", ""),
        ("url_prefixes:\n  - host: a.example\n", 2, "path", ""),
        ("url_prefixes:\n  - path: /x\n", 2, "host", ""),
        ("url_prefixes:\n  - host: a.example\n    path:\n", 3, "path", "must be text"),
        ("url_prefixes:\n  - host: a.example\n    path: api\n", 3, "path", "begins with a slash"),
        ("url_prefixes:\n  - host: a.example\n    path: /a%2fb\n", 3, "path", "percent-decoded"),
        (
            "url_prefixes:\n  - host: a.example\n    path: /x\n    methods: GET\n",
            4,
            "methods",
            "expected a list",
        ),
        ("url_prefixes:\n  - host: a.example\n    path: /x\n    methods:\n", 4, "methods", "expected a list"),
        (
            "url_prefixes:\n  - host: a.example\n    path: /x\n    methods: ['*']\n",
            4,
            "methods",
            "HTTP method",
        ),
        (
            "url_prefixes:\n  - host: a.example\n    path: /x\n    methods: [GET, 1]\n",
            4,
            "methods",
            "must be text",
        ),
        ("url_prefixes:\n  - host: a.example\n    path: /x\n    method: [GET]\n", 4, "method", ""),
        ("url_prefixes:\n  - a.example\n", 2, "url_prefixes", ""),
    ],
)
def test_what_does_not_validate_names_line_and_form(text: str, line: int, field: str, words: str) -> None:
    """Row 57: a string for a list, an unknown key, a wrong type, an empty block."""
    found = problems_of(text)
    assert any(line == at and field in where and words in message for at, where, message in found), found


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("", "got nothing"),
        (" null", "got nothing"),
        (" false", "expected a block"),
        (" [viewer]", "expected a block"),
        (" {}", "an empty block is a mistake"),
        (" {queries: viewer}", "expected a list"),
        (" {queries: null}", "expected a list"),
        (" {query: [viewer]}", "did you mean `queries`"),
        (" {queries: [view-er]}", "letters, digits"),
        (" {queries: ['']}", "letters, digits"),
    ],
)
def test_row_57_a_graphql_block_that_does_not_hold_is_an_error(value: str, words: str) -> None:
    """An empty `graphql:` must not switch filtering off."""
    found = problems_of(f"url_prefixes:\n  - host: a.example\n    path: /graphql\n    graphql:{value}\n")
    assert len(found) == 1
    line, field, message = found[0]
    assert line == 4
    assert "graphql" in field
    assert words in message


def test_all_problems_are_told_at_once() -> None:
    found = problems_of("domains:\n  - 1\n  - a:1\nurl_prefixes:\n  - host: x.example\n    pth: /\n")
    assert {line for line, _, _ in found} >= {2, 3, 6}
