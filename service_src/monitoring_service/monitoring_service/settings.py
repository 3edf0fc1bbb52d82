"""Settings, from MONITORING_* environment variables."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import Field, HttpUrl, model_validator

from monitoring_service.targets import Target
from service_kit.settings import ServiceSettings, settings_config

CHART_LIBRARY = "chart.min.js"


class MonitoringSettings(ServiceSettings):
    model_config = settings_config("MONITORING_")

    port: int = Field(default=5003, ge=1, le=65535)
    prometheus_url: HttpUrl = HttpUrl("http://prometheus:9090")
    prometheus_timeout_seconds: float = Field(default=5.0, gt=0, le=60)
    targets: tuple[Target, ...] = Field(description="What to watch: a JSON list of targets", min_length=1)
    probe_timeout_seconds: float = Field(default=2.0, gt=0, le=30)
    model_url: HttpUrl = Field(
        default=HttpUrl("http://model-service:5000"), description="Asked for the names of its models"
    )
    public_url: HttpUrl | None = Field(
        default=None, description="The gateway's address as clients see it; unset: what the browser used"
    )
    refresh_seconds: float = Field(
        default=2.0, ge=0, le=60, description="Readers within this time share one look at the services"
    )
    chart_library_dir: Path = Field(
        default=Path("/usr/share/javascript/chart.js"), description=f"Where Debian puts {CHART_LIBRARY}"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [target.name for target in self.targets]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"targets: {', '.join(twice)} is listed more than once")
        if not (self.chart_library_dir / CHART_LIBRARY).is_file():
            raise ValueError(f"chart_library_dir: there is no {CHART_LIBRARY} in {self.chart_library_dir}")
        return self
