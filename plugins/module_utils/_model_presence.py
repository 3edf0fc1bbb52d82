# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Making a model file present on a host or absent: which digest it has to have, and what is left to do for that."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Optional

from ansible_collections.llm.orchestrator.plugins.module_utils._fetch import Source, fetch_verified
from ansible_collections.llm.orchestrator.plugins.module_utils._fetch_http import UNDECLARED, Declared
from ansible_collections.llm.orchestrator.plugins.module_utils._gguf import GgufError, read_header
from ansible_collections.llm.orchestrator.plugins.module_utils._gguf_facts import (
    architecture,
    nominal_quantization,
)
from ansible_collections.llm.orchestrator.plugins.module_utils._model_store import (
    DATA_NAME,
    ModelStore,
    Record,
)
from ansible_collections.llm.orchestrator.plugins.module_utils._partial_file import (
    ModelFileError,
    PartialFile,
    UnusableBytesError,
    file_digest,
)
from ansible_collections.llm.orchestrator.plugins.module_utils._progress import Progress

# Sets a file's owner and mode, and says whether they were others.
SetAttributes = Callable[[Path], bool]


@dataclass(frozen=True)
class Pin:
    """The digest that a file has to have, and who says so; `sha256` is None where nobody does before it is fetched."""

    sha256: Optional[str]
    basis: str
    declared: Declared = UNDECLARED


@dataclass(frozen=True)
class Wanted:
    """The file that is asked for. `sha256` is the digest that was given, if one was.

    `trusted` accepts what comes from a source that declares no digest; `refresh` asks the source even if its file is
    there; `verify` reads a file that is there.
    """

    store: ModelStore
    name: str
    source: Source
    sha256: Optional[str]
    trusted: bool
    refresh: bool
    verify: bool
    progress: Progress

    def waiting(self) -> None:
        self.progress.message(f"another run is fetching {self.name}: waiting for it")

    def pin(self) -> Pin:
        """Asks the source only where neither the task nor an earlier run says which file it is."""
        if self.sha256:
            return Pin(self.sha256, "given")
        known = None if self.refresh else self.store.recorded(self.name, self.source.name)
        if known:
            return Pin(known.sha256, "recorded", Declared(known.sha256, known.size, known.revision))
        declared = self.source.declared()
        if not (declared.sha256 or self.trusted or self.source.declares_late):
            raise ModelFileError(self.unpinned())
        return Pin(declared.sha256, "declared" if declared.sha256 else "first_use", declared)

    def unpinned(self) -> str:
        return (
            f"{self.source.name} declares no SHA-256, so nothing tells whether its bytes are the right ones: give"
            " sha256 or a lockfile that has it, or accept what comes with trust_on_first_use"
        )

    def condition(self, sha256: str) -> str:
        """As in ModelStore.condition; with `verify`, `damaged` also for a file of another digest."""
        condition = self.store.condition(sha256, self.name)
        if condition in ("present", "unrecorded") and (self.verify or condition == "unrecorded"):
            path = self.store.file(sha256, self.name)
            digest = file_digest(path, self.progress.update, f"verifying {self.name}")
            return condition if digest == sha256 else "damaged"
        return condition


def ensure_present(wanted: Wanted, set_attributes: SetAttributes, check: bool) -> dict[str, Any]:
    """The module's result; raises ModelFileError."""
    pin = wanted.pin()
    if pin.sha256 is None:
        return _first_use(wanted, pin, set_attributes, check)
    store = wanted.store
    before = wanted.condition(pin.sha256)
    if not check and (before != "present" or store.has_leftovers(pin.sha256)):
        with store.lock(pin.sha256, wanted.waiting):
            _obtain(wanted, pin.sha256, pin.declared.revision, set_attributes)
            store.clean(pin.sha256)
    return _present(wanted, pin, before, set_attributes)


def _present(wanted: Wanted, pin: Pin, before: str, set_attributes: SetAttributes) -> dict[str, Any]:
    sha256 = pin.sha256 or ""
    path = wanted.store.file(sha256, wanted.name)
    changed = before != "present"
    if path.exists():
        changed = set_attributes(path) or changed
    record = wanted.store.record(sha256)
    said = {
        "source": wanted.source.name,
        "revision": record.revision if record else pin.declared.revision,
        "sha256": sha256,
        "size": record.size if record else pin.declared.size,
        "basis": pin.basis,
    }
    return result(path, sha256, changed, before, "present") | {
        "record": asdict(record) if record else None,
        "pin": said,
    }


def _first_use(wanted: Wanted, pin: Pin, set_attributes: SetAttributes, check: bool) -> dict[str, Any]:
    """Nobody knows the digest until the file has been read."""
    if check:
        return result(None, None, True, "absent", "present") | {"record": None, "pin": None}
    store = wanted.store
    key = f"source-{hashlib.sha256(wanted.source.name.encode()).hexdigest()}"
    with store.lock(key, wanted.waiting):
        data = store.work(key) / DATA_NAME
        try:
            with PartialFile(data, None) as partial:
                late = fetch_verified(wanted.source, partial, wanted.progress.update)
                sha256 = partial.sha256
            if not late and not wanted.trusted:
                raise UnusableBytesError(wanted.unpinned())
            record = describe(data, wanted.source.name, pin.declared.revision, sha256)
            with store.lock(sha256, wanted.waiting):
                before = wanted.condition(sha256)
                if before != "present":
                    set_attributes(data)
                    store.publish(data, wanted.name, record)
        finally:
            # Another time nothing could tell of what version they are.
            store.clean(key)
    return _present(wanted, Pin(sha256, "declared" if late else "first_use", pin.declared), before, set_attributes)


def _obtain(wanted: Wanted, sha256: str, revision: Optional[str], set_attributes: SetAttributes) -> None:
    """Make the file present. Hold the lock: another run may have done it in the meantime."""
    store = wanted.store
    condition = wanted.condition(sha256)
    if condition == "present":
        return
    if condition == "unrecorded":
        path = store.file(sha256, wanted.name)
        store.write_record(describe(path, wanted.source.name, revision, sha256))
        return
    if condition == "damaged":
        store.remove(sha256, wanted.name)
    if store.link(sha256, wanted.name):
        return
    data = store.work(sha256) / DATA_NAME
    try:
        with PartialFile(data, sha256) as partial:
            fetch_verified(wanted.source, partial, wanted.progress.update)
        record = describe(data, wanted.source.name, revision or wanted.source.revision, sha256)
    except UnusableBytesError:
        # The bytes of a download that broke off stay instead, for the next run.
        store.clean(sha256)
        raise
    set_attributes(data)
    store.publish(data, wanted.name, record)


def describe(path: Path, source: str, revision: Optional[str], sha256: str) -> Record:
    """The record of a file; raises UnusableBytesError for one that is no model."""
    try:
        header = read_header(path)
    except GgufError as error:
        raise UnusableBytesError(f"{source} is not a usable model: {error}") from error
    return Record(
        source=source,
        revision=revision,
        sha256=sha256,
        size=header.file_bytes,
        architecture=architecture(header),
        quantization=nominal_quantization(header),
    )


def ensure_absent(
    store: ModelStore, name: str, sha256: Optional[str], waiting: Callable[[], None], check: bool
) -> dict[str, Any]:
    """The module's result, of all files of the name where no digest is given; raises ModelFileError."""
    digests = [sha256] if sha256 else [path.parent.name for path in store.named(name)]
    states = {digest: store.condition(digest, name) for digest in digests}
    found = [digest for digest in digests if states[digest] != "absent" or store.has_leftovers(digest)]
    for digest in () if check else found:
        with store.lock(digest, waiting):
            store.remove(digest, name)
            store.clean(digest)
    path = store.file(sha256, name) if sha256 else None
    before = next((state for state in states.values() if state != "absent"), "absent")
    return result(path, sha256, bool(found), before, "absent")


def prune(store: ModelStore, name: str, sha256: Optional[str], check: bool) -> list[str]:
    """Remove files of the name with another digest, and work that no run is at; returns their paths."""
    removed = []
    for path in store.named(name):
        digest = path.parent.name
        if digest == sha256:
            continue
        removed.append(str(path))
        if not check:
            with store.lock(digest, lambda: None):
                store.remove(digest, name)
    for key in store.unfinished():
        try:
            with store.lock(key, _leave):
                removed.append(str(store.root / ".partial" / key))
                if not check:
                    store.clean(key)
        except _Busy:
            continue
    return removed


class _Busy(Exception):
    """Another run is at it."""


def _leave() -> None:
    raise _Busy


def result(path: Optional[Path], sha256: Optional[str], changed: bool, before: str, after: str) -> dict[str, Any]:
    shown = None if path is None else str(path)
    return {
        "changed": changed,
        "path": shown,
        "sha256": sha256,
        "diff": {"before": {"path": shown, "state": before}, "after": {"path": shown, "state": after}},
    }
