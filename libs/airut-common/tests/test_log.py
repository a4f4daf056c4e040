"""The log as an operator and a machine read it. Each test is a process of its own, as a service is."""

import json
import subprocess
import sys
import textwrap

PRELUDE = """
import logging, sys, threading
import structlog
from airut_common.log import configure_logging, redact, forget, clean
from airut_common.secrets import Secret
configure_logging("tester", log_format={format!r}, level={level!r})
log = structlog.get_logger()
VALUE = "correct-" + "horse-battery"
SECRET = Secret(VALUE)
redact(SECRET)
"""
VALUE = "correct-" + "horse-battery"


def run(code: str, log_format: str = "text", level: str = "info") -> str:
    program = PRELUDE.format(format=log_format, level=level) + textwrap.dedent(code)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout == ""
    return done.stderr


def test_people_read_one_line_for_an_event() -> None:
    [line] = run("log.info('mail_accepted', repo='demo', size=3)").splitlines()
    assert line[2] == ":"
    assert line.split(" ", 1)[1] == "[info] mail_accepted repo=demo size=3"


def test_machines_read_json_with_the_service_and_the_time() -> None:
    [line] = run("log.warning('x', at=SECRET, nested={'a': [1, None, 2.5, True]})", "json").splitlines()
    event = json.loads(line)
    assert event.pop("timestamp").endswith("Z")
    assert event == {
        "service": "tester",
        "event": "x",
        "level": "warning",
        "at": "Secret(…)",
        "nested": {"a": [1, None, 2.5, True]},
    }


def test_the_level_is_kept() -> None:
    assert run("log.info('quiet'); log.error('loud')", level="warning").count("\n") == 1


LEAKS = """
log.info(VALUE)
log.info("value " + VALUE, value=VALUE, inside=[{{"k": VALUE, VALUE: 1}}], bytes=VALUE.encode(), error=ValueError(VALUE))
try:
    try:
        raise ValueError(VALUE)
    except ValueError as first:
        raise ExceptionGroup(VALUE, [RuntimeError(VALUE)]) from first
except ExceptionGroup:
    log.exception("failed")
    logging.getLogger("library").exception("it said %s", VALUE)
logging.getLogger("library").warning("it said %s", VALUE)
log.info("stack", stack_info=True, x=VALUE)
thread = threading.Thread(target=lambda: [][VALUE])
thread.start(); thread.join()
class Bad:
    def __del__(self): raise ValueError(VALUE)
Bad()
raise SystemError(VALUE)
"""


def test_row_68_nothing_that_is_logged_or_raised_shows_a_secret() -> None:
    for log_format in ("text", "json"):
        text = run(LEAKS.replace("{{", "{").replace("}}", "}"), log_format)
        assert VALUE not in text
        assert text.count("[redacted]") > 15
        for word in ("uncaught", "unraisable", "library", "SystemError", "Traceback"):
            assert word in text


def test_row_68_a_forgotten_secret_is_an_ordinary_word() -> None:
    assert VALUE in run("forget(SECRET); log.info('x', value=VALUE)")


def test_what_leaves_by_other_ways_can_be_cleaned() -> None:
    assert "[redacted]" in run("log.info(clean('a ' + VALUE))")


def test_row_37_what_others_said_cannot_forge_a_line_or_steer_a_terminal() -> None:
    hostile = "x\\n12:00:00 [info] forged\\r\\x1b[2J\\u202e\\u2028"
    code = f"""
    log.info("refused " + "{hostile}", host="{hostile}", many=["{hostile}"])
    logging.getLogger("library").warning("{hostile}")
    try:
        raise ValueError("{hostile}")
    except ValueError:
        log.exception("failed")
    """
    for log_format in ("text", "json"):
        text = run(code, log_format)
        assert not any(line.startswith("12:00:00 [info] forged") for line in text.splitlines())
        assert not set(text) & set("\r\x1b\u202e\u2028")
