"""The `airut-sandbox` command, run as a user runs it."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from airut_sandbox.cli import main

Run = Callable[..., tuple[int, str, str]]

POLICY = """\
domains: ["*.pypi.org"]
url_prefixes:
  - {host: api.example.org, path: "/repos/*", methods: [GET]}
  - {host: api.example.org, path: /graphql, graphql: {queries: [viewer]}}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "allowlist.yaml"
    path.write_text(POLICY)
    return path


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["airut-sandbox", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        code = ended.value.code
        assert isinstance(code, int)
        return code, *capsys.readouterr()

    return run


def test_the_command_is_installed(file: Path) -> None:
    command = Path(sys.executable).with_name("airut-sandbox")
    done = subprocess.run([command, "policy", "check", file], capture_output=True, text=True, check=True)
    assert "good, 3 rules" in done.stdout


def test_check_lists_the_rules(file: Path, run: Run) -> None:
    code, out, _ = run("policy", "check", file)
    assert code == 0
    assert out.splitlines()[0] == "domains[0] *.pypi.org"
    assert out.endswith(f"{file}: good, 3 rules\n")


def test_check_names_line_and_way_out(file: Path, run: Run) -> None:
    file.write_text("domains: pypi.org\nurl_prefix: []\n")
    code, out, err = run("policy", "check", file)
    assert (code, out) == (2, "")
    assert f"{file}:1" in err
    assert "expected a list" in err
    assert "did you mean `url_prefixes`" in err


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("GET", "https://files.pypi.org/a?b=c"), 0, "allow: domains[0] *.pypi.org"),
        (("get", "https://API.example.org/repos/ü"), 0, "allow: url_prefixes[0]"),
        (("POST", "https://api.example.org/repos/x"), 1, "deny (method)"),
        (("GET", "https://api.example.org/"), 1, "deny (path)"),
        (("GET", "https://api.example.org/repos/a%2fb"), 1, "deny (ambiguous-path)"),
        (("GET", "https://pypi.org/"), 1, "deny (host)"),
        (("GET", "http://files.pypi.org:8080/"), 1, "deny (port)"),
        (("GET", "https://127.0.0.1/"), 1, "deny (literal)"),
        (("POST", "https://api.example.org/graphql"), 1, "it depends on the operation"),
        (("GET", "files.pypi.org"), 2, "is not a URL"),
        (("GET", "https://a b/"), 2, ""),
    ],
)
def test_explain(file: Path, run: Run, arguments: tuple[str, str], code: int, words: str) -> None:
    found, out, err = run("policy", "explain", file, *arguments)
    assert found == code, err
    assert words in (err if code == 2 else out)
    assert "Traceback" not in err


def test_explain_a_graphql_operation(file: Path, run: Run, tmp_path: Path) -> None:
    body = tmp_path / "body.json"
    for query, code in (("{viewer{login}}", 0), ("{users{id}}", 1)):
        body.write_text(f'{{"query": "{query}"}}')
        found, out, _ = run(
            "policy", "explain", file, "POST", "https://api.example.org/graphql", "--body", body
        )
        assert found == code, out
