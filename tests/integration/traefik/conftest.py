# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One gateway for all tests that don't need another."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from gateway_deployment import Gateway, undeployed


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with undeployed(tmp_path_factory) as made:
        made.deploy()
        made.wait_until_routed()
        yield made


@pytest.fixture
def client(gateway: Gateway) -> Iterator[httpx.Client]:
    with gateway.client() as client:
        yield client


@pytest.fixture
def admin(gateway: Gateway) -> Iterator[httpx.Client]:
    with gateway.client(gateway.password) as client:
        yield client
