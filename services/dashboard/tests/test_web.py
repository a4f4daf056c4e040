import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator

import httpx
import pytest
import uvicorn

from airut_common.contracts.v1 import PlanStep
from airut_common.testing.browser import chromium
from airut_dashboard.feed import Feed
from airut_dashboard.model import ReadModel
from airut_dashboard.stopping import CannotStop
from airut_dashboard.web import build_web


class Site:
    def __init__(self) -> None:
        self.model, self.feed = ReadModel(), Feed()
        self.url = ""
        self.asked: list[str] = []
        self.answer: bool | Exception = True
        self.open_networks: list[str] = []

    async def stop(self, task: str) -> bool:
        self.asked.append(task)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def happen(self, sequence, entry) -> None:
        self.feed.publish(self.model.apply(sequence, entry))


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    site = Site()
    web = build_web(
        site.model,
        site.feed,
        public_url="https://airut.example.com/",
        stop=site.stop,
        open_networks=lambda: site.open_networks,
    )
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(web, log_config=None, lifespan="off"))
    task = asyncio.create_task(server.serve([listener]))
    site.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    yield site
    site.feed.close()
    server.should_exit = True
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.wait_for(task, 10)


async def events(response: httpx.Response) -> AsyncIterator[dict[str, str]]:
    event: dict[str, str] = {}
    async for line in response.aiter_lines():
        if line == "":
            if "event" in event:
                yield event
            event = {}
        elif not line.startswith(":"):
            name, _, value = line.partition(": ")
            event[name] = event.get(name, "") + value


async def test_pages_and_api_show_a_task(site, state, said, request_event) -> None:
    site.happen(1, state(sender="ada@lovelace.example"))
    site.happen(2, said("**done**"))
    site.happen(3, request_event(decision="deny", host="exfil.example", status=403))
    async with httpx.AsyncClient(base_url=site.url) as client:
        listing = await client.get("/")
        page = await client.get("/tasks/t1")
        api = await client.get("/api/v1/tasks")
        output = await client.get("/api/v1/tasks/t1/output")
        network = await client.get("/api/v1/tasks/t1/network")
    assert "ada@lovelace.example" in listing.text
    assert "<strong>done</strong>" in page.text
    assert "exfil.example" in page.text
    assert api.json()[0]["denied"] == 1
    assert output.json()[0]["text"] == "**done**"
    assert network.json()[0]["decision"] == "deny"
    assert "script-src 'self'" in page.headers["content-security-policy"]


async def test_an_open_network_is_told_on_the_list_and_at_the_task(site, state) -> None:
    site.happen(1, state())
    async with httpx.AsyncClient(base_url=site.url) as client:
        before = [(await client.get(path)).text for path in ("/", "/tasks/t1")]
        site.open_networks = ["demo<b>"]
        site.happen(2, state(state="running", network_sandbox=False))
        site.happen(3, state(state="done"))
        after = [(await client.get(path)).text for path in ("/", "/tasks/t1")]
        api = (await client.get("/api/v1/tasks/t1")).json()
    assert not any("switched off" in page for page in before)
    assert all("switched off" in page for page in after)
    assert "demo&lt;b&gt;" in after[0]
    assert api["network_sandbox"] is False, "it stays so after its end"


async def test_an_unknown_task_is_404_everywhere(site) -> None:
    async with httpx.AsyncClient(base_url=site.url) as client:
        for path in ("/tasks/none", "/tasks/none/stream", "/api/v1/tasks/none", "/api/v1/tasks/none/network"):
            assert (await client.get(path)).status_code == 404


async def test_a_foreign_host_name_is_refused(site) -> None:
    async with httpx.AsyncClient(base_url=site.url) as client:
        assert (await client.get("/", headers={"host": "evil.example"})).status_code == 421


async def test_an_open_page_is_told_of_what_happens(site, state, said, request_event) -> None:
    site.happen(1, state())
    async with (
        httpx.AsyncClient(base_url=site.url, timeout=10) as client,
        client.stream("GET", "/tasks/t1/stream?after=1") as r,
    ):
        stream = events(r)
        site.happen(2, said("hello"))
        first = await asyncio.wait_for(anext(stream), 10)
        site.happen(3, request_event(decision="deny"))
        second = await asyncio.wait_for(anext(stream), 10)
    assert (first["event"], first["id"]) == ("output", "2")
    assert "hello" in first["data"]
    assert second["event"] == "network"


async def test_the_end_of_a_request_takes_the_row_of_its_start(site, state, request_event) -> None:
    site.happen(1, state())
    site.happen(2, request_event(decision="info", reason="started", request=0))
    async with httpx.AsyncClient(base_url=site.url, timeout=10) as client:
        page = (await client.get("/tasks/t1")).text
        async with client.stream("GET", "/tasks/t1/stream?after=2") as r:
            stream = events(r)
            site.happen(3, request_event(request=0, status=200))
            live = await asyncio.wait_for(anext(stream), 10)
        later = (await client.get("/tasks/t1")).text
        api = (await client.get("/api/v1/tasks/t1/network")).json()
    row = '<tr data-key="2"'
    assert (page.count(row), live["data"].count(row), later.count(row)) == (1, 1, 1)
    assert ("under way" in page, "under way" in live["data"], "under way" in later) == (True, False, False)
    assert [event["decision"] for event in api] == ["allow"]


async def test_a_page_that_comes_back_gets_what_it_missed_once(site, state, said) -> None:
    site.happen(1, state())
    site.happen(2, said("one"))
    site.happen(3, said("two", seq=1))
    async with (
        httpx.AsyncClient(base_url=site.url, timeout=10) as client,
        client.stream("GET", "/tasks/t1/stream?after=0", headers={"last-event-id": "2"}) as r,
    ):
        stream = events(r)
        missed = await asyncio.wait_for(anext(stream), 10)
        site.happen(4, said("three", seq=2))
        live = await asyncio.wait_for(anext(stream), 10)
    assert [missed["id"], live["id"]] == ["3", "4"]


async def test_the_list_is_live_too(site, state) -> None:
    async with (
        httpx.AsyncClient(base_url=site.url, timeout=10) as client,
        client.stream("GET", "/stream") as r,
    ):
        stream = events(r)
        site.happen(1, state("new"))
        row = await asyncio.wait_for(anext(stream), 10)
    assert row["event"] == "row"
    assert 'data-key="new"' in row["data"]


async def test_the_api_describes_itself(site) -> None:
    async with httpx.AsyncClient(base_url=site.url) as client:
        described = json.loads((await client.get("/api/v1/openapi.json")).text)
    assert "/api/v1/tasks/{task_id}/network" in described["paths"]


async def test_plan_and_activity_are_live_and_only_text(site, state, progress) -> None:
    site.happen(1, state(state="running"))
    plan = (PlanStep(text="<script>alert(1)</script>", status="in_progress"),)
    site.happen(2, progress(activity="Bash: <img src=x>", plan=plan))
    async with httpx.AsyncClient(base_url=site.url) as client:
        page = (await client.get("/tasks/t1")).text
        assert "<script>alert" not in page
        assert "&lt;script&gt;alert(1)" in page
        assert "Bash: &lt;img" in page
        async with client.stream("GET", "/tasks/t1/stream?after=1") as r:
            stream = events(r)
            missed = await asyncio.wait_for(anext(stream), 10)
            assert missed["event"] == "progress"
            assert "&lt;img" in missed["data"]
            site.happen(3, progress(activity="Read: a.py", at=5))
            live = await asyncio.wait_for(anext(stream), 10)
            assert "Read: a.py" in live["data"]
            assert "in_progress" in live["data"]
            assert "<img" not in live["data"]
        summary = (await client.get("/api/v1/tasks/t1")).json()
        assert (summary["activity"], summary["plan"][0]["status"]) == ("Read: a.py", "in_progress")


async def test_the_page_of_a_merged_message_leads_to_its_task_and_back(site, state) -> None:
    site.happen(1, state("t1", place=2, waits_for="turn"))
    site.happen(2, state("t2"))
    site.happen(3, state("t2", state="merged", merged_into="t1"))
    async with httpx.AsyncClient(base_url=site.url) as client:
        assert 'href="/tasks/t1"' in (await client.get("/tasks/t2")).text
        page = (await client.get("/tasks/t1")).text
        assert "Answers 2 messages" in page
        assert 'href="/tasks/t2"' in page
        assert "place 2" in page


OURS = {"Airut-Request": "stop"}


async def test_a_task_is_stopped_and_the_answer_says_what_happened(site, state) -> None:
    site.happen(1, state(state="running"))
    async with httpx.AsyncClient(base_url=site.url, headers=OURS) as client:
        assert (await client.post("/api/v1/tasks/t1/stop")).status_code == 202
        site.answer = False
        answer = await client.post("/api/v1/tasks/t1/stop")
        assert (answer.status_code, answer.json()["detail"]) == (
            409,
            "there was nothing to stop: it is about to end",
        )
        site.answer = CannotStop("the orchestrator does not answer; try again in a moment")
        answer = await client.post("/api/v1/tasks/t1/stop")
        assert (answer.status_code, answer.json()["detail"]) == (503, str(site.answer))
        assert (await client.post("/api/v1/tasks/nobody/stop")).status_code == 404
        assert site.asked == ["t1"] * 3
        site.happen(2, state(state="timed_out", at=1))
        answer = await client.post("/api/v1/tasks/t1/stop")
        assert (answer.status_code, answer.json()["detail"]) == (409, "it has ended: timed out")
        assert 'class="stop"' not in (await client.get("/tasks/t1")).text
    assert site.asked == ["t1"] * 3


FORGED = {
    "a form": {"Content-Type": "application/x-www-form-urlencoded"},
    "a form of another site": {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"},
    "another origin with our header": OURS | {"Origin": "https://evil.example"},
    "another site with our header": OURS | {"Sec-Fetch-Site": "cross-site"},
    "a sibling domain": OURS | {"Sec-Fetch-Site": "same-site"},
    "no origin": OURS | {"Origin": "null"},
    "a name that is like ours": OURS | {"Origin": "https://airut.example.com.evil.example"},
}


@pytest.mark.parametrize("what", FORGED)
async def test_row_56_no_page_of_somebody_else_stops_a_task(site, state, what: str) -> None:
    site.happen(1, state(state="running"))
    async with httpx.AsyncClient(base_url=site.url) as client:
        answer = await client.post("/api/v1/tasks/t1/stop", headers=FORGED[what])
    assert answer.status_code == 403
    assert site.asked == []


async def test_row_56_nor_does_rebinding_or_a_link_or_a_preflight(site, state) -> None:
    site.happen(1, state(state="running"))
    async with httpx.AsyncClient(base_url=site.url, headers=OURS) as client:
        rebound = await client.post("/api/v1/tasks/t1/stop", headers={"Host": "evil.example"})
        link = await client.get("/api/v1/tasks/t1/stop")
        preflight = await client.options(
            "/api/v1/tasks/t1/stop",
            headers={
                "Origin": "https://evil.example",
                "Access-Control-Request-Method": "POST",
                "Access-Control-Request-Headers": "airut-request",
            },
        )
        ours = await client.post("/api/v1/tasks/t1/stop", headers={"Origin": "https://airut.example.com"})
    assert (rebound.status_code, link.status_code, preflight.status_code) == (421, 405, 405)
    assert not [name for name in preflight.headers if name.startswith("access-control")]
    assert ours.status_code == 202
    assert site.asked == ["t1"]


@pytest.mark.integration
async def test_long_things_and_long_conversations_fit_a_phone(
    site, state, said, request_event, tmp_path
) -> None:
    for number in range(100):
        site.happen(number + 1, state(task=f"t{number}", at=number, subject="long " * 100, sender="a" * 99))
    site.happen(101, said("w" * 900, task="t99"))
    site.happen(102, request_event(task="t99", host="h" * 200, path="/" + "p" * 300))

    def look() -> None:
        with chromium(tmp_path / "profile", "light") as driver:
            phone = {"width": 375, "height": 800, "deviceScaleFactor": 1, "mobile": True}
            driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
            for page in ("/", "/tasks/t99"):
                driver.get(site.url + page)
                assert driver.execute_script("return document.documentElement.scrollWidth") == 375
            # The subject and the list of a hundred tasks leave room for what the agent says.
            assert driver.execute_script("return document.querySelector('#output').offsetTop") < 700
            assert driver.execute_script(
                "const list = document.querySelector('.thread').getBoundingClientRect();"
                "const task = document.querySelector('[aria-current]').getBoundingClientRect();"
                "return list.top - 1 <= task.top && task.bottom <= list.bottom + 1"
            )

    await asyncio.to_thread(look)
