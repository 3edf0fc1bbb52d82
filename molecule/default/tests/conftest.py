"""A client of the test host's gateway."""

from __future__ import annotations

import httpx
import pytest


@pytest.fixture(scope="module")
def gateway(host):
    address = host.backend.get_variables()["ansible_host"]
    with httpx.Client(base_url=f"http://{address}:8080", timeout=120, trust_env=False) as client:
        yield client


@pytest.fixture(scope="module")
def admin(host) -> httpx.BasicAuth:
    return httpx.BasicAuth("admin", host.file("/etc/llm-orchestrator/admin_password").content_string.strip())
