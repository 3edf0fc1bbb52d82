"""What is watched, and which metrics tell about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

KindName = Literal["service", "traefik", "prometheus", "redis", "redis-exporter", "node-exporter"]


@dataclass(frozen=True)
class Kind:
    """The metrics of one kind of software: is it up, which version is it, since when does it run.

    ``version`` is (metric, label that holds the version). Of ``started`` (a Unix time) and
    ``uptime`` (seconds), a kind has one.
    """

    up: str = "up"
    version: tuple[str, str] | None = None
    started: str | None = "process_start_time_seconds"
    uptime: str | None = None


KINDS: dict[KindName, Kind] = {
    "service": Kind(version=("llm_service_info", "version")),
    "traefik": Kind(),
    "prometheus": Kind(version=("prometheus_build_info", "version")),
    "redis": Kind(
        up="redis_up",
        version=("redis_instance_info", "redis_version"),
        started=None,
        uptime="redis_uptime_in_seconds",
    ),
    "redis-exporter": Kind(version=("redis_exporter_build_info", "version")),
    "node-exporter": Kind(version=("node_exporter_build_info", "version")),
}


class Target(BaseModel):
    """One thing to watch, as the role describes it to Prometheus too.

    With a ``health_path`` it is asked itself, every instance that its host name stands for; without,
    only its metrics tell. They are of the Prometheus job of its name, unless ``job`` names it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]*$")
    kind: KindName = "service"
    host: str | None = Field(default=None, description="Its name on the network; null: the target's name")
    port: int | None = Field(default=None, ge=1, le=65535)
    health_path: str | None = Field(default=None, pattern="^/")
    metrics_path: str = Field(default="/metrics", pattern="^/", description="For Prometheus, not used here")
    job: str | None = None

    @model_validator(mode="after")
    def _can_be_asked(self) -> Self:
        if self.health_path and not self.port:
            raise ValueError(f"{self.name}: a health_path needs a port")
        return self

    @property
    def address(self) -> tuple[str, int] | None:
        """Host name and port to ask, None where only metrics tell."""
        return (self.host or self.name, self.port) if self.port and self.health_path else None

    @property
    def scraped_as(self) -> str:
        """The Prometheus job that carries its metrics."""
        return self.job or self.name

    @property
    def metrics(self) -> Kind:
        return KINDS[self.kind]
