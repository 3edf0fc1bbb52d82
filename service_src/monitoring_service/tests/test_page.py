"""The page in a real browser, over the real service, with a real Prometheus and without."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
NO_NUMBER = "\N{EN DASH}"
CHARTS = ["tokens_per_second", "ttft", "queue", "cache_hit_rate", "requests", "host"]
# Whether anything was drawn between the axes of the chart: colours beside the background's and the grid's.
INK = """canvas => {
  const chart = Chart.getChart(canvas);
  const { left, top, width, height } = chart.chartArea;
  const ratio = chart.currentDevicePixelRatio;
  const area = [left, top, width, height].map(length => length * ratio);
  const pixels = canvas.getContext("2d").getImageData(...area).data;
  let coloured = 0;
  for (let i = 0; i < pixels.length; i += 4) {
    const [r, g, b, a] = pixels.slice(i, i + 4);
    if (a > 200 && Math.max(r, g, b) - Math.min(r, g, b) > 60) coloured += 1;
  }
  return coloured;
}"""


@dataclass
class Visit:
    """A page, and what went wrong or where it went while it was open."""

    page: Page
    origin: str
    complaints: list[str] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)

    def watch(self) -> None:
        self.page.on("console", lambda message: message.type != "log" and self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self._note(request.url))

    def _note(self, url: str) -> None:
        parts = urlsplit(url)
        if f"{parts.scheme}://{parts.netloc}" != self.origin:
            self.elsewhere.append(url)


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
def visit(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Visit]:
    """The page of the service with Prometheus, or of the fixture that an ``indirect`` parameter names."""
    origin = request.getfixturevalue(getattr(request, "param", "service"))
    page = browser.new_page()
    visit = Visit(page, origin)
    visit.watch()
    page.goto(f"{origin}/")
    expect(page.locator(".service")).to_have_count(5)
    yield visit
    page.close()


def test_the_state_of_each_service_is_shown(visit: Visit) -> None:
    cards = {card.get_attribute("data-name"): card for card in visit.page.locator(".service").all()}
    expect(cards["model-service"]).to_contain_text("Up")
    expect(cards["model-service"]).to_contain_text("1.2.3")
    expect(cards["storage-service"]).to_contain_text("Not deployed")
    expect(visit.page.locator("#summary")).to_have_text("All deployed services are up")


def test_each_chart_draws_lines(visit: Visit) -> None:
    expect(visit.page.locator(".chart")).to_have_count(len(CHARTS))
    for name in CHARTS:
        figure = visit.page.locator(f"#chart-{name}")
        expect(figure.locator(".empty")).to_have_text("")
        expect(figure.locator(".legend li").first).to_be_visible()
        assert figure.locator("canvas").evaluate(INK) > 0, f"{name} is blank"


def test_pointing_at_a_chart_tells_the_values_there(visit: Visit) -> None:
    canvas = visit.page.locator("#chart-queue canvas")
    box = canvas.bounding_box()
    assert box is not None
    canvas.hover(position={"x": box["width"] - 12, "y": 60})
    told = canvas.evaluate("canvas => Chart.getChart(canvas).tooltip.body.flatMap(({ lines }) => lines)")
    assert " slots: 8" in told


def test_the_numbers_of_now_are_shown(visit: Visit) -> None:
    for tile in ("tokens", "ttft", "queue", "hits", "requests", "cpu-text", "memory-text", "disk-text"):
        assert visit.page.locator(f"#{tile}").inner_text() != NO_NUMBER, tile
    expect(visit.page.locator("#hits")).to_have_text("75 %")


def test_the_example_request_names_this_address_and_a_real_model(visit: Visit) -> None:
    expect(visit.page.locator("#base-url")).to_have_text(f"{visit.origin}/v1")
    expect(visit.page.locator("#curl")).to_contain_text('"model": "smollm2-135m-instruct"')


def test_the_page_asks_nobody_else_and_complains_of_nothing(visit: Visit) -> None:
    with visit.page.expect_response("**/series?**"):  # a second round
        pass
    assert visit.elsewhere == []
    assert visit.complaints == []


def test_a_longer_history_can_be_chosen(visit: Visit) -> None:
    with visit.page.expect_request("**/series?**minutes=360"):
        visit.page.get_by_label("6 h").check()


def test_a_hidden_page_stops_asking(visit: Visit) -> None:
    page = visit.page
    page.evaluate("Object.defineProperty(document, 'hidden', { value: true, configurable: true })")
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.wait_for_timeout(6000)
    assert asked == []
    with page.expect_request("**/services"):
        page.evaluate("delete document.hidden")
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")


@pytest.mark.parametrize("width", [400, 1280])
def test_nothing_is_wider_than_the_window(visit: Visit, width: int) -> None:
    visit.page.set_viewport_size({"width": width, "height": 800})
    # The charts follow the window's size a frame later.
    visit.page.wait_for_function("width => document.documentElement.scrollWidth <= width", arg=width)


@pytest.mark.parametrize("visit", ["service_alone"], indirect=True)
def test_without_prometheus_the_page_says_so_and_still_shows_states(visit: Visit) -> None:
    expect(visit.page.locator("#notice")).to_contain_text("Prometheus is unreachable")
    expect(visit.page.locator("#chart-ttft .empty")).to_have_text("Prometheus is unreachable")
    expect(visit.page.locator("#tokens")).to_have_text(NO_NUMBER)
    expect(visit.page.locator('.service[data-name="model-service"]')).to_contain_text("Up")
    assert visit.complaints == []
