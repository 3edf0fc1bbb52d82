# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The gateway with TLS: a certificate of its own making, then one of the user's."""

from __future__ import annotations

import socket
import ssl
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from gateway_certificates import write_pair
from gateway_deployment import free_port, undeployed

pytestmark = pytest.mark.docker

NAMES = ["localhost", "127.0.0.1", "0:0:0:0:0:0:0:1"]


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with undeployed(tmp_path_factory) as made:
        made.variables = {"traefik_tls": "self_signed", "traefik_tls_port": free_port(), "traefik_tls_names": NAMES}
        made.deploy()
        wait_until_served(made)
        yield made


def context(tls: Any, trusted: Path | None = None) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=trusted or tls.place / "etc/tls/certificate.pem")


def https(tls: Any, trusted: Path | None = None) -> httpx.Client:
    url = f"https://127.0.0.1:{tls.variables['traefik_tls_port']}"
    return httpx.Client(base_url=url, verify=context(tls, trusted), trust_env=False, timeout=30)


def wait_until_served(tls: Any, trusted: Path | None = None) -> None:
    def served() -> bool:
        try:
            with https(tls, trusted) as client:
                return client.get("/bare/").status_code == 200
        except httpx.TransportError:
            return False

    tls.wait_until(served, "the backend over HTTPS, verified")


def own(files: tuple[Path, Path]) -> dict[str, str]:
    return {
        "traefik_tls": "certificate",
        "traefik_tls_certificate_file": str(files[0]),
        "traefik_tls_key_file": str(files[1]),
    }


def test_its_certificate_is_for_the_names_and_addresses(tls: Any) -> None:
    for name in ("localhost", "127.0.0.1"):
        url = f"https://{name}:{tls.variables['traefik_tls_port']}/bare/"
        assert httpx.get(url, verify=context(tls), trust_env=False).status_code == 200


def test_plain_http_is_sent_to_https_with_path_and_query(tls: Any) -> None:
    with tls.client() as client:
        answer = client.get("/bare/things?q=1")
    assert answer.status_code == 301
    assert answer.headers["Location"] == f"https://127.0.0.1:{tls.variables['traefik_tls_port']}/bare/things?q=1"


def test_browsers_are_told_to_stay_with_https(tls: Any, client: httpx.Client) -> None:
    with https(tls) as over_tls:
        assert over_tls.get("/bare/").headers["Strict-Transport-Security"] == "max-age=31536000"
    assert "Strict-Transport-Security" not in client.get("/bare/").headers


@pytest.mark.parametrize(
    ("version", "ciphers", "accepted"),
    [
        (ssl.TLSVersion.TLSv1_1, "ALL:@SECLEVEL=0", False),
        (ssl.TLSVersion.TLSv1_2, "ECDHE-ECDSA-AES128-SHA256:ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0", False),
        (ssl.TLSVersion.TLSv1_2, "ECDHE-ECDSA-AES128-GCM-SHA256", True),
        (ssl.TLSVersion.TLSv1_3, "DEFAULT", True),
    ],
)
def test_old_versions_and_weak_ciphers_are_refused(
    tls: Any, version: ssl.TLSVersion, ciphers: str, accepted: bool
) -> None:
    offered = context(tls)
    offered.minimum_version = offered.maximum_version = version
    offered.set_ciphers(ciphers)
    with socket.create_connection(("127.0.0.1", tls.variables["traefik_tls_port"]), timeout=10) as wire:
        if accepted:
            offered.wrap_socket(wire, server_hostname="localhost").close()
        else:
            with pytest.raises(ssl.SSLError, match=r"(?i)alert"):
                offered.wrap_socket(wire, server_hostname="localhost")


def test_keys_are_for_their_user_alone(tls: Any) -> None:
    for file, owner, mode in (
        (tls.place / "etc/tls/key.pem", 0, 0o600),
        (tls.folder / "dynamic/certificate.yml", 10001, 0o400),
    ):
        found = file.stat()
        assert (found.st_uid, stat.S_IMODE(found.st_mode)) == (owner, mode)


def test_a_second_run_changes_nothing(tls: Any) -> None:
    file = tls.place / "etc/tls/certificate.pem"
    first = file.read_bytes()
    assert " changed=0 " in tls.deploy()
    assert file.read_bytes() == first


def test_a_near_end_and_other_names_make_another_certificate(tls: Any) -> None:
    file = tls.place / "etc/tls/certificate.pem"
    ending, key = (made.read_bytes() for made in write_pair(tls.place, "ending", days=20))
    file.write_bytes(ending)
    (tls.place / "etc/tls/key.pem").write_bytes(key)
    tls.deploy(tasks_from="tls", traefik_tls_names=["127.0.0.1"])
    renewed = file.read_bytes()
    assert renewed != ending
    wait_until_served(tls)
    tls.deploy(tasks_from="tls")
    assert file.read_bytes() != renewed
    wait_until_served(tls)


def test_a_certificate_of_the_users_is_taken_over_without_a_restart(tls: Any) -> None:
    started = tls.engine.containers.get(tls.name).attrs["State"]["StartedAt"]
    for name in ("first", "second"):
        files = write_pair(tls.place, name)
        tls.deploy(tasks_from="tls", **own(files))
        wait_until_served(tls, files[0])
    assert tls.engine.containers.get(tls.name).attrs["State"]["StartedAt"] == started


def test_a_certificate_that_can_not_be_used_is_refused_before_anything_changes(tls: Any) -> None:
    good, other, old = (write_pair(tls.place, name, days) for name, days in (("good", 9), ("other", 9), ("old", -1)))
    text = tls.place / "text.pem"
    text.write_text("no certificate")
    for files, message in (
        ((good[0], other[1]), "can't be used: they do not belong together"),
        ((text, good[1]), "can't be used: they are not PEM files of a certificate and its plain key"),
        ((tls.place / "none.pem", good[1]), "can't be used: can't be read: No such file or directory"),
        (old, "can't be used: the certificate is valid from"),
    ):
        assert f"{files[0]} and {files[1]} of this host {message}" in tls.refused(**own(files))
    assert "set traefik_tls_certificate_file and traefik_tls_key_file" in tls.refused(traefik_tls="certificate")


def test_a_rollback_takes_the_configuration_along_and_what_nothing_uses_is_removed(tls: Any) -> None:
    def folders() -> set[Path]:
        return set((tls.place / "etc/traefik").iterdir())

    def wait_for_plain_http(status: int) -> None:
        def answered() -> bool:
            try:
                with tls.client() as client:
                    return client.get("/bare/").status_code == status
            except httpx.TransportError:
                return False

        tls.wait_until(answered, f"{status} over HTTP")

    tls.deploy()
    with_tls = tls.folder
    tls.deploy(traefik_tls="off")
    without_tls = tls.folder
    wait_for_plain_http(200)
    tls.roll_back()
    wait_until_served(tls)
    wait_for_plain_http(301)
    tls.roll_back()
    wait_for_plain_http(200)
    assert folders() == {with_tls, without_tls}
    tls.deploy(traefik_tls="off", traefik_log_level="warn")
    assert folders() == {without_tls, tls.folder}
