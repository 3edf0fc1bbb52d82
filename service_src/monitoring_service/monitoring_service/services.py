"""The state of each service: what it says itself, and what Prometheus has seen of it."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from monitoring_service.probe import Answer
from monitoring_service.prometheus import Prometheus, PrometheusError, Sample
from monitoring_service.schemas import Instances, PrometheusState, Services, ServiceState, State
from monitoring_service.targets import KINDS, Kind, Target

Probe = Callable[[Target], Awaitable[list[Answer] | None]]

_KIND_METRICS = {
    metric
    for kind in KINDS.values()
    for metric in (kind.up, kind.started, kind.uptime, kind.version and kind.version[0])
    if metric
}
METRICS_QUERY = f'{{__name__=~"{"|".join(sorted(_KIND_METRICS))}"}}'
LAST_SEEN_QUERY = "max by (job) (max_over_time(timestamp(up == 1)[1d:1m]))"


@dataclass(frozen=True)
class Seen:
    """What Prometheus knows: samples by (job, metric), and when each job was last up (Unix time)."""

    samples: dict[tuple[str, str], list[Sample]] = field(default_factory=dict)
    last_up: dict[str, float] = field(default_factory=dict)

    def values(self, target: Target, metric: str | None) -> list[float]:
        return [sample.value for sample in self.samples.get((target.scraped_as, metric or ""), [])]


async def services(targets: Sequence[Target], probe: Probe, prometheus: Prometheus) -> Services:
    """Looks at all targets and at Prometheus at once."""
    seen, answers = await asyncio.gather(_look(prometheus), asyncio.gather(*(probe(t) for t in targets)))
    now = time.time()
    known = seen if isinstance(seen, Seen) else None
    return Services(
        checked_at=now,
        prometheus=PrometheusState(reachable=known is not None, reason=None if known else str(seen)),
        services=[judge(target, answer, known, now) for target, answer in zip(targets, answers, strict=True)],
    )


async def _look(prometheus: Prometheus) -> Seen | PrometheusError:
    try:
        metrics, last_up = await asyncio.gather(prometheus.query(METRICS_QUERY), prometheus.query(LAST_SEEN_QUERY))
    except PrometheusError as error:
        return error
    samples = defaultdict(list)
    for sample in metrics:
        samples[sample.labels.get("job", ""), sample.metric].append(sample)
    return Seen(dict(samples), {sample.labels.get("job", ""): sample.value for sample in last_up})


def judge(target: Target, answers: list[Answer] | None, seen: Seen | None, now: float) -> ServiceState:
    """One service's state. ``answers`` is None when it can't be asked, ``seen`` without Prometheus."""
    if answers is None:
        state, reason = _by_metrics(target, seen)
    else:
        state, reason = _by_answers(target, answers, seen, now)
    latencies = [answer.latency for answer in answers or [] if answer.latency is not None]
    runs = state in (State.UP, State.DEGRADED)
    return ServiceState(
        name=target.name,
        kind=target.kind,
        state=state,
        reason=reason,
        version=_version(target, seen) if seen and runs else None,
        uptime_seconds=_uptime(target, seen, now) if seen and runs else None,
        latency_seconds=max(latencies, default=None),
        instances=Instances(ready=sum(a.ready for a in answers), total=len(answers)) if answers else None,
    )


def _by_answers(target: Target, answers: list[Answer], seen: Seen | None, now: float) -> tuple[State, str | None]:
    if not answers:
        return _absent(target, seen, now)
    wrong = [answer for answer in answers if not answer.ready]
    if len(wrong) == len(answers):
        return State.DEGRADED if all(a.draining for a in wrong) else State.DOWN, wrong[0].reason
    if wrong:
        return State.DEGRADED, f"{len(wrong)} of {len(answers)} instances: {wrong[0].reason}"
    if seen and not any(seen.values(target, "up")):
        return State.DEGRADED, "it answers, but Prometheus has no metrics of it"
    return State.UP, None


def _by_metrics(target: Target, seen: Seen | None) -> tuple[State, str | None]:
    if seen is None:
        return State.UNKNOWN, "only Prometheus can tell, and it does not answer"
    values = seen.values(target, target.metrics.up)
    if not values and target.scraped_as in seen.last_up:
        return State.UNKNOWN, f"only {target.scraped_as} can tell, and it does not answer"
    if not values:
        return State.NOT_DEPLOYED, f"nothing tells about it: {target.scraped_as} was never seen"
    if all(values):
        return State.UP, None
    return State.DOWN, f"not reached by {target.scraped_as} ({target.metrics.up} is 0)"


def _absent(target: Target, seen: Seen | None, now: float) -> tuple[State, str | None]:
    if seen is None:
        return State.DOWN, "no container of this name runs on the network"
    if target.scraped_as not in seen.last_up:
        return State.NOT_DEPLOYED, "never seen by Prometheus, and no container of this name runs"
    ago = _ago(now - seen.last_up[target.scraped_as])
    return State.DOWN, f"its container does not run; last seen {ago} ago"


def _version(target: Target, seen: Seen) -> str | None:
    if target.metrics.version is None:
        return None
    metric, label = target.metrics.version
    versions = {sample.labels.get(label, "") for sample in seen.samples.get((target.scraped_as, metric), [])}
    return ", ".join(sorted(versions - {""})) or None


def _uptime(target: Target, seen: Seen, now: float) -> float | None:
    """Seconds since the youngest instance started."""
    kind: Kind = target.metrics
    uptimes = [now - start for start in seen.values(target, kind.started)] + seen.values(target, kind.uptime)
    return max(0.0, min(uptimes)) if uptimes else None


def _ago(seconds: float) -> str:
    for unit, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= unit:
            return f"{seconds / unit:.0f} {name}"
    return f"{max(seconds, 0):.0f} s"
