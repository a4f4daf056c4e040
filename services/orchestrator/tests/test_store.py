from airut_common.testing.builders import reply, task_request
from airut_orchestrator.database.connection import open_database
from airut_orchestrator.database.store import Store


async def test_row_54_a_second_delivery_changes_nothing(store: Store) -> None:
    request = task_request()
    first = await store.add(request)
    again = await store.add(request)
    assert (first.is_new, again.is_new) == (True, False)
    assert again.conversation == first.conversation
    assert (await store.begin_next()).id == request.id
    assert await store.begin_next() is None


async def test_tasks_of_a_conversation_run_one_at_a_time_in_order_others_beside_them(store: Store) -> None:
    first = task_request(id="a")
    conversation = (await store.add(first)).conversation
    await store.add(task_request(id="b", conversation=conversation))
    await store.add(task_request(id="c"))
    assert (await store.begin_next()).id == "a"
    assert (await store.begin_next()).id == "c"
    assert await store.begin_next() is None
    await store.finish(reply(id="a", conversation=conversation), None)
    assert (await store.begin_next()).id == "b"
    await store.finish(reply(id="b", conversation=conversation), None)
    assert [item.id for item in await store.unpublished()] == ["a", "b"], "replies go out in order of arrival"


async def test_a_conversation_of_another_repository_is_not_joined(store: Store) -> None:
    conversation = (await store.add(task_request(repo="one"))).conversation
    other = await store.add(task_request(repo="two", conversation=conversation))
    assert other.conversation != conversation


async def test_an_unknown_conversation_begins_a_new_one(store: Store) -> None:
    added = await store.add(task_request(conversation="guessed"))
    assert added.conversation != "guessed"


async def test_the_agents_session_is_kept_for_the_next_message(store: Store) -> None:
    conversation = (await store.add(task_request(id="a"))).conversation
    await store.begin_next()
    await store.remember_session(conversation, "s-1")
    await store.finish(reply(id="a", conversation=conversation), None)
    await store.published("a", "done")
    await store.add(task_request(id="b", conversation=conversation))
    assert (await store.begin_next()).agent_session == "s-1"


async def test_result_and_reply_are_one_and_the_first_reply_stays(store: Store) -> None:
    conversation = (await store.add(task_request(id="a"))).conversation
    await store.begin_next()
    await store.finish(reply(id="a", conversation=conversation, text="first"), None)
    await store.finish(reply(id="a", conversation=conversation, text="second"), None)
    assert [item.text for item in await store.unpublished()] == ["first"]
    await store.published("a", "done")
    assert await store.unpublished() == []
    assert await store.state("a") == "done"


async def test_what_was_under_way_at_a_death_is_found_again(tmp_path) -> None:
    async with open_database(tmp_path / "db") as engine:
        store = Store(engine)
        for name in ("preparing", "running", "replied", "waiting"):
            await store.add(task_request(id=name))
        for _ in range(3):
            await store.begin_next()
        await store.enter("running", "running")
        await store.finish(reply(id="replied"), None)
    async with open_database(tmp_path / "db") as engine:
        store = Store(engine)
        interrupted = await store.interrupted()
        assert [(task.id, task.attempts) for task in interrupted] == [("preparing", 1), ("running", 1)]
        assert [item.id for item in await store.unpublished()] == ["replied"]
        await store.requeue("running")
        assert (await store.begin_next()).attempts == 1


async def test_a_graceful_stop_does_not_count_as_an_attempt(store: Store) -> None:
    await store.add(task_request(id="a"))
    await store.begin_next()
    await store.put_back("a")
    assert (await store.begin_next()).attempts == 0


async def test_the_database_is_private(tmp_path) -> None:
    async with open_database(tmp_path / "db"):
        assert (tmp_path / "db").stat().st_mode & 0o777 == 0o600
