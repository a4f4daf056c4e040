"""One decision under a policy of 1,000 rules, beside trying rule after rule."""

import random
import string
import time
from collections.abc import Callable

from airut_egress.paths import decode_path
from airut_egress.policy import Policy, RequestFacts, decide, parse_policy
from bench.rows import Row

RULES = 1000
_REPEATS = 2000
_TARGET_US = 50


def measure() -> list[Row]:
    """The rule in the middle, the last one, none; then all rules for one host, in two shapes."""
    mixed = _mixed()
    one_host = _for_one_host("/org-{n}/repo-{n}.git/*")
    one_beginning = _for_one_host("/repos/*/name-{n}/*")
    shapes: list[tuple[str, Policy, str, str]] = [
        ("hosts, wildcards and prefixes mixed; the one in the middle", mixed, *_request(mixed, RULES // 2)),
        ("the same, the last one", mixed, *_request(mixed, RULES - 1)),
        ("the same, none", mixed, "nowhere.example", "/x"),
        ("all for one host, the last one", one_host, *_request(one_host, RULES - 1)),
        (
            "all for one host with one beginning, the last one",
            one_beginning,
            *_request(one_beginning, RULES - 1),
        ),
    ]
    return [_row(*shape) for shape in shapes]


def _mixed() -> Policy:
    choose = random.Random(1)

    def word() -> str:
        return "".join(choose.choices(string.ascii_lowercase, k=8))

    domains = [f"{word()}.example" for _ in range(400)] + [f"*.{word()}.example" for _ in range(200)]
    prefixes = [f"{{host: {word()}.example, path: /{word()}/*, methods: [GET]}}" for _ in range(400)]
    lines = ["domains:", *(f"  - '{host}'" for host in domains)]
    return parse_policy("\n".join([*lines, "url_prefixes:", *(f"  - {one}" for one in prefixes)]), "policy")


def _for_one_host(path: str) -> Policy:
    entries = (f"  - {{host: a.example, path: '{path.format(n=number)}'}}" for number in range(RULES))
    return parse_policy("\n".join(["url_prefixes:", *entries]), "policy")


def _request(policy: Policy, position: int) -> tuple[str, str]:
    """A host and a path that this rule allows."""
    rule = policy.rules[position]
    return rule.host.text.replace("*", "www"), rule.path.text.replace("*", "some/thing") or "/some/thing"


def _row(what: str, policy: Policy, host: str, path: str) -> Row:
    facts = RequestFacts("GET", "https", host, 443, path.encode())
    ours = _microseconds(lambda: decide(facts, policy), _REPEATS)
    naive = _microseconds(lambda: _rule_after_rule(facts, policy), _REPEATS // 20)
    return Row(
        f"a decision, {RULES} rules: {what}",
        f"{ours:.1f} µs",
        f"{naive:.0f} µs, rule after rule",
        f"< {_TARGET_US} µs",
        ours < _TARGET_US,
    )


def _rule_after_rule(facts: RequestFacts, policy: Policy) -> bool:
    path = decode_path(facts.raw_path)
    return any(rule.host.matches(facts.host) and rule.path.matches(path) for rule in policy.rules)


def _microseconds(work: Callable[[], object], repeats: int) -> float:
    """CPU time of one call."""
    work()
    began = time.process_time()
    for _ in range(repeats):
        work()
    return (time.process_time() - began) / repeats * 1e6
