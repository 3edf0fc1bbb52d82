# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Making a model present on a host or absent: which digests its files have to have, and what is left to do for that."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Optional

from ansible_collections.llm.orchestrator.plugins.module_utils._fetch import Source, fetch_verified, require_digest
from ansible_collections.llm.orchestrator.plugins.module_utils._fetch_http import UNDECLARED, Declared
from ansible_collections.llm.orchestrator.plugins.module_utils._gguf import GgufError, read_header
from ansible_collections.llm.orchestrator.plugins.module_utils._gguf_facts import (
    architecture,
    nominal_quantization,
)
from ansible_collections.llm.orchestrator.plugins.module_utils._gguf_split import merged
from ansible_collections.llm.orchestrator.plugins.module_utils._model_store import (
    ModelStore,
    Part,
    Record,
    data_names,
    model_digest,
)
from ansible_collections.llm.orchestrator.plugins.module_utils._partial_file import (
    ModelFileError,
    PartialFile,
    UnusableBytesError,
    file_digest,
    require_space,
    telling_full,
)
from ansible_collections.llm.orchestrator.plugins.module_utils._progress import Progress

# Sets a file's owner and mode, and says whether they were others.
SetAttributes = Callable[[Path], bool]


@dataclass(frozen=True)
class Pin:
    """The digests that a model's files have to have, and who says so; None where nobody does before they are fetched.

    `declared` is what the source says of each file.
    """

    digests: Optional[tuple[str, ...]]
    basis: str
    declared: tuple[Declared, ...]

    @property
    def revision(self) -> Optional[str]:
        return self.declared[0].revision

    @property
    def sizes(self) -> list[Optional[int]]:
        return [declared.size for declared in self.declared]


@dataclass(frozen=True)
class Wanted:
    """The model that is asked for, a source for each file. `digests` are those that were given, if they were.

    `trusted` accepts what comes from a source that declares no digest; `refresh` asks the source even if its file is
    there; `verify` reads files that are there; `reachable` is whether this host has what it takes to ask the source.
    """

    store: ModelStore
    name: str
    sources: tuple[Source, ...]
    digests: Optional[tuple[str, ...]]
    trusted: bool
    refresh: bool
    verify: bool
    reachable: bool
    progress: Progress

    @property
    def source_name(self) -> str:
        return self.sources[0].name

    def waiting(self) -> None:
        self.progress.message(f"another run is fetching {self.name}: waiting for it")

    def pin(self) -> Pin:
        """Asks the source only where neither the task nor an earlier run says which files they are."""
        nothing = (UNDECLARED,) * len(self.sources)
        if self.digests:
            return Pin(self.digests, "given", nothing)
        known = None if self.refresh else self.store.recorded(self.name, self.source_name)
        if known and len(known.digests) == len(self.sources):
            declared = tuple(Declared(sha256, size, known.revision) for sha256, size in zip(known.digests, known.sizes))
            return Pin(known.digests, "recorded", declared)
        if not self.reachable:
            return Pin(None, "first_use", nothing)
        declared = tuple(source.declared() for source in self.sources)
        if len({one.revision for one in declared}) > 1:
            raise ModelFileError(f"{self.source_name} changed while its parts were asked for: run this again")
        digests = tuple(one.sha256 for one in declared if one.sha256)
        if len(digests) == len(declared):
            return Pin(digests, "declared", declared)
        if not (self.trusted or all(source.declares_late for source in self.sources)):
            raise ModelFileError(self.unpinned())
        return Pin(None, "first_use", declared)

    def unpinned(self) -> str:
        return (
            f"{self.source_name} declares no SHA-256, so nothing tells whether its bytes are the right ones: give"
            " sha256 or a lockfile that has it, or accept what comes with trust_on_first_use"
        )

    def condition(self, digests: tuple[str, ...]) -> str:
        """As in ModelStore.condition; with `verify`, `damaged` also for files of other digests."""
        sha256 = model_digest(digests)
        condition = self.store.condition(sha256, self.name)
        if condition in ("present", "unrecorded") and (self.verify or condition == "unrecorded"):
            label = f"verifying {self.name}"
            paths = self.store.found(sha256, self.name)
            found = tuple(file_digest(path, self.progress.update, label) for path in paths)
            return condition if found == digests else "damaged"
        return condition


def ensure_present(wanted: Wanted, set_attributes: SetAttributes, check: bool) -> dict[str, Any]:
    """The module's result; raises ModelFileError."""
    pin = wanted.pin()
    if pin.digests is None:
        return _first_use(wanted, pin, set_attributes, check)
    store, digests, sha256 = wanted.store, pin.digests, model_digest(pin.digests)
    before = wanted.condition(digests)
    if check and before in ("absent", "damaged") and not store.names(sha256):
        pin = _asked(wanted, pin, digests)
    if not check and (before != "present" or store.has_leftovers(sha256)):
        with store.lock(sha256, wanted.waiting):
            _obtain(wanted, pin, digests, set_attributes)
            store.clean(sha256)
    return _present(wanted, pin, digests, before, set_attributes)


def _present(
    wanted: Wanted, pin: Pin, digests: tuple[str, ...], before: str, set_attributes: SetAttributes
) -> dict[str, Any]:
    store, sha256 = wanted.store, model_digest(digests)
    paths = store.files(sha256, wanted.name, len(digests))
    others = [path for path in paths if path.exists() and set_attributes(path)]
    if others and before == "present":
        before = "present, with another owner or mode"
    record = store.record(sha256)
    sizes = record.sizes if record else pin.sizes
    parts = [{"sha256": digest, "size": size} for digest, size in zip(digests, sizes)]
    said = {
        "source": wanted.source_name,
        "revision": record.revision if record else pin.revision,
        "sha256": sha256,
        "size": None if None in sizes else sum(size for size in sizes if size),
        "parts": parts if len(parts) > 1 else [],
        "basis": pin.basis,
    }
    return result(paths[0], sha256, before != "present", before, "present") | {
        "record": asdict(record) if record else None,
        "pin": said,
    }


def _first_use(wanted: Wanted, pin: Pin, set_attributes: SetAttributes, check: bool) -> dict[str, Any]:
    """Nobody knows the digests until the files have been read."""
    if check:
        return result(None, None, True, "absent", "present") | {"record": None, "pin": None}
    store = wanted.store
    key = f"source-{hashlib.sha256(wanted.source_name.encode()).hexdigest()}"
    with store.lock(key, wanted.waiting), telling_full(store.root):
        try:
            data = [store.work(key) / name for name in data_names(len(wanted.sources))]
            fetched = []
            late = True
            for source, path in zip(wanted.sources, data):
                with PartialFile(path, None) as partial:
                    late = bool(fetch_verified(source, partial, wanted.progress.update)) and late
                    fetched.append(partial.sha256)
            if not late and not wanted.trusted:
                raise UnusableBytesError(wanted.unpinned())
            digests = tuple(fetched)
            record = describe(data, wanted.source_name, pin.revision, digests)
            with store.lock(record.sha256, wanted.waiting):
                before = wanted.condition(digests)
                if before != "present":
                    _publish(wanted, data, record, set_attributes)
        finally:
            # Another time nothing could tell of what version they are.
            store.clean(key)
    known = Pin(digests, "declared" if late else "first_use", pin.declared)
    return _present(wanted, known, digests, before, set_attributes)


def _obtain(wanted: Wanted, pin: Pin, digests: tuple[str, ...], set_attributes: SetAttributes) -> None:
    """Make the files present. Hold the lock: another run may have done it in the meantime."""
    store, sha256 = wanted.store, model_digest(digests)
    condition = wanted.condition(digests)
    if condition == "present":
        return
    if condition == "unrecorded":
        paths = store.found(sha256, wanted.name)
        store.write_record(describe(paths, wanted.source_name, pin.revision, digests))
        return
    if condition == "damaged":
        store.remove(sha256, wanted.name)
    if store.link(sha256, wanted.name):
        return
    try:
        with telling_full(store.root):
            data = [store.work(sha256) / name for name in data_names(len(digests))]
            _require_space_for_all(wanted, pin, data)
            for source, path, digest in zip(wanted.sources, data, digests):
                with PartialFile(path, digest) as partial:
                    fetch_verified(source, partial, wanted.progress.update)
            record = describe(data, wanted.source_name, pin.revision or wanted.sources[0].revision, digests)
            _publish(wanted, data, record, set_attributes)
    except UnusableBytesError:
        # The bytes of a download that broke off stay instead, for the next run.
        store.clean(sha256)
        raise


def _asked(wanted: Wanted, pin: Pin, digests: tuple[str, ...]) -> Pin:
    """The pin with the sizes that the source says; raises ModelFileError for what would keep it from being fetched."""
    if pin.basis == "given" and wanted.reachable:
        pin = Pin(digests, pin.basis, tuple(source.declared() for source in wanted.sources))
    root = next(path for path in (wanted.store.root, *wanted.store.root.parents) if path.exists())
    require_space(root, sum(size for size in pin.sizes if size))
    for source, digest, declared in zip(wanted.sources, digests, pin.declared):
        found = declared.sha256
        if source.local:
            found = file_digest(source.local, wanted.progress.update, "computing the digest")
        require_digest(source, digest, found)
    return pin


def _require_space_for_all(wanted: Wanted, pin: Pin, data: list[Path]) -> None:
    """Fail before the first part is fetched where there is no room for the last; a single file is checked as it comes.

    Raises DiskFullError.
    """
    if len(data) == 1:
        return
    sizes = (size or source.declared().size or 0 for size, source in zip(pin.sizes, wanted.sources))
    require_space(data[0].parent, sum(sizes) - sum(path.stat().st_size for path in data if path.exists()))


def _publish(wanted: Wanted, data: list[Path], record: Record, set_attributes: SetAttributes) -> None:
    for path in data:
        set_attributes(path)
    wanted.store.publish(data, wanted.name, record)


def describe(paths: list[Path], source: str, revision: Optional[str], digests: tuple[str, ...]) -> Record:
    """The record of a model's files; raises UnusableBytesError for what is no model."""
    try:
        headers = [read_header(path) for path in paths]
        header = merged(headers)
    except GgufError as error:
        raise UnusableBytesError(f"{source} is not a usable model: {error}") from error
    parts = tuple(Part(digest, header.file_bytes) for digest, header in zip(digests, headers))
    return Record(
        source=source,
        revision=revision,
        sha256=model_digest(digests),
        size=header.file_bytes,
        architecture=architecture(header),
        quantization=nominal_quantization(header),
        parts=parts if len(parts) > 1 else (),
    )


def ensure_absent(
    store: ModelStore, name: str, sha256: Optional[str], waiting: Callable[[], None], check: bool
) -> dict[str, Any]:
    """The module's result, of all files of the name where no digest is given; raises ModelFileError."""
    digests = [sha256] if sha256 else sorted({*store.named(name), *store.half_removed()})
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
    for digest in store.named(name):
        if digest == sha256:
            continue
        removed += [str(path) for path in store.found(digest, name)]
        if not check:
            with store.lock(digest, lambda: None):
                store.remove(digest, name)
                store.clean(digest)
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
