# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module's process is killed at random moments of a replacement; the next run converges."""

from __future__ import annotations

import random
import time
from typing import Any

import pytest

pytestmark = pytest.mark.docker

# A replacement takes between one and two seconds here.
LONGEST = 2.5
ROUNDS = 6


@pytest.mark.parametrize("order", ["start_first", "stop_first"])
def test_a_killed_replacement_is_converged_by_the_next_run(service: Any, order: str) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    moments = random.Random(seed)
    for generation in range(ROUNDS):
        options = {
            "env": {"GENERATION": str(generation)},
            "secrets": [{"name": "generation", "value": f"generation-{generation}"}],
            "update": {"order": order, "ready_timeout": 90},
        }
        running = service.start("container_service", service.arguments(**options))
        time.sleep(moments.uniform(0.3, LONGEST))
        running.kill()
        running.communicate()
        if order == "start_first" and generation > 0:
            assert any(found["State"]["Running"] for found in service.containers())

        service.ensure(**options)
        container = service.container()
        assert f"GENERATION={generation}" in container["Config"]["Env"]
        assert container["State"]["Health"]["Status"] == "healthy"
        assert container["HostConfig"]["RestartPolicy"]["Name"] == "unless-stopped"
        assert service.execute("cat", "/run/secrets/generation") == (0, f"generation-{generation}")
        # One for it, and one for the container that a rollback returns to.
        assert len(service.secret_files()) <= 2
        assert len(service.containers()) <= 2
        assert not service.ensure(**options)["changed"]


def test_a_second_run_waits_for_the_first(service: Any) -> None:
    options = service.arguments(env={"A": "1"})
    runs = [service.start("container_service", options) for _ in range(2)]
    outputs = [run.communicate(timeout=300)[0] for run in runs]
    assert sorted('"changed": true' in output for output in outputs) == [False, True]
    assert "A=1" in service.container()["Config"]["Env"]
