from chaos.plan import make_plan


def test_a_seed_is_one_plan() -> None:
    assert make_plan(5, messages=50, seconds=60, blows=20) == make_plan(5, messages=50, seconds=60, blows=20)
    assert make_plan(5, messages=50, seconds=60, blows=20) != make_plan(6, messages=50, seconds=60, blows=20)


def test_a_plan_has_what_was_asked_for() -> None:
    plan = make_plan(1, messages=201, seconds=300, blows=60)
    assert plan.messages == 201
    assert len(plan.blows) == 60
    assert [blow.at_seconds for blow in plan.blows] == sorted(blow.at_seconds for blow in plan.blows)
    assert all(0 <= blow.at_seconds <= 300 for blow in plan.blows)
    assert any(thread.real_agent for thread in plan.threads)
    assert not all(thread.real_agent for thread in plan.threads)
    for thread in plan.threads:
        numbers = [message.number for message in thread.messages]
        assert numbers == sorted(numbers)
    assert {blow.kind for blow in plan.blows} >= {"kill", "pause"}
