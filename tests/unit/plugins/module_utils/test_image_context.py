# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest
from ansible_collections.llm.orchestrator.plugins.module_utils import _image_context as build_context
from ansible_collections.llm.orchestrator.plugins.module_utils._image_engine import ImageError


@pytest.fixture
def context(tmp_path: Path) -> Path:
    for name in ("app/Dockerfile", "app/pkg/main.py", "app/tests/test_main.py", "app/.venv/bin/python", "kit/kit.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "app/run.sh").write_text("#!/bin/sh\n")
    (tmp_path / "app/run.sh").chmod(0o755)
    (tmp_path / "app/link").symlink_to("pkg")
    return tmp_path


def fingerprint(context: Path, **changes: object) -> str:
    arguments = {"dockerfile": "app/Dockerfile", "build_args": {"A": "1"}, "bases": ["base sha256:1"]} | changes
    return build_context.fingerprint(build_context.collect(str(context), ["app"], {}), **arguments)


def test_only_what_the_image_needs_is_sent(context: Path) -> None:
    names = [file.name for file in build_context.collect(str(context), ["kit", "app"], {})]
    assert names == ["app/Dockerfile", "app/link", "app/pkg/main.py", "app/run.sh", "kit/kit.py"]


def test_a_file_from_elsewhere_gets_its_name_in_the_context(context: Path, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("PEM")
    files = build_context.collect(str(context), ["kit"], {"kit/ca/extra.crt": str(tmp_path / "ca.pem")})
    assert [file.name for file in files] == ["kit/ca/extra.crt", "kit/kit.py"]
    with pytest.raises(ImageError, match="extra_files: /nowhere is not a file"):
        build_context.collect(str(context), ["kit"], {"x": "/nowhere"})


def test_the_tar_holds_files_with_their_mode_and_links(context: Path) -> None:
    stream = io.BytesIO()
    build_context.write_tar(build_context.collect(str(context), ["app"], {}), stream)
    stream.seek(0)
    with tarfile.open(fileobj=stream) as tar:
        assert tar.extractfile("app/pkg/main.py").read() == b"app/pkg/main.py"
        assert [tar.getmember(name).mode for name in ("app/run.sh", "app/Dockerfile")] == [0o755, 0o644]
        assert tar.getmember("app/link").linkname == "pkg"
        assert {(member.uid, member.gid) for member in tar} == {(0, 0)}


def test_times_and_permissions_of_others_do_not_change_the_fingerprint(context: Path) -> None:
    before = fingerprint(context)
    os.utime(context / "app/pkg/main.py", (1, 1))
    (context / "app/pkg/main.py").chmod(0o600)
    (context / "app/tests/test_main.py").write_text("other")
    assert fingerprint(context) == before


def test_whatever_the_image_is_made_of_changes_the_fingerprint(context: Path) -> None:
    seen = [
        fingerprint(context),
        fingerprint(context, dockerfile="app/Other"),
        fingerprint(context, build_args={"A": "2"}),
        fingerprint(context, build_args={}),
        fingerprint(context, bases=["base sha256:2"]),
    ]
    (context / "app/pkg/main.py").chmod(0o755)
    seen.append(fingerprint(context))
    (context / "app/pkg/main.py").write_text("changed")
    seen.append(fingerprint(context))
    (context / "app/pkg/main.py").rename(context / "app/pkg/moved.py")
    seen.append(fingerprint(context))
    (context / "app/link").unlink()
    (context / "app/link").symlink_to("elsewhere")
    seen.append(fingerprint(context))
    assert len(set(seen)) == len(seen)
