"""The API over a real Prometheus, and without one."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from monitoring_service.catalogue import CATALOGUE, MAX_POINTS


def get(url: str, **params: Any) -> Any:
    response = httpx.get(url, params=params)
    assert response.status_code == 200, response.text
    return response.json()


def by_name(services: Any) -> dict[str, Any]:
    return {service["name"]: service for service in services["services"]}


def test_services_tells_state_version_uptime_and_latency(service: str) -> None:
    found = get(f"{service}/v1/services")
    model = by_name(found)["model-service"]
    assert found["prometheus"] == {"reachable": True, "reason": None}
    assert (model["state"], model["reason"], model["version"]) == ("up", None, "1.2.3")
    assert model["uptime_seconds"] > 0
    assert 0 < model["latency_seconds"] < 2
    assert model["instances"] == {"ready": 1, "total": 1}


def test_redis_is_judged_by_what_its_exporter_says(service: str) -> None:
    redis = by_name(get(f"{service}/v1/services"))["redis"]
    assert (redis["state"], redis["version"], redis["uptime_seconds"]) == ("up", "7.0.15", 90)


def test_a_service_that_nobody_ever_saw_is_not_deployed(service: str) -> None:
    storage = by_name(get(f"{service}/v1/services"))["storage-service"]
    assert storage["state"] == "not_deployed"


def test_a_service_that_is_not_ready_is_down_and_its_reason_is_told(service: str, platform: Any) -> None:
    platform.readiness["cache-service"] = {
        "ready": False,
        "draining": False,
        "checks": {"redis": "connection refused", "disk": "ok"},
    }
    try:
        cache = by_name(get(f"{service}/v1/services"))["cache-service"]
    finally:
        platform.readiness.clear()
    assert (cache["state"], cache["reason"]) == ("down", "not ready: redis: connection refused")


def test_overview_has_every_number(service: str) -> None:
    found = get(f"{service}/v1/overview")
    missing = [
        f"{part}.{name}"
        for part in ("model", "cache", "gateway", "host")
        for name, value in found[part].items()
        if value is None
    ]
    assert missing == []


def test_overview_numbers_are_those_of_the_platform(service: str) -> None:
    found = get(f"{service}/v1/overview")
    model, gateway, host = found["model"], found["gateway"], found["host"]
    pace = model["tokens_per_second"] / 100  # below 1 where a busy machine moves the platform more slowly
    assert 0.2 < pace < 1.1
    assert model["prompt_tokens_per_second"] == pytest.approx(40 * pace, rel=0.05)
    assert model["stream_tokens_per_second"] == pytest.approx(100, rel=0.05)
    assert 0.1 < model["ttft_p50_seconds"] <= 0.25
    assert (model["slots"], model["requests_waiting"], model["kv_cache_usage_ratio"]) == (8, 3, 0.25)
    assert found["cache"]["hit_ratio"] == pytest.approx(0.75, abs=0.02)
    assert host["memory_ratio"] == pytest.approx(0.25)
    assert host["disk_ratio"] == pytest.approx(0.6)  # the fullest of two
    assert host["cpu_cores"] == 2
    assert gateway["requests_per_second"] == pytest.approx(16 * pace, rel=0.1)  # 20 less the page's 4
    assert gateway["error_ratio"] == pytest.approx(0.25, abs=0.03)


@pytest.mark.parametrize("name", CATALOGUE)
def test_every_chart_of_the_catalogue_has_numbers_in_each_line_that_moves(service: str, name: str) -> None:
    found = get(f"{service}/v1/series", name=name, minutes=15)
    (chart,) = found["charts"]
    silent = {"refused (4xx)"}  # no request was refused
    for line in chart["lines"]:
        if line["label"] in silent:
            assert line["points"] == []
            continue
        assert any(point["value"] is not None for point in line["points"]), line["label"]


def test_several_charts_come_in_one_answer_in_the_order_asked(service: str) -> None:
    found = get(f"{service}/v1/series", name=["ttft", "queue"])
    assert [chart["name"] for chart in found["charts"]] == ["ttft", "queue"]


def test_a_long_stretch_has_wider_steps_and_no_more_points(service: str) -> None:
    found = get(f"{service}/v1/series", name="queue", minutes=24 * 60)
    assert found["step"] == 360
    assert all(len(line["points"]) <= MAX_POINTS + 1 for line in found["charts"][0]["lines"])


@pytest.mark.parametrize(
    "params",
    [{"name": "up"}, {"name": "sum(rate(x[5m])) or vector(1)"}, {}, {"name": "ttft", "minutes": "0"}],
    ids=["a metric", "PromQL", "no name", "no time"],
)
def test_series_outside_the_catalogue_are_refused(service: str, params: dict[str, str]) -> None:
    response = httpx.get(f"{service}/v1/series", params=params)
    assert response.status_code == 400
    assert response.json()["error"]["type"] == "invalid_request_error"


def test_the_api_answers_under_the_gateways_prefix_too(service: str) -> None:
    assert get(f"{service}/api/monitoring/v1/endpoint") == {"url": None, "models": ["smollm2-135m-instruct"]}


def test_without_prometheus_the_services_still_have_a_state(service_alone: str) -> None:
    found = get(f"{service_alone}/v1/services")
    states = {name: state["state"] for name, state in by_name(found).items()}
    assert found["prometheus"]["reachable"] is False
    assert "does not answer" in found["prometheus"]["reason"]
    assert states == {
        "model-service": "up",
        "cache-service": "up",
        "storage-service": "down",
        "traefik": "up",
        "redis": "unknown",
    }


def test_without_prometheus_the_overview_says_so_and_has_no_numbers(service_alone: str) -> None:
    found = get(f"{service_alone}/v1/overview")
    assert found["prometheus"]["reachable"] is False
    assert set(found["model"].values()) == {None}


def test_without_prometheus_series_are_unavailable(service_alone: str) -> None:
    response = httpx.get(f"{service_alone}/v1/series", params={"name": "ttft"})
    assert response.status_code == 503
    assert response.json()["error"]["code"] == "prometheus_unreachable"


def test_page_files_come_with_a_policy_that_allows_this_origin_only(service: str) -> None:
    for path in ("/", "/static/main.js", "/vendor/chart.min.js"):
        response = httpx.get(f"{service}{path}")
        assert response.status_code == 200
        assert "default-src 'none'" in response.headers["Content-Security-Policy"]


def test_a_path_outside_the_static_files_is_not_found(service: str) -> None:
    assert httpx.get(f"{service}/static/%2e%2e/app.py").status_code == 404
