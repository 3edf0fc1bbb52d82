# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where models lie on a host: `<root>/<sha256>/<name>.gguf` with a `record.json` beside it.

A split model lies there as `<name>-00001-of-0000N.gguf` and so on; its digest is that of its parts' digests.
Work in progress lies in `<root>/.partial/<key>/` and becomes visible by one rename, so a run that is killed
leaves nothing half-made under a model's name; the next run with the same key takes over or removes it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
import stat
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Optional

from ansible_collections.llm.orchestrator.plugins.module_utils._gguf_split import (
    model_name,
    part_names,
    split_name,
)
from ansible_collections.llm.orchestrator.plugins.module_utils._partial_file import ModelFileError, fsync_path

RECORD_NAME = "record.json"
_SUFFIX = ".gguf"
_LOCK = ".lock"
# Of the directory of a model that is being removed.
_GONE = ".gone"
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")


@dataclass(frozen=True)
class Recipe:
    """How a derivative was made: from which file, by what, with which image."""

    source_sha256: str
    recipe: str
    image: str


@dataclass(frozen=True)
class Part:
    """One file of a split model; `size` in bytes."""

    sha256: str
    size: int


@dataclass(frozen=True)
class Record:
    """What is known of a model; `made` is None for one that was fetched, `parts` is empty for one in a single file.

    `size` is in bytes, of all parts; `sha256` is the file's, or `model_digest` of the parts'.
    """

    source: str
    revision: Optional[str]
    sha256: str
    size: int
    architecture: Optional[str]
    quantization: Optional[str]
    made: Optional[Recipe] = None
    parts: tuple[Part, ...] = ()

    @property
    def sizes(self) -> list[int]:
        """Of each file."""
        return [part.size for part in self.parts] or [self.size]

    @property
    def digests(self) -> tuple[str, ...]:
        """Of each file."""
        return tuple(part.sha256 for part in self.parts) or (self.sha256,)

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Record:
        """Raises ValueError for anything but a record."""
        fields = json.loads(text)
        try:
            made = fields.pop("made")
            parts = tuple(Part(**part) for part in fields.pop("parts", ()))
            record = cls(**fields, made=Recipe(**made) if made else None, parts=parts)
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"not a model record: {error}") from error
        if not isinstance(record.sha256, str) or not isinstance(record.size, int):
            raise ValueError("not a model record: sha256 or size is of another type")
        return record


@dataclass(frozen=True)
class ModelStore:
    """The models of one host under `root`."""

    root: Path

    def files(self, sha256: str, name: str, count: int) -> list[Path]:
        """Where the model's `count` files have their place."""
        return [self.root / sha256 / part for part in part_names(name, count)]

    def found(self, sha256: str, name: str) -> list[Path]:
        """The files of the model that are there, in order."""
        paths = sorted((self.root / sha256).glob(f"*{_SUFFIX}"))
        return [path for path in paths if model_name(path.name) == name]

    def file(self, sha256: str, name: str) -> Path:
        """The model's file, or its first one."""
        record = self.record(sha256)
        return self.files(sha256, name, len(record.parts) or 1 if record else 1)[0]

    def record(self, sha256: str) -> Record | None:
        try:
            record = Record.from_json((self.root / sha256 / RECORD_NAME).read_text("utf-8"))
        except (OSError, ValueError):
            return None
        return record if record.sha256 == sha256 else None

    def record_beside(self, path: Path) -> Record | None:
        """The record of a model that lies in this store, by its (first) file, with its recorded sizes; else None."""
        if path.parent.parent != self.root or path.suffix != _SUFFIX:
            return None
        sha256, name = path.parent.name, model_name(path.name)
        intact = self.condition(sha256, name) == "present" and path == self.file(sha256, name)
        return self.record(sha256) if intact else None

    def condition(self, sha256: str, name: str) -> str:
        """`present`, `absent`, `unrecorded`, or `damaged`: not all regular files, or not of the recorded sizes."""
        try:
            found = self.found(sha256, name)
            statuses = [os.lstat(path) for path in found]
        except (FileNotFoundError, NotADirectoryError):
            return "absent"
        if not statuses:
            return "absent"
        if not all(stat.S_ISREG(status.st_mode) for status in statuses):
            return "damaged"
        record = self.record(sha256)
        if record is None:
            return "unrecorded"
        whole = found == self.files(sha256, name, len(record.sizes))
        return "present" if whole and record.sizes == [status.st_size for status in statuses] else "damaged"

    def names(self, sha256: str) -> list[str]:
        return sorted({model_name(path.name) for path in (self.root / sha256).glob(f"*{_SUFFIX}")})

    def recorded(self, name: str, source: str) -> Record | None:
        """The record of an intact model `name` that was fetched from `source`; the newest if there are several."""
        found = []
        for sha256 in self.named(name):
            record = self.record_beside(self.file(sha256, name))
            if record and record.source == source and record.made is None:
                found.append((self.file(sha256, name).stat().st_mtime, sha256, record))
        return max(found)[2] if found else None

    def named(self, name: str) -> list[str]:
        """The digests of the models of the name `name`."""
        paths = self.root.glob(f"*/{name}*{_SUFFIX}")
        return sorted({path.parent.name for path in paths if model_name(path.name) == name})

    def unfinished(self) -> list[str]:
        """The keys of work in progress, or left by a run that ended."""
        names = (path.name for path in (self.root / ".partial").glob("*"))
        return sorted({name.removesuffix(_LOCK).removesuffix(_GONE) for name in names})

    def half_removed(self) -> list[str]:
        """The digests of models whose removal was begun and not ended."""
        return sorted(path.stem for path in self.root.glob(f".partial/*{_GONE}"))

    def derivative(self, source_sha256: str, recipe: str) -> Record | None:
        """The record of an intact file that was made from `source_sha256` by `recipe`."""
        for path in sorted(self.root.glob(f"*/{RECORD_NAME}")):
            record = self.record(path.parent.name)
            if record is None or record.made is None:
                continue
            same = (record.made.source_sha256, record.made.recipe) == (source_sha256, recipe)
            intact = (name for name in self.names(record.sha256) if self.condition(record.sha256, name) == "present")
            if same and any(intact):
                return record
        return None

    @contextlib.contextmanager
    def lock(self, key: str, waiting: Callable[[], None]) -> Iterator[None]:
        """Hold `key` against all other processes; `waiting` is called once if another one holds it.

        What `waiting` raises ends the wait.
        """
        _make_directory(self.root, 0o755)
        _make_directory(self.root / ".partial", 0o700)
        path = self.root / ".partial" / f"{key}{_LOCK}"
        while True:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                try:
                    waiting()
                except BaseException:
                    os.close(descriptor)
                    raise
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            if _is_open_file(path, descriptor):
                break
            # The one who held it has removed it since: hold the file that others see.
            os.close(descriptor)
        try:
            yield
        finally:
            path.unlink()
            os.close(descriptor)

    def work(self, key: str) -> Path:
        """The directory for work in progress on `key`, with what an earlier run left. Hold the lock."""
        work = self.root / ".partial" / key
        _make_directory(work, 0o700)
        # A run that was killed amid the renames of `publish` had its data staged already.
        for staged in (work / "new").glob(f"*{_SUFFIX}"):
            split = split_name(staged.name)
            _name, number, count = split or ("", 1, 1)
            os.replace(staged, work / data_names(count)[number - 1])
        return work

    def clean(self, key: str) -> None:
        """Remove what was left of work on `key`. Hold the lock."""
        for name in (key, key + _GONE):
            shutil.rmtree(self.root / ".partial" / name, ignore_errors=True)

    def has_leftovers(self, key: str) -> bool:
        return any((self.root / ".partial" / name).exists() for name in (key, key + _GONE, key + _LOCK))

    def publish(self, data: list[Path], name: str, record: Record) -> Path:
        """Make the whole and verified files `data` visible as `name`, with their record. Hold the digest's lock.

        They must lie in a work directory. A file of another name but the same digest stays beside them.
        Returns the (first) file's path.
        """
        staged = data[0].parent / "new"
        shutil.rmtree(staged, ignore_errors=True)
        _make_directory(staged, 0o755)
        _write_synced(staged / RECORD_NAME, record.to_json())
        names = part_names(name, len(data))
        for path, part in zip(data, names):
            os.rename(path, staged / part)
        fsync_path(staged)
        target = self.root / record.sha256
        try:
            os.rename(staged, target)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            # The first part is the one that a model is found by, so it comes last.
            for part in (RECORD_NAME, *reversed(names)):
                os.replace(staged / part, target / part)
            fsync_path(target)
        fsync_path(self.root)
        return target / names[0]

    def write_record(self, record: Record) -> None:
        """Put the record beside a file that lacks it. Hold the lock."""
        work = self.work(record.sha256)
        _write_synced(work / RECORD_NAME, record.to_json())
        os.replace(work / RECORD_NAME, self.root / record.sha256 / RECORD_NAME)
        fsync_path(self.root / record.sha256)

    def link(self, sha256: str, name: str) -> bool:
        """Give intact files of the same digest the name `name` too, stored once. False: there are none."""
        for other in self.names(sha256):
            if other != name and self.condition(sha256, other) == "present":
                found = self.found(sha256, other)
                # The first part is the one that a model is found by, so it comes last.
                for path, place in reversed([*zip(found, self.files(sha256, name, len(found)))]):
                    os.link(path, place)
                fsync_path(self.root / sha256)
                return True
        return False

    def remove(self, sha256: str, name: str) -> None:
        """Remove the files of `name`, and their record with the last name. Hold the lock."""
        directory, files = self.root / sha256, self.found(sha256, name)
        for path in files:
            if path.is_dir() and not path.is_symlink():
                raise ModelFileError(f"{path} is a directory, where a model file should be: remove it by hand")
        if set(self.names(sha256)) - {name}:
            for path in files:
                path.unlink()
            fsync_path(directory)
        elif directory.exists():
            strange = sorted(
                {path.name for path in directory.iterdir()} - {RECORD_NAME, *(path.name for path in files)}
            )
            if strange:
                raise ModelFileError(f"{directory} can't be removed: it has {strange[0]}, which is no model's")
            # At once, and without anything new, for which a full disk has no room.
            gone = self.root / ".partial" / f"{sha256}{_GONE}"
            shutil.rmtree(gone, ignore_errors=True)
            os.rename(directory, gone)
            fsync_path(self.root)
            shutil.rmtree(gone)


def data_names(count: int) -> list[str]:
    """The growing files of a model of `count` files in a work directory."""
    return ["data"] if count == 1 else [f"data-{number:05d}" for number in range(1, count + 1)]


def model_digest(digests: tuple[str, ...]) -> str:
    """What a model is known by: its file's SHA-256, or the one over its parts' digests, a line each."""
    if len(digests) == 1:
        return digests[0]
    return hashlib.sha256("".join(f"{digest}\n" for digest in digests).encode()).hexdigest()


def checked_name(name: str) -> str:
    """`name` if it can be a model's name; raises ModelFileError otherwise."""
    if _NAME.fullmatch(name) and not name.endswith(_SUFFIX) and not split_name(name):
        return name
    raise ModelFileError(
        f"name {name!r} can't be a model's name: letters, digits, dots, dashes and underscores, not beginning"
        f" with a dot or dash, at most 128, and without {_SUFFIX} or a part's number"
    )


def checked_root(models_dir: str) -> Path:
    """`models_dir` as a path if it is an absolute one; raises ModelFileError otherwise."""
    root = Path(os.path.normpath(models_dir))
    if root.is_absolute():
        return root
    raise ModelFileError(f"models_dir {models_dir!r} must be an absolute path")


def checked_sha256(sha256: str) -> str:
    """`sha256` in lower case; raises ModelFileError for what is no SHA-256."""
    if re.fullmatch(r"[0-9a-fA-F]{64}", sha256):
        return sha256.lower()
    raise ModelFileError(f"sha256 {sha256!r} is no SHA-256: 64 hexadecimal digits are needed")


def _make_directory(path: Path, mode: int) -> None:
    try:
        path.mkdir(parents=True)
    except FileExistsError:
        if path.is_dir():
            return
        raise ModelFileError(f"{path} is in the way: a directory is needed there") from None
    path.chmod(mode)  # whatever the umask


def _write_synced(path: Path, text: str) -> None:
    with open(path, "w", encoding="utf-8") as file:
        os.fchmod(file.fileno(), 0o644)
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _is_open_file(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False
