# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Certificates from pebble, Let's Encrypt's test server, by both challenges."""

from __future__ import annotations

import json
import os
import shutil
import socket
import ssl
import stat
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from gateway_certificates import write_pair
from gateway_deployment import free_port, undeployed

pytestmark = [
    pytest.mark.docker,
    pytest.mark.skipif(not shutil.which("pebble"), reason="needs the Debian package pebble"),
]


@pytest.fixture(scope="module")
def acme(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A gateway that has its first certificate by HTTP-01."""
    with undeployed(tmp_path_factory) as made, ExitStack() as stack:
        network = made.engine.networks.create(f"{made.name}-llm")
        network.reload()
        host = network.attrs["IPAM"]["Config"][0]["Gateway"]
        ports = {name: free_port() for name in ("acme", "management", "dns", "dns_management", "tls")}
        certificate, key = write_pair(made.place, "pebble", address=host)
        config = {
            "listenAddress": f"{host}:{ports['acme']}",
            "managementListenAddress": f"{host}:{ports['management']}",
            "certificate": str(certificate),
            "privateKey": str(key),
            "httpPort": made.port,
            "tlsPort": ports["tls"],
        }
        (made.place / "pebble.json").write_text(json.dumps({"pebble": config}))
        resolver = f"127.0.0.1:{ports['dns']}"
        # Every name is this host; what the other servers of the challenge test server are for is Traefik's part.
        names = ["-defaultIPv4=127.0.0.1", "-defaultIPv6=", f"-dns01={resolver}"]
        unused = ["-http01=", "-https01=", "-tlsalpn01=", f"-management=127.0.0.1:{ports['dns_management']}"]
        for command in (
            ["pebble-challtestsrv", *names, *unused],
            ["pebble", f"-config={made.place}/pebble.json", f"-dnsserver={resolver}"],
        ):
            log = stack.enter_context((made.place / f"{command[0]}.log").open("w"))
            environment = os.environ | {"PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "0"}
            server = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)
            stack.callback(server.wait)
            stack.callback(server.terminate)
        made.variables = {
            "traefik_tls": "acme",
            "traefik_tls_port": ports["tls"],
            "traefik_acme_domains": ["first.example.org"],
            "traefik_acme_email": "admin@example.org",
            "traefik_acme_server": f"https://{host}:{ports['acme']}/dir",
            "traefik_acme_ca_bundle": str(certificate),
            "traefik_acme_dir": str(made.place / "acme"),
        }
        made.deploy()
        roots = f"https://{host}:{ports['management']}/roots/0"
        context = ssl.create_default_context(cafile=certificate)
        made.root = made.place / "root.pem"
        made.root.write_text(httpx.get(roots, verify=context, trust_env=False).text)
        yield made


def served(acme: Any, name: str) -> str:
    """The serial number of the certificate that is served for the name, verified; empty if there is none."""
    context = ssl.create_default_context(cafile=acme.root)
    port = acme.variables["traefik_tls_port"]
    try:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=10) as wire,
            context.wrap_socket(wire, server_hostname=name) as secured,
        ):
            return str(secured.getpeercert()["serialNumber"])
    except OSError:
        return ""


def test_a_certificate_is_got_over_http_01_while_all_else_is_redirected(acme: Any) -> None:
    acme.wait_until(lambda: served(acme, "first.example.org") != "", "a certificate")
    with acme.client() as client:
        assert client.get("/bare/").status_code == 301
        assert client.get("/.well-known/acme-challenge/none").status_code == 404


def test_a_client_that_asks_for_another_name_is_refused(acme: Any) -> None:
    context = ssl.create_default_context(cafile=acme.root)
    with (
        socket.create_connection(("127.0.0.1", acme.variables["traefik_tls_port"]), timeout=10) as wire,
        pytest.raises(ssl.SSLError, match=r"unrecognized name"),
    ):
        context.wrap_socket(wire, server_hostname="other.example.org")


def test_certificates_survive_the_container_and_the_next_is_got_over_tls_alpn_01(acme: Any) -> None:
    first = served(acme, "first.example.org")
    before = acme.engine.containers.get(acme.name).id
    acme.deploy(traefik_acme_challenge="tls", traefik_acme_domains=["second.example.org"])
    assert acme.engine.containers.get(acme.name).id != before
    acme.wait_until(lambda: served(acme, "second.example.org") != "", "a certificate")
    assert served(acme, "first.example.org") == first
    kept = Path(acme.variables["traefik_acme_dir"]) / "acme.json"
    assert (kept.stat().st_uid, stat.S_IMODE(kept.stat().st_mode)) == (10001, 0o600)


def test_what_the_authority_needs_is_checked_before_anything_changes(acme: Any) -> None:
    for variables, message in (
        ({"traefik_acme_domains": []}, "traefik_acme_domains is []; give names such as llm.example.org"),
        ({"traefik_acme_domains": ["*.example.org"]}, "without wildcards, which these challenges can't prove"),
        ({"traefik_acme_email": None}, "traefik_acme_email is ''; give the address that the authority writes to"),
        ({"traefik_acme_server": "http://acme"}, "traefik_acme_server is 'http://acme'; give the https URL"),
        ({"traefik_acme_challenge": "dns"}, "value of traefik_acme_challenge must be one of: http, tls, got: dns"),
        ({"traefik_acme_ca_bundle": "/none"}, "traefik_acme_ca_bundle is /none, and this host has no PEM file"),
    ):
        assert message in acme.refused(**variables)
