"""End-to-end tests: they talk to the platform that `make up` brought up on this machine.

LLM_BASE_URL names another one (fault and deployment tests need the local one).
"""

from __future__ import annotations

import os
from pathlib import Path

import docker
import httpx
import openai
import pytest
from load import Load
from platform_runs import Playbook, run_playbook


@pytest.fixture(scope="session")
def base_url() -> str:
    return os.environ.get("LLM_BASE_URL", "http://127.0.0.1:8080")


@pytest.fixture
def http(base_url: str):
    with httpx.Client(base_url=base_url, timeout=60, trust_env=False) as client:
        yield client


@pytest.fixture
def admin() -> httpx.BasicAuth:
    password = Path("/etc/llm-orchestrator/admin_password").read_text().strip()
    return httpx.BasicAuth("admin", password)


@pytest.fixture
def client(base_url: str):
    # Two retries are the client's default; a test must see the first error.
    with openai.OpenAI(base_url=f"{base_url}/v1", api_key="unused", max_retries=0, timeout=120) as client:
        yield client


@pytest.fixture
def model(client: openai.OpenAI) -> str:
    return client.models.list().data[0].id


@pytest.fixture(scope="session")
def engine():
    return docker.from_env()


@pytest.fixture
def playbook() -> Playbook:
    return run_playbook


@pytest.fixture
def load(base_url: str, admin: httpx.BasicAuth, model: str) -> Load:
    return Load(base_url, admin, model)
