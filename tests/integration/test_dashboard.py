"""Chromium on the dashboard while a task runs (acceptance 8)."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.common.exceptions import NoSuchElementException, StaleElementReferenceException
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from airut_common.testing.browser import chromium

from .conftest import ALL, Site, bash, text_of

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]

SECONDS = 60
SUBJECT = "Watch me in the dashboard"


@pytest.fixture(params=["light", "dark"])
def browser(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[webdriver.Chrome]:
    with chromium(tmp_path / "profile", request.param) as driver:
        yield driver


def watch(driver: webdriver.Chrome, url: str, subject: str, shots: Path) -> None:
    """Open the list, follow the link, and see things appear without loading anything again. Blocking."""
    # The page replaces its parts as news comes in, also between finding one and reading it.
    passing = (NoSuchElementException, StaleElementReferenceException)
    wait = WebDriverWait(driver, SECONDS, ignored_exceptions=passing)
    driver.get(url)
    wait.until(lambda d: d.find_elements(By.XPATH, f"//li[contains(., '{subject}')]//a"))
    driver.save_screenshot(str(shots / "list.png"))
    wait.until(lambda d: d.find_element(By.XPATH, f"//li[contains(., '{subject}')]//a").click() or True)
    wait.until(lambda d: d.find_element(By.ID, "link").get_attribute("data-state") == "live")
    driver.execute_script("window.sameDocument = true")
    wait.until(lambda d: "marker-of-the-agent" in d.find_element(By.ID, "output").text)
    wait.until(lambda d: d.find_elements(By.CSS_SELECTOR, "#network tr[data-decision='deny']"))
    wait.until(lambda d: "exfil.demo.example" in d.find_element(By.ID, "network").text)
    wait.until(lambda d: d.find_element(By.CSS_SELECTOR, "#header .chip").text == "done")
    assert driver.execute_script("return window.sameDocument"), "the page was loaded again"
    driver.find_element(By.CSS_SELECTOR, "#sender summary").click()
    sender = driver.find_element(By.ID, "sender").text
    assert "is proven (dmarc)" in sender
    assert "_domainkey." in sender
    driver.save_screenshot(str(shots / "task.png"))
    trouble = [entry for entry in driver.get_log("browser") if entry["level"] == "SEVERE"]
    assert trouble == []


async def test_agent_output_and_a_denied_request_appear_without_reload(
    site: Site, browser: webdriver.Chrome, tmp_path: Path
) -> None:
    steps = (
        bash("sleep 4; echo marker-of-the-agent"),
        bash("curl -sS -m 5 https://exfil.demo.example/"),
        ALL,
    )
    mail = await site.send(f"Do {site.script(*steps)}", subject=SUBJECT)
    await asyncio.gather(
        asyncio.to_thread(watch, browser, site.installation.dashboard, SUBJECT, tmp_path), site.reply_to(mail)
    )
    assert (tmp_path / "task.png").stat().st_size > 10_000


def stop(driver: webdriver.Chrome, url: str, shots: Path) -> float:
    """Press the button as soon as the task is there; seconds until the page says that it is stopped. Blocking."""
    passing = (NoSuchElementException, StaleElementReferenceException)
    wait = WebDriverWait(driver, SECONDS, poll_frequency=0.05, ignored_exceptions=passing)
    driver.get(url)
    wait.until(lambda d: d.find_element(By.ID, "link").get_attribute("data-state") == "live")
    wait.until(lambda d: "is at work" in d.find_element(By.ID, "output").text)
    driver.save_screenshot(str(shots / "before.png"))
    began = time.monotonic()
    wait.until(lambda d: d.find_element(By.CSS_SELECTOR, "button.stop").click() or True)
    wait.until(lambda d: d.find_element(By.CSS_SELECTOR, "#header .chip").text == "stopped")
    took = time.monotonic() - began
    assert not driver.find_elements(By.CSS_SELECTOR, "button.stop")
    driver.save_screenshot(str(shots / "after.png"))
    return took


async def test_the_button_ends_a_running_task_and_the_answer_says_so(
    site: Site, browser: webdriver.Chrome, tmp_path: Path
) -> None:
    subject = f"Stop me from the dashboard, {tmp_path.name}"
    mail = await site.send(
        f"Do {site.script(bash('echo the agent is at work; sleep 300'), ALL)}", subject=subject
    )
    await site.until(subject, "running")
    task = await site.task_of(subject)
    url = f"{site.installation.dashboard}/tasks/{task['id']}"
    took = await asyncio.to_thread(stop, browser, url, tmp_path)
    print(f"stopped after {took:.1f} s")
    text = text_of(await site.reply_to(mail))
    assert "Stopped by somebody at the dashboard" in text
    assert took < 15, "promised are 5 s; a busy machine takes longer"
