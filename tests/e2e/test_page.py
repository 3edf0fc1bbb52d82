"""The page that a person opens first, in a real browser, on the running platform."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from urllib.parse import urlsplit

import openai
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
SERVICES = ("model-service", "cache-service", "storage-service", "monitoring-service", "traefik", "redis")
CHARTS = ("tokens_per_second", "ttft", "queue", "cache_hit_rate", "requests", "host")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = shutil.which("chromium")
    if path is None:
        pytest.fail("chromium is not installed: apt-get install --no-install-recommends chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    page = browser.new_page()
    yield page
    page.close()


def test_the_page_shows_every_service_up(page: Page, base_url: str) -> None:
    page.goto(base_url)
    for service in SERVICES:
        card = page.locator(f'.service[data-name="{service}"]')
        expect(card).to_have_attribute("data-state", "up", timeout=60_000)
    expect(page.locator("#summary")).to_have_text("All services are up")


def test_a_completion_moves_the_numbers_and_the_charts(
    page: Page, base_url: str, client: openai.OpenAI, model: str
) -> None:
    page.goto(base_url)
    expect(page.locator(".chart")).to_have_count(len(CHARTS))
    client.chat.completions.create(
        model=model,
        messages=[{"role": "user", "content": "Count to ten."}],
        max_tokens=32,
        temperature=1.0,  # so that it is computed, not taken from the cache
    )
    for chart in ("tokens_per_second", "ttft", "queue", "requests", "host"):
        expect(page.locator(f"#chart-{chart} .legend li").first).to_be_visible(timeout=60_000)
    expect(page.locator("#ttft")).to_contain_text("s", timeout=60_000)


def test_the_example_request_names_the_gateway_and_a_model_that_it_has(page: Page, base_url: str, model: str) -> None:
    page.goto(base_url)
    expect(page.locator("#base-url")).to_have_text(f"{base_url}/v1")
    expect(page.locator("#curl")).to_contain_text(f'"model": "{model}"')


def test_the_page_asks_nobody_but_the_gateway_and_has_no_errors(page: Page, base_url: str) -> None:
    complaints: list[str] = []
    hosts: set[str] = set()
    page.on("console", lambda message: complaints.append(message.text) if message.type != "log" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: hosts.add(urlsplit(request.url).netloc))
    page.goto(base_url)
    expect(page.locator("#updated")).to_contain_text("Updated")
    with page.expect_response("**/v1/services"):  # a second round
        pass
    assert hosts == {urlsplit(base_url).netloc}
    assert complaints == []
