"""How a service's state follows from its answers and from what Prometheus has seen."""

from __future__ import annotations

import pytest

from monitoring_service.probe import Answer
from monitoring_service.prometheus import Sample
from monitoring_service.schemas import State
from monitoring_service.services import Seen, judge
from monitoring_service.targets import Target

NOW = 1_000_000.0
ASKED = Target(name="model-service", port=5000, health_path="/health/ready")
REDIS = Target(name="redis", kind="redis", job="redis-exporter")

READY = Answer(True, latency=0.002)
NOT_READY = Answer(False, reason="not ready: engine: loading", latency=0.003)
SILENT = Answer(False, reason="http://10.0.0.2:5000 does not answer")
DRAINING = Answer(False, draining=True, reason="draining")


def seen(job: str, last_up: float | None = NOW, **values: float) -> Seen:
    samples = {(job, metric): [Sample({"job": job}, value)] for metric, value in values.items()}
    return Seen(samples, {} if last_up is None else {job: last_up})


SCRAPED = seen("model-service", up=1)


@pytest.mark.parametrize(
    ("answers", "state"),
    [
        ([READY], State.UP),
        ([READY, READY], State.UP),
        ([READY, SILENT], State.DEGRADED),
        ([READY, DRAINING], State.DEGRADED),
        ([DRAINING], State.DEGRADED),
        ([NOT_READY], State.DOWN),
        ([SILENT], State.DOWN),
        ([DRAINING, SILENT], State.DOWN),
    ],
)
def test_state_follows_the_instances_that_are_ready(answers: list[Answer], state: State) -> None:
    assert judge(ASKED, answers, SCRAPED, NOW).state is state


def test_the_reason_says_how_many_instances_are_wrong_and_why() -> None:
    judged = judge(ASKED, [READY, SILENT], SCRAPED, NOW)
    assert judged.reason == "1 of 2 instances: http://10.0.0.2:5000 does not answer"
    assert judged.instances is not None
    assert (judged.instances.ready, judged.instances.total) == (1, 2)


def test_a_service_that_answers_and_is_not_scraped_is_degraded() -> None:
    assert judge(ASKED, [READY], seen("model-service", up=0), NOW).state is State.DEGRADED


def test_a_service_without_a_container_is_down_if_it_was_up_before() -> None:
    judged = judge(ASKED, [], seen("model-service", last_up=NOW - 180), NOW)
    assert (judged.state, judged.reason) == (State.DOWN, "its container does not run; last seen 3 min ago")


def test_a_service_without_a_container_that_was_never_up_is_not_deployed() -> None:
    assert judge(ASKED, [], Seen(), NOW).state is State.NOT_DEPLOYED


def test_without_prometheus_a_service_without_a_container_is_down() -> None:
    assert judge(ASKED, [], None, NOW).state is State.DOWN


def test_the_slowest_instance_gives_the_latency() -> None:
    assert judge(ASKED, [READY, NOT_READY], SCRAPED, NOW).latency_seconds == 0.003


@pytest.mark.parametrize(
    ("metrics", "state"),
    [
        (seen("redis-exporter", redis_up=1), State.UP),
        (seen("redis-exporter", redis_up=0), State.DOWN),
        (seen("redis-exporter"), State.UNKNOWN),
        (seen("redis-exporter", last_up=None), State.NOT_DEPLOYED),
        (None, State.UNKNOWN),
    ],
    ids=["reached", "not reached", "exporter gone", "exporter never there", "no Prometheus"],
)
def test_a_service_that_cannot_be_asked_is_judged_by_its_metrics(metrics: Seen | None, state: State) -> None:
    assert judge(REDIS, None, metrics, NOW).state is state
