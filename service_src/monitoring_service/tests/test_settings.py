"""A wrong setting stops the service at its start, with a line that names it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from monitoring_service.settings import MonitoringSettings
from service_kit.settings import load

TARGET = {"name": "model-service", "port": 5000, "health_path": "/health/ready"}


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("TARGETS", "[]", "MONITORING_TARGETS"),
        ("TARGETS", json.dumps([TARGET, TARGET]), "model-service is listed more than once"),
        ("TARGETS", json.dumps([{**TARGET, "kind": "mainframe"}]), "MONITORING_TARGETS_0_KIND"),
        ("TARGETS", '[{"name": "model-service", "health_path": "/"}]', "a health_path needs a port"),
        ("PROMETHEUS_URL", "prometheus", "MONITORING_PROMETHEUS_URL"),
        ("CHART_LIBRARY_DIR", "/nonexistent", "there is no chart.min.js in /nonexistent"),
    ],
)
def test_a_wrong_setting_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, value: str, told: str
) -> None:
    monkeypatch.setenv("MONITORING_TARGETS", json.dumps([TARGET]))
    monkeypatch.setenv(f"MONITORING_{name}", value)
    with pytest.raises(SystemExit) as stopped:
        load(MonitoringSettings, "monitoring-service")
    assert stopped.value.code == 2
    assert told in capsys.readouterr().err


def test_a_targets_job_is_its_name_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "chart.min.js").touch()
    monkeypatch.setenv("MONITORING_CHART_LIBRARY_DIR", str(tmp_path))
    redis = {"name": "redis", "kind": "redis", "job": "redis-exporter"}
    monkeypatch.setenv("MONITORING_TARGETS", json.dumps([TARGET, redis]))
    targets = load(MonitoringSettings, "monitoring-service").targets
    assert [target.scraped_as for target in targets] == ["model-service", "redis-exporter"]
