# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Secrets and configs as files on the host: one folder for each container, readable by its user alone.

    <root>/.key                         the key of the secrets' digests, made once, for root only
    <root>/<service>/<random>/<secret>  mounted at /run/secrets/<secret>
    <root>/<service>/<random>/<path>    a config, with %2F for each slash, mounted at <path>

A folder is written before its container starts and never changed after: a container keeps what it was started
with, also when a rollback starts it again. A folder that no container mounts any more is removed.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets as random
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from urllib.parse import quote

from ansible_collections.llm.orchestrator.plugins.module_utils._description import Config, Secret

_KEY_BYTES = 32
_DIGEST_DIGITS = 32


def load_key(root: Path, create: bool) -> bytes:
    """The host's digest key. Where there is none and none may be made, a key that matches no record."""
    path = root / ".key"
    if not path.exists():
        if not create:
            return random.token_bytes(_KEY_BYTES)
        _make_private(root)
        draft = root / f".key.{random.token_hex(8)}"
        _write(draft, random.token_bytes(_KEY_BYTES), mode=0o600)
        try:
            # Unlike a rename, a link never replaces a key that a run beside this one has made meanwhile.
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
        _sync(root)
    return path.read_bytes()


def digest(key: bytes, secret: Secret) -> str:
    """Tells a changed value from an unchanged one, and nothing about it to who lacks the key."""
    text = f"{secret.name}\0{secret.value}".encode()
    return hmac.new(key, text, hashlib.sha256).hexdigest()[:_DIGEST_DIGITS]


def write_files(root: Path, service: str, secrets: Sequence[Secret], configs: Sequence[Config]) -> dict[str, Path]:
    """A new folder with a file for each secret and config, still root's; returned by paths in the container."""
    if not secrets and not configs:
        return {}
    home = root / service
    _make_private(home)
    folder = home / random.token_hex(8)
    folder.mkdir(mode=0o700)
    files = {}
    for secret in secrets:
        files[secret.path] = folder / secret.name
        _write(files[secret.path], secret.value.encode(), mode=0o400)
    for config in configs:
        files[config.path] = folder / quote(config.path, safe="")
        _write(files[config.path], config.content.encode(), mode=0o400)
    _sync(folder)
    _sync(home)
    return files


def hand_over(files: Iterable[Path], user_id: int) -> None:
    for file in files:
        os.chown(file, user_id, -1)


def remove_unused(root: Path, service: str, used: Iterable[Path]) -> None:
    """Removes each of the service's folders that holds none of the used files."""
    home = root / service
    if not home.is_dir():
        return
    kept = {file.parent for file in used}
    for folder in home.iterdir():
        if folder not in kept:
            shutil.rmtree(folder)
    if not kept:
        home.rmdir()


def _make_private(folder: Path) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)


def _write(path: Path, data: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        # A full disk is told without a name.
        error.filename = str(path)
        raise


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
