"""The caps that end a loop."""

from airut_gateway_email import rates
from airut_gateway_email.errors import MailLater, MailRefused
from airut_gateway_email.rates import RateCap
from airut_gateway_email.refusals import PER_WINDOW, RefusalReporter


def test_row_53_an_hour_has_a_limit_for_each_key():
    now = [0.0]
    cap = RateCap(2, lambda: now[0])
    assert [cap.take("a"), cap.take("a"), cap.take("a"), cap.take("b")] == [True, True, False, True]
    now[0] = rates.WINDOW_SECONDS + 1
    assert cap.take("a")


def test_memory_is_bounded(monkeypatch):
    monkeypatch.setattr(rates, "MAX_KEYS", 5)
    cap = RateCap(2, lambda: 0.0)
    for number in range(100):
        cap.take(str(number))
    assert len(cap._times) == 5


async def test_row_37_strangers_do_not_decide_how_many_events_there_are():
    now, events = [0.0], []

    async def report(level, code, text, repo=None):
        events.append((level, code, text, repo))

    reporter = RefusalReporter(report, lambda: now[0])
    for _ in range(PER_WINDOW + 12):
        await reporter(MailRefused("no\x1b[2J way"), "192.0.2.1", "demo")
    assert len(events) == PER_WINDOW
    assert events[0] == ("warning", "mail_refused", "550 5.7.1 no?[2J way [from 192.0.2.1]", "demo")
    now[0] = 61.0
    await reporter(MailLater("later"), "192.0.2.1", None)
    assert events[-1][1] == "mail_deferred"
    assert "and 12 more before" in events[-1][2]
