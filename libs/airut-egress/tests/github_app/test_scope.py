"""What a GraphQL document may name, against one repository that is ours."""

import json
from typing import Any

import pytest
from graphql import parse
from hypothesis import given, settings
from hypothesis import strategies as st

from airut_egress.github_app import judge, scope

from .encoding import issue, new, old, packed

OURS, THEIRS = 1296269, 5
REPOSITORIES = frozenset({"octocat/hello-world"})
OUR_ID, THEIR_ID = new("R", packed(0, OURS)), new("R", packed(0, THEIRS))
OUR_ISSUE, THEIR_ISSUE = issue(OURS), issue(THEIRS)
OLD_ISSUE = old("05:Issue347")


def judged(text: str, variables: dict[str, Any] | None = None) -> str | None:
    refusal = judge(
        parse(text, no_location=True),
        variables or {},
        repositories=REPOSITORIES,
        repository_ids=frozenset({OURS}),
    )
    assert refusal is None or (refusal and refusal.isprintable() and len(refusal) < 250)
    return refusal


@pytest.mark.parametrize(
    ("text", "variables"),
    [
        ("{ viewer { login } }", {}),
        ("{ rateLimit { remaining } }", {}),
        ('{ repository(owner: "octocat", name: "hello-world") { id } }', {}),
        ('{ repository(owner: "Octocat", name: "Hello-World", followRenames: true) { id } }', {}),
        ('{ repository(owner: """octocat""", name: "hello\\u002dworld") { id } }', {}),
        (
            "query($o: String!, $n: String!) { repository(owner: $o, name: $n) { id } }",
            {"o": "OCTOCAT", "n": "hello-world"},
        ),
        ('query($o: String = "octocat") { repository(owner: $o, name: "hello-world") { id } }', {}),
        ('{ organization(login: "octocat") { repository(name: "hello-world") { id } } }', {}),
        ('{ user(login: "octocat") { ... on User { repository(name: "hello-world") { id } } } }', {}),
        (
            '{ repositoryOwner(login: "octocat") { ...F } } fragment F on RepositoryOwner { ...G } fragment G on RepositoryOwner { repository(name: "hello-world") { id } }',
            {},
        ),
        (
            '{ search(query: "x", type: ISSUE, first: 5) { nodes { ... on Issue { repository { nameWithOwner } } } } }',
            {},
        ),
        ('{ organization(login: "other") { name } user(login: "x") { name } }', {}),
        (f'{{ node(id: "{OUR_ISSUE}") {{ id }} }}', {}),
        (f'{{ nodes(ids: ["{OUR_ISSUE}", "{OUR_ID}"]) {{ id }} }}', {}),
        (f'{{ nodes(ids: "{OUR_ISSUE}") {{ id }} }}', {}),
        ("query($i: [ID!]!) { nodes(ids: $i) { id } }", {"i": [OUR_ISSUE, OUR_ID]}),
        ("query($i: ID!) { nodes(ids: [$i]) { id } }", {"i": OUR_ISSUE}),
        ("query($i: ID) { node(id: $i) { id } }", {}),
        ("query($i: ID) { node(id: $i) { id } }", {"i": None}),
        (f'query($i: ID = "{THEIR_ISSUE}") {{ node(id: $i) {{ id }} }}', {"i": OUR_ISSUE}),
        (
            f'mutation {{ addComment(input: {{subjectId: "{OUR_ISSUE}", body: "x", clientMutationId: "y"}}) {{ clientMutationId }} }}',
            {},
        ),
        (
            "mutation($input: AddCommentInput!) { addComment(input: $input) { clientMutationId } }",
            {"input": {"subjectId": OUR_ISSUE, "body": "x", "clientMutationId": 5}},
        ),
        (
            'mutation($o: GitObjectID!) { createCommitOnBranch(input: {branch: {repositoryNameWithOwner: "Octocat/hello-world", branchName: "b"}, expectedHeadOid: $o}) { clientMutationId } }',
            {"o": "0" * 40},
        ),
        ('{ resource(url: "https://github.com/octocat/Hello-World") { url } }', {}),
        ('{ resource(url: "https://github.com/octocat/Hello-World/pull/5#issuecomment-7") { url } }', {}),
        ('{ resource(url: "https://ghe.example:8443/octocat/Hello-World/") { url } }', {}),
        (
            '{ a: repository(owner: "octocat", name: "hello-world") { issue(number: 5) { author { login } } } }',
            {},
        ),
        ("{ viewer { login } } fragment Unused on Query { viewer { id } }", {}),
        # Values that nothing refers to are not GitHub's to read either.
        ("{ viewer { login } }", {"id": THEIR_ISSUE}),
        ("query($b: Boolean!) { viewer { login @include(if: $b) } }", {"b": True}),
        ("{ viewer { ...F } } fragment F on User { login ...F }", {}),
    ],
)
def test_what_stays_inside(text: str, variables: dict[str, Any]) -> None:
    assert judged(text, variables) is None


ATTACKS: list[tuple[str, dict[str, Any]]] = [
    # Repositories by name.
    ('{ repository(owner: "octocat", name: "other") { id } }', {}),
    ('{ repository(owner: "other", name: "hello-world") { id } }', {}),
    ('{ viewer: repository(owner: "octocat", name: "other") { id } }', {}),
    (
        '{ a: repository(owner: "octocat", name: "hello-world") { id } b: repository(owner: "x", name: "y") { id } }',
        {},
    ),
    ('query A { viewer { login } } query B { repository(owner: "x", name: "y") { id } }', {}),
    ('{ ...F } fragment F on Query { repository(owner: "x", name: "y") { id } }', {}),
    ('{ viewer { login } } fragment F on Query { repository(owner: "x", name: "y") { id } }', {}),
    ('{ ... { ... on Query { repository(owner: "x", name: "y") { id } } } }', {}),
    ('{ relay { repository(owner: "x", name: "y") { id } } }', {}),
    (
        'mutation { addStar(input: {}) { starrable { ... on Repository { owner { repository(name: "y") { id } } } } } }',
        {},
    ),
    ('subscription { repository(owner: "x", name: "y") { id } }', {}),
    ('{ repository(owner: "octocat", name: "other") @skip(if: true) { id } }', {}),
    (
        "query($o: String!, $n: String!) { repository(owner: $o, name: $n) { id } }",
        {"o": "octocat", "n": "other"},
    ),
    ("query($o: String!, $n: String!) { repository(owner: $o, name: $n) { id } }", {"o": "octocat"}),
    (
        "query($o: String!, $n: String!) { repository(owner: $o, name: $n) { id } }",
        {"o": ["octocat"], "n": "hello-world"},
    ),
    ('query($n: String = "hello-world") { repository(owner: "octocat", name: $n) { id } }', {"n": "other"}),
    ('query($n: String = "hello-world") { repository(owner: "octocat", name: $n) { id } }', {"n": None}),
    ('query($n: String = "other") { repository(owner: "octocat", name: $n) { id } }', {}),
    # The same fragment means different repositories in different operations.
    (
        'query A($n: String = "hello-world") { ...F } query B($n: String = "other") { ...F } fragment F on Query { repository(owner: "octocat", name: $n) { id } }',
        {},
    ),
    ("{ repository(owner: octocat, name: hello) { id } }", {}),
    ('{ repository(owner: "octocat") { id } }', {}),
    ('{ repository(name: "hello-world") { id } }', {}),
    ('{ repository(owner: "octocat", name: "hello-world", name: "other") { id } }', {}),
    ('{ repository(owner: "octocat", name: "other", name: "hello-world") { id } }', {}),
    ('{ repository(owner: "octocat/hello-world", name: "") { id } }', {}),
    ('{ repository(owner: "", name: "octocat/hello-world") { id } }', {}),
    ('{ repository(owner: "octocat", name: "hello-world/") { id } }', {}),
    ('{ repository(owner: "octocat", name: "hello-world ") { id } }', {}),
    ('{ repository(owner: "octocat", name: "hello-world\\n") { id } }', {}),
    ('{ repository(owner: "octocat", name: "hello-wor\\u006Cd.git") { id } }', {}),
    ('{ repository(owner: "octo\\u0130cat", name: "hello-world") { id } }', {}),
    # Under an owner.
    ('{ organization(login: "octocat") { repository(name: "other") { id } } }', {}),
    ('{ organization(login: "other") { repository(name: "hello-world") { id } } }', {}),
    ('{ x: user(login: "other") { repository(name: "hello-world") { id } } }', {}),
    ('{ repositoryOwner(login: "other") { ... on User { repository(name: "hello-world") { id } } } }', {}),
    ('query($l: String!) { user(login: $l) { repository(name: "hello-world") { id } } }', {"l": "other"}),
    ('query($l: String!) { user(login: $l) { repository(name: "hello-world") { id } } }', {}),
    ('{ viewer { repository(name: "hello-world") { id } } }', {}),
    ('{ viewer { ...F } } fragment F on User { repository(name: "hello-world") { id } }', {}),
    # A fragment that is fine under one owner and not under the other.
    (
        '{ a: user(login: "octocat") { ...F } b: user(login: "other") { ...F } } fragment F on User { repository(name: "hello-world") { id } }',
        {},
    ),
    (
        '{ user(login: "octocat") { followers(first: 9) { nodes { repository(name: "hello-world") { id } } } } }',
        {},
    ),
    (
        '{ enterprise(slug: "e") { organizations(first: 9) { nodes { repository(name: "hello-world") { id } } } } }',
        {},
    ),
    # Nodes.
    (f'{{ node(id: "{THEIR_ISSUE}") {{ id }} }}', {}),
    (f'{{ node(id: "{OLD_ISSUE}") {{ id }} }}', {}),
    ('{ node(id: "U_kgDOBmqxtw") { id } }', {}),
    ('{ node(id: "PVT_kwDOBESWNM4AKRt3") { id } }', {}),
    ('{ node(id: "") { id } }', {}),
    ("{ node(id: 5) { id } }", {}),
    ("{ node(id: true) { id } }", {}),
    ("{ node(id: 1.5) { id } }", {}),
    ("{ node(id: I_kwDO) { id } }", {}),
    ('{ node(id: {x: "y"}) { id } }', {}),
    (f'{{ relay {{ nodes(ids: ["{OUR_ISSUE}", "{THEIR_ISSUE}"]) {{ id }} }} }}', {}),
    (f'{{ nodes(ids: [["{OUR_ISSUE}"], ["{THEIR_ISSUE}"]]) {{ id }} }}', {}),
    (f'{{ nodes(ids: "{THEIR_ISSUE}") {{ id }} }}', {}),
    ("query($i: ID!) { node(id: $i) { id } }", {"i": THEIR_ISSUE}),
    ("query($i: ID!) { node(id: $i) { id } }", {"i": 5}),
    ("query($i: ID!) { node(id: $i) { id } }", {"i": {"i": OUR_ISSUE}}),
    ("query($i: [ID!]!) { nodes(ids: $i) { id } }", {"i": [OUR_ISSUE, THEIR_ISSUE]}),
    ("query($i: ID!) { nodes(ids: [$i]) { id } }", {"i": [THEIR_ISSUE]}),
    (f'query($i: ID = "{THEIR_ISSUE}") {{ node(id: $i) {{ id }} }}', {}),
    # A variable that is sent without being defined.
    ("{ node(id: $i) { id } }", {"i": THEIR_ISSUE}),
    ("query($i: ID) { ...F } fragment F on Query { node(id: $i) { id } }", {"i": THEIR_ISSUE}),
    # Mutations.
    (
        f'mutation {{ addComment(input: {{subjectId: "{THEIR_ISSUE}", body: "x"}}) {{ clientMutationId }} }}',
        {},
    ),
    ("mutation($s: ID!) { addComment(input: {subjectId: $s}) { clientMutationId } }", {"s": THEIR_ISSUE}),
    (
        "mutation($input: I!) { addComment(input: $input) { clientMutationId } }",
        {"input": {"subjectId": THEIR_ISSUE}},
    ),
    (
        "mutation($input: I!) { addComment(input: $input) { clientMutationId } }",
        {"input": [{"subjectId": THEIR_ISSUE}]},
    ),
    (
        "mutation($x: I!) { m(input: {list: [{deep: $x}]}) { clientMutationId } }",
        {"x": {"y": [[{"labelIds": [THEIR_ISSUE]}]]}},
    ),
    (f'mutation($x: I = {{labelIds: ["{THEIR_ISSUE}"]}}) {{ m(input: $x) {{ clientMutationId }} }}', {}),
    (
        f'mutation {{ createIssue(input: {{repositoryId: "{THEIR_ID}", title: "x"}}) {{ clientMutationId }} }}',
        {},
    ),
    (
        f'mutation {{ transferIssue(input: {{issueId: "{OUR_ISSUE}", repositoryId: "{THEIR_ID}"}}) {{ clientMutationId }} }}',
        {},
    ),
    (
        f'mutation {{ m(input: {{issueId: "{OUR_ISSUE}", issueId: "{THEIR_ISSUE}"}}) {{ clientMutationId }} }}',
        {},
    ),
    ('mutation { createRepository(input: {name: "x", ownerId: "O_kgDOBmqxtw"}) { clientMutationId } }', {}),
    (
        f'mutation {{ m(input: {{issueId: "{THEIR_ISSUE}", issueId: "{OUR_ISSUE}"}}) {{ clientMutationId }} }}',
        {},
    ),
    ('mutation { createRepository(input: {name: "x", ownerId: "O_kgDOBmqxtw"}) { clientMutationId } }', {}),
    (
        'mutation { createCommitOnBranch(input: {branch: {repositoryNameWithOwner: "x/y", branchName: "b"}}) { clientMutationId } }',
        {},
    ),
    (
        'mutation { createCommitOnBranch(input: {branch: {repositoryNameWithOwner: "hello-world", branchName: "b"}}) { clientMutationId } }',
        {},
    ),
    (
        "mutation($i: I!) { createCommitOnBranch(input: $i) { clientMutationId } }",
        {"i": {"branch": {"repositoryNameWithOwner": "x/y"}}},
    ),
    (
        "mutation($i: I!) { createCommitOnBranch(input: $i) { clientMutationId } }",
        {"i": {"branch": {"id": new("REF", packed(0, THEIRS, "refs/heads/main"))}}},
    ),
    (f'{{ user(login: "x") {{ contributionsCollection(organizationID: "{THEIR_ID}") {{ endedAt }} }} }}', {}),
    (f'{{ viewer {{ login @x(repositoryId: "{THEIR_ID}") }} }}', {}),
    (f'query @x(id: "{THEIR_ID}") {{ viewer {{ login }} }}', {}),
    (f'query($a: Int @x(id: "{THEIR_ID}")) {{ viewer {{ login }} }}', {}),
    (f'{{ ...F }} fragment F on Query @x(id: "{THEIR_ID}") {{ viewer {{ login }} }}', {}),
    (f'{{ ... @x(id: "{THEIR_ID}") {{ viewer {{ login }} }} }}', {}),
    # URLs.
    ('{ resource(url: "https://github.com/x/y") { url } }', {}),
    ('{ resource(url: "https://github.com/octocat") { url } }', {}),
    ('{ resource(url: "https://github.com/octocat/") { url } }', {}),
    ('{ resource(url: "https://github.com//octocat/hello-world") { url } }', {}),
    ('{ resource(url: "https://github.com/octocat/hello-world/../other") { url } }', {}),
    ('{ resource(url: "https://github.com/octocat/hello-world/%2e%2e/other") { url } }', {}),
    ('{ resource(url: "https://github.com/octocat/hello-world//x") { url } }', {}),
    ('{ resource(url: "https://github.com\\\\@x/octocat/hello-world") { url } }', {}),
    ('{ resource(url: "https://x@github.com/octocat/hello-world") { url } }', {}),
    ('{ resource(url: "http://github.com/octocat/hello-world") { url } }', {}),
    ('{ resource(url: "/octocat/hello-world") { url } }', {}),
    ('{ resource(url: "https://github.com/octocat/hello-world\\n") { url } }', {}),
    ('{ resource(url: "https://github.com/x/y?/octocat/hello-world") { url } }', {}),
    ("query($u: URI!) { resource(url: $u) { url } }", {"u": "https://github.com/x/y"}),
    ("query($u: URI!) { resource(url: $u) { url } }", {}),
    ("query($u: URI!) { resource(url: $u) { url } }", {"u": ["https://github.com/octocat/hello-world"]}),
    # Documents that no server should take.
    ("{ ...Missing }", {}),
    ("{ ...F } fragment F on Query { viewer { login } } fragment F on Query { viewer { id } }", {}),
    ('query($a: ID = "x", $a: ID = "y") { viewer { login } }', {}),
    ("type Query { viewer: Int }", {}),
    ("{ viewer { login } } type Query { viewer: Int }", {}),
]


@pytest.mark.parametrize(("text", "variables"), ATTACKS)
def test_what_leaves_is_refused(text: str, variables: dict[str, Any]) -> None:
    assert judged(text, variables)


@pytest.mark.parametrize(
    "text",
    [
        '{ organization(login: "octocat") { ...F } } fragment F on Organization { repository(name: "hello-world") { id } }',
        '{ ...A ...B } fragment A on Query { user(login: "octocat") { ...F } } fragment B on Query { viewer { login } } fragment F on User { repository(name: "hello-world") { id } }',
    ],
)
def test_a_fragment_is_judged_where_it_is_used(text: str) -> None:
    assert judged(text) is None


def test_a_refusal_says_what_is_outside() -> None:
    assert (
        judged('{ repository(owner: "octocat", name: "other") { id } }')
        == "the repository octocat/other is not one of the installation's"
    )
    refusal = judged(f'mutation {{ m(input: {{subjectId: "{THEIR_ISSUE}"}}) {{ x }} }}')
    assert refusal == "subjectId is the id of a node outside the installation's repositories"
    refusal = judged("query($i: I) { m(i: $i) { x } }", {"i": {"\x1b[31m\n" + "x" * 500 + "Id": 5}})
    assert refusal is None, "no field of GitHub's has such a name"


def test_without_repositories_nothing_can_be_named() -> None:
    document = parse(f'{{ node(id: "{OUR_ISSUE}") {{ id }} }}')
    assert judge(document, {}, repositories=frozenset(), repository_ids=frozenset())
    document = parse('{ repository(owner: "octocat", name: "hello-world") { id } }')
    assert judge(document, {}, repositories=frozenset(), repository_ids=frozenset())


def test_deep_nesting_is_refused() -> None:
    nested: Any = "x"
    for _ in range(100_000):
        nested = [nested]
    assert "deep" in (judged("query($i: ID) { node(id: $i) { id } }", {"i": nested}) or "")
    deep: Any = {}
    for _ in range(100_000):
        deep = {"x": deep}
    assert "deep" in (judged("query($i: I) { m(input: $i) { id } }", {"i": deep}) or "")
    loop: list[Any] = []
    loop.append(loop)
    assert judged("query($i: I) { m(input: $i) { id } }", {"i": loop})


@pytest.mark.timeout(20)
def test_documents_that_multiply_are_refused() -> None:
    owners = " ".join(f'a{n}: user(login: "u{n}") {{ ...F }}' for n in range(1500))
    fields = " ".join(f"f{n}" for n in range(1500))
    assert "too large" in (judged(f"{{ {owners} }} fragment F on User {{ {fields} }}") or "")
    uses = " ".join(f"a{n}: m(input: $i) {{ x }}" for n in range(1500))
    assert "too large" in (judged(f"query($i: I) {{ {uses} }}", {"i": [1] * 100_000}) or "")
    chain = " ".join(f"fragment F{n} on User {{ ...F{n + 1} ...F{n + 1} }}" for n in range(300))
    assert judged(f"{{ viewer {{ ...F0 }} }} {chain} fragment F300 on User {{ login }}") is None


NAMES = st.sampled_from(
    [
        "repository",
        "organization",
        "user",
        "viewer",
        "node",
        "nodes",
        "resource",
        "search",
        "id",
        "ids",
        "repositoryId",
        "labelIds",
        "owner",
        "name",
        "login",
        "url",
        "input",
        "clientMutationId",
        "repositoryNameWithOwner",
        "x",
    ]
)
STRINGS = st.sampled_from(
    [
        "octocat",
        "hello-world",
        "other",
        OUR_ID,
        THEIR_ID,
        OUR_ISSUE,
        THEIR_ISSUE,
        OLD_ISSUE,
        "",
        "a/b",
        "\ud800",
    ]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | STRINGS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)


def as_graphql(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}: {as_graphql(each)}" for name, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(as_graphql, value)) + "]"
    if isinstance(value, float):
        return "1.5"
    if isinstance(value, str) and value.startswith("$"):
        return value
    return json.dumps(value.replace("\ud800", "?") if isinstance(value, str) else value)


ARGUMENTS = st.dictionaries(NAMES, JSON | st.sampled_from(["$a", "$b"]), max_size=3)


def as_field(parts: tuple[str, dict[str, Any], list[str]]) -> str:
    name, arguments, inner = parts
    written = ", ".join(f"{key}: {as_graphql(value)}" for key, value in arguments.items())
    return f"{name}{f'({written})' if written else ''}{f' {{ {" ".join(inner)} }}' if inner else ''}"


FIELDS = st.recursive(
    st.tuples(NAMES, ARGUMENTS, st.just([])).map(as_field) | st.sampled_from(["...F", "...G"]),
    lambda inner: st.tuples(NAMES, ARGUMENTS, st.lists(inner, min_size=1, max_size=3)).map(as_field),
    max_leaves=5,
)


@settings(max_examples=300)
@given(FIELDS, FIELDS, FIELDS, st.dictionaries(st.sampled_from("ab"), JSON))
def test_never_raises_and_never_lets_the_others_id_pass(
    one: str, two: str, three: str, variables: dict[str, Any]
) -> None:
    text = f"query($a: A = 5, $b: B) {{ {one} }} fragment F on A {{ {two} }} fragment G on A {{ {three} }}"
    if judged(text, variables) is None and not variables:
        # Wherever their id stands, it stands for a node, or under a name that names none.
        assert not any(
            f'{name}: "{each}"' in text for name in ("id", "repositoryId") for each in (THEIR_ID, THEIR_ISSUE)
        )


@given(st.text(max_size=20), JSON)
def test_hostile_variables(name: str, value: Any) -> None:
    judged("query($a: A) { m(input: $a) { x } }", {"a": {name: value}})


def test_a_walk_that_breaks_is_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: str) -> int:
        raise RuntimeError

    monkeypatch.setattr(scope, "repository_of", broken)
    assert judged(f'{{ node(id: "{OUR_ISSUE}") {{ id }} }}') == "the GraphQL document could not be judged"
    assert judge(None, {}, repositories=REPOSITORIES, repository_ids=frozenset())  # type: ignore[arg-type]
