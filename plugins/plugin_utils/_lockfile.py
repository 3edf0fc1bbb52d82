# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""models.lock.yml on the controller: by name, which file each model is."""

from __future__ import annotations

import fcntl
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml
from ansible.errors import AnsibleActionFail

_FORMAT = 1
_SHA256 = re.compile("[0-9a-f]{64}")
_HEADER = """\
# Which file each model is. llm.orchestrator.model_download writes it; commit it, and every host gets these bytes.
"""


@dataclass(frozen=True)
class LockEntry:
    """One model: its source, the source's revision if it has one, its digest and its size in bytes.

    `parts` has the SHA-256 and the size of each file of a split model, and is empty for others.
    """

    source: str
    revision: str | None
    sha256: str
    size: int | None
    parts: tuple[dict[str, Any], ...] = ()

    @property
    def digests(self) -> list[str]:
        """Of each file."""
        return [part["sha256"] for part in self.parts] or [self.sha256]


class Lockfile:
    """A lockfile by its path; it need not exist yet."""

    def __init__(self, path: str) -> None:
        self.path = Path(path)

    def entry(self, name: str) -> LockEntry | None:
        return self._read().get(name)

    def text(self) -> str:
        """As it is on disk; empty where it isn't."""
        return self.path.read_text("utf-8") if self.path.exists() else ""

    def planned(self, name: str, entry: LockEntry) -> str:
        """The text with the entry in it."""
        return _dump(self._read() | {name: entry})

    def write(self, name: str, entry: LockEntry, seen: LockEntry | None) -> None:
        """Put the entry in; fails if another host's run wrote another one since `seen` was read."""
        with self._locked():
            entries = self._read()
            now = entries.get(name)
            if now not in (seen, entry):
                raise AnsibleActionFail(
                    f"{self.path}: {name} was pinned to {now.sha256 if now else 'nothing'} while this host got"
                    f" {entry.sha256}: hosts got different files from {entry.source}"
                )
            self._replace(_dump(entries | {name: entry}))

    def _read(self) -> dict[str, LockEntry]:
        try:
            content = yaml.safe_load(self.text())
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise AnsibleActionFail(f"{self.path} can't be read: {' '.join(str(error).split())}") from error
        if content is None:
            return {}
        if not isinstance(content, dict) or content.get("version") != _FORMAT:
            raise AnsibleActionFail(f"{self.path} is not a lockfile of models: it has no 'version: {_FORMAT}'")
        models = content.get("models") or {}
        if not isinstance(models, dict):
            raise AnsibleActionFail(f"{self.path} is not a lockfile of models: 'models' is no mapping")
        return {str(name): self._parsed(name, fields) for name, fields in models.items()}

    def _parsed(self, name: Any, fields: Any) -> LockEntry:
        try:
            entry = LockEntry(**fields | {"parts": tuple(fields.get("parts") or ())})
            digests = [entry.sha256, *entry.digests]
        except (TypeError, KeyError, AttributeError) as error:
            raise AnsibleActionFail(
                f"{self.path}: {name} needs source, revision, sha256 and size, for a split model parts with their"
                " sha256 and size, and nothing else"
            ) from error
        texts = (entry.source, entry.revision or "", *digests)
        if not all(isinstance(text, str) for text in texts) or not all(_SHA256.fullmatch(one) for one in digests):
            raise AnsibleActionFail(f"{self.path}: {name} needs a source and a sha256 of 64 hexadecimal digits")
        return entry

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hosts run side by side, each in a process of its own."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # The directory, as the file itself is replaced.
        descriptor = os.open(self.path.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _replace(self, text: str) -> None:
        mode = self.path.stat().st_mode & 0o777 if self.path.exists() else 0o644
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=self.path.parent, delete=False) as file:
            try:
                file.write(text)
                file.flush()
                os.fchmod(file.fileno(), mode)
                os.fsync(file.fileno())
                os.replace(file.name, self.path)
            except BaseException:
                os.unlink(file.name)
                raise


def _dump(entries: dict[str, LockEntry]) -> str:
    models = {name: _fields(entries[name]) for name in sorted(entries)}
    return _HEADER + yaml.safe_dump({"version": _FORMAT, "models": models}, sort_keys=False, width=200)


def _fields(entry: LockEntry) -> dict[str, Any]:
    fields = asdict(entry)
    parts = fields.pop("parts")
    return fields | ({"parts": list(parts)} if parts else {})
