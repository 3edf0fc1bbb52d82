"""Every expression is valid, and what the service asks for is what the role's rules record."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from monitoring_service.catalogue import CATALOGUE
from monitoring_service.overview import METRICS
from monitoring_service.services import LAST_SEEN_QUERY, METRICS_QUERY

RULES = Path(__file__).parents[3] / "roles" / "monitoring_service" / "files" / "rules"


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    path = shutil.which("promtool")
    if path is None:
        pytest.fail("promtool is not installed: apt-get install --no-install-recommends prometheus")
    return subprocess.run([path, *arguments], capture_output=True, text=True, check=False)


def recorded() -> set[str]:
    return {name for path in RULES.glob("*.yml") for name in re.findall(r"record: (\S+)", path.read_text())}


@pytest.mark.parametrize("path", sorted(RULES.glob("*.yml")), ids=lambda path: path.name)
def test_rules_pass_promtool(path: Path) -> None:
    result = promtool("check", "rules", "--lint-fatal", str(path))
    assert result.returncode == 0, result.stdout + result.stderr


def test_every_expression_that_the_service_sends_parses(tmp_path: Path) -> None:
    expressions = [METRICS_QUERY, LAST_SEEN_QUERY, *METRICS]
    expressions += [expression for spec in CATALOGUE.values() for _, expression in spec.lines]
    rules = [{"record": f"test:{i}", "expr": expression} for i, expression in enumerate(expressions)]
    path = tmp_path / "rules.yml"
    path.write_text(json.dumps({"groups": [{"name": "sent", "rules": rules}]}))
    result = promtool("check", "rules", str(path))
    assert result.returncode == 0, result.stdout + result.stderr


def test_what_the_service_shows_is_recorded() -> None:
    asked = set(METRICS)
    asked |= {expression.partition("{")[0] for spec in CATALOGUE.values() for _, expression in spec.lines}
    assert asked - recorded() == set()


def test_aliases_carry_vllms_names() -> None:
    expected = {
        "vllm:num_requests_running",
        "vllm:num_requests_waiting",
        "vllm:kv_cache_usage_perc",
        "vllm:prompt_tokens_total",
        "vllm:generation_tokens_total",
        "vllm:request_success_total",
        "vllm:time_to_first_token_seconds_bucket",
        "vllm:inter_token_latency_seconds_bucket",
        "vllm:e2e_request_latency_seconds_bucket",
        "vllm:request_queue_time_seconds_bucket",
    }
    assert expected - recorded() == set()
