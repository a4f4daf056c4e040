"""What people read when git fails."""

import pytest

from airut_sandbox.mirror_errors import MirrorProblem, explain


@pytest.mark.parametrize(
    ("stderr", "problem", "words"),
    [
        ("fatal: unable to access 'https://h/x/': Could not resolve host: h\n", "unreachable", "unknown"),
        ("fatal: unable to access 'https://h/x/': Failed to connect to h port 443", "unreachable", "refused"),
        (
            "fatal: unable to access 'https://h/': server certificate verification failed.",
            "unreachable",
            "TLS",
        ),
        (
            "fatal: unable to access 'https://h/x/': The requested URL returned error: 429",
            "not-a-repository",
            "serve",
        ),
        (
            "fatal: unable to access 'https://h/redirect/': The requested URL returned error: 403",
            "refused",
            "credential",
        ),
        (
            "fatal: could not read Username for 'https://h': terminal prompts disabled",
            "refused",
            "credential",
        ),
        ("fatal: repository 'https://h/certificate.git/' not found", "not-a-repository", "no repository"),
        ("error: unable to write: No space left on device\nfatal: x", "broken", "disk"),
        (
            "fatal: odd \x1b[31m thing at https://u:p@h/x",
            "broken",
            "git failed (fatal: odd ?[31m thing at <url>)",
        ),
        ("", "broken", "without a word"),
    ],
)
def test_explain(stderr: str, problem: MirrorProblem, words: str) -> None:
    error = explain("h", stderr)
    assert error.problem == problem
    assert words in str(error)
    assert str(error).startswith("h: ")
