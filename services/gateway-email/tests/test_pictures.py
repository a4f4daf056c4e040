"""Answers as a mail program shows them: the HTML part in Chromium, light and dark, on a telephone and on a desk."""

import json
from collections.abc import Iterator
from email import message_from_bytes
from email.policy import SMTP
from pathlib import Path

import pytest
from selenium import webdriver

from airut_common.contracts.v1 import Usage
from airut_common.testing.browser import chromium
from airut_common.testing.builders import email_route, reply
from airut_gateway_email.replies import build_reply

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

TEXT = (
    """# The greeting is fixed

`hello.py` said *Helo*; it says **Hello** now. See [the pull request](https://git.example/demo/pulls/7).

## What was done

1. Read the tests
   - they expected `Hello`
   - one of them was ~~wrong~~ skipped
2. Changed one line:

```python
def greet(name: str, punctuation: str = "!", *, shout: bool = False) -> str: return f"Hello, {name}{punctuation}"
```

| test | before | after |
|---|---|---:|
| `test_greet_with_a_name_that_is_rather_long` | failed | passed |
| `test_shout` | skipped | **passed** |

> Nobody reads greetings.

A word without an end: """
    + "supercalifragilistic" * 12
)

HOSTILE = """
![pixel](https://evil.example/p.png) <img src=https://evil.example/q.png onerror="document.title='run'">
<script>document.title='run'</script> <style>@import url(https://evil.example/s.css);</style>
<iframe src="https://evil.example/"></iframe> [click](javascript:document.title='run')
<link rel=stylesheet href=https://evil.example/l.css> <svg onload="document.title='run'"></svg>
"""

#: Contrast of each visible text against what lies behind it (WCAG 2.2 §1.4.3), opacity of its ancestors included.
CONTRASTS = """
const rgba = text => { const n = text.match(/[\\d.]+/g).map(Number); return n.length < 4 ? [...n, 1] : n; };
const over = (top, below, alpha) => top.slice(0, 3).map((value, i) => value * alpha + below[i] * (1 - alpha));
const light = colour => { const [r, g, b] = colour.map(v => v / 255)
    .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
const probe = document.body.appendChild(document.createElement('i'));
probe.style.background = 'Canvas';
const canvas = rgba(getComputedStyle(probe).backgroundColor);
probe.remove();
const found = [];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const text = walker.currentNode.textContent.trim();
  if (!text) continue;
  const chain = [];
  for (let e = walker.currentNode.parentElement; e; e = e.parentElement) chain.unshift(e);
  let behind = canvas.slice(0, 3), alpha = 1;
  for (const e of chain) {
    const style = getComputedStyle(e), back = rgba(style.backgroundColor);
    alpha *= Number(style.opacity);
    behind = over(back, behind, back[3] * alpha);
  }
  const colour = rgba(getComputedStyle(chain[chain.length - 1]).color);
  const [a, b] = [light(over(colour, behind, colour[3] * alpha)), light(behind)];
  found.push([(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), text.slice(0, 40)]);
}
return [canvas[0], found];
"""


@pytest.fixture(params=["light", "dark"])
def browser(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[webdriver.Chrome]:
    with chromium(tmp_path / "profile", request.param) as driver:
        yield driver


def page(folder: Path, text: str) -> str:
    """The address of the HTML part of an answer."""
    answer = reply(
        text=text,
        outcome="stopped",
        notes=("The file core.1234 (52,428,800 bytes) was too large to be attached.",),
        link="https://airut.example/tasks/1",
        usage=Usage(duration_seconds=65.2, turns=7, input_tokens=18_200, output_tokens=950, cost_usd=0.12),
        route=email_route(
            question="Please fix the greeting.\n\n" + "It has been wrong for a long time. " * 12
        ),
    )
    part = message_from_bytes(build_reply(answer, "airut.example", [], []).data, policy=SMTP).get_body(
        ("html",)
    )
    assert part is not None
    file = folder / "answer.html"
    file.write_text(part.get_content(), "utf-8")
    return file.as_uri()


def asked_for(driver: webdriver.Chrome) -> set[str]:
    """Addresses that were loaded since the last call."""
    messages = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    return {
        message["params"]["request"]["url"]
        for message in messages
        if message["method"] == "Network.requestWillBeSent"
    }


def test_an_answer_is_readable(browser: webdriver.Chrome, request, tmp_path: Path) -> None:
    scheme = request.node.callspec.params["browser"]
    address = page(tmp_path, TEXT)
    for width in (360, 1200):
        browser.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500},
        )
        browser.get(address)
        height = browser.execute_script("return document.documentElement.scrollHeight")
        browser.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500},
        )
        browser.save_screenshot(str(tmp_path / f"answer-{scheme}-{width}.png"))
        wide = browser.execute_script("return document.documentElement.scrollWidth")
        assert wide <= width, "the page has to be moved sideways"
    canvas, contrasts = browser.execute_script(CONTRASTS)
    assert (canvas > 128) == (scheme == "light")
    assert len(contrasts) > 30
    assert [(ratio, text) for ratio, text in contrasts if ratio < 4.5] == []


def test_nothing_of_an_agent_is_run_or_fetched(browser: webdriver.Chrome, tmp_path: Path) -> None:
    address = page(tmp_path, HOSTILE)
    asked_for(browser)
    browser.get(address)
    assert asked_for(browser) == {address}
    assert browser.title != "run"
    links = "return [...document.querySelectorAll('*')].flatMap(e => [...e.attributes]).map(a => a.name + '=' + a.value)"
    assert not [
        text for text in browser.execute_script(links) if text.startswith(("on", "src=")) or "script:" in text
    ]
