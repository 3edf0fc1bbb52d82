"""A client of the test host's gateway."""

from __future__ import annotations

import ssl

import httpx
import pytest


@pytest.fixture(scope="module")
def context(host) -> ssl.SSLContext:
    """Trusts the gateway's certificate and nothing else."""
    return ssl.create_default_context(cadata=host.file("/etc/llm-orchestrator/tls/certificate.pem").content_string)


@pytest.fixture(scope="module")
def gateway(host, context: ssl.SSLContext):
    variables = host.backend.get_variables()
    with httpx.Client(
        base_url=f"https://{variables['ansible_host']}:8443",
        headers={"Authorization": f"Bearer {variables['model_service_api_keys'][0]}"},
        verify=context,
        timeout=120,
        trust_env=False,
    ) as client:
        yield client


@pytest.fixture(scope="module")
def admin(host) -> httpx.BasicAuth:
    return httpx.BasicAuth("admin", host.file("/etc/llm-orchestrator/admin_password").content_string.strip())
