import pytest

from airut_dashboard.feed import MAX_PAGES, QUEUE_SIZE, Feed, TooManyPages
from airut_dashboard.model import Change


def test_a_page_gets_its_own_task_only(state) -> None:
    feed = Feed()
    with feed.subscribe("t1") as one, feed.subscribe() as every:
        feed.publish(Change(1, "t1", state()))
        feed.publish(Change(2, "t2", state("t2")))
        assert one.queue.qsize() == 1
        assert every.queue.qsize() == 2


async def test_a_page_that_does_not_read_is_cut_off_and_costs_no_memory(state) -> None:
    feed = Feed()
    with feed.subscribe() as slow:
        for number in range(QUEUE_SIZE + 50):
            feed.publish(Change(number, "t1", state()))
        assert await slow.queue.get() is None
        assert slow.queue.empty()


def test_pages_are_limited(state) -> None:
    feed = Feed()
    contexts = [feed.subscribe() for _ in range(MAX_PAGES)]
    for context in contexts:
        context.__enter__()
    with pytest.raises(TooManyPages), feed.subscribe():
        pass
    for context in contexts:
        context.__exit__(None, None, None)
    with feed.subscribe():
        pass
