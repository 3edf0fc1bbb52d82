# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Images on a Docker Engine, through its API."""

from __future__ import annotations

import contextlib
import io
import os
import re
import tempfile
from collections import deque
from collections.abc import Iterable, Mapping
from typing import IO, Any, Optional

from ansible_collections.llm.orchestrator.plugins.module_utils._progress import Progress

try:
    import docker
    import docker.errors
    import requests.exceptions
    import urllib3.exceptions
except ImportError:
    # Looked for by connect(), which says what to install.
    docker = None  # type: ignore[assignment]

NAME_LABEL = "llm.orchestrator.image"
FINGERPRINT_LABEL = "llm.orchestrator.fingerprint"
ORIGIN_LABEL = "llm.orchestrator.origin"
# The build args that every Dockerfile has without declaring them, and that never get into an image.
PROXY_VARIABLES = ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy")
LOG_TAIL_LINES = 30

_STEP = re.compile(r"Step (\d+/\d+) : (.*)")
_TERMINAL_CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class ImageError(Exception):
    """What went wrong with an image, in one line; details goes into the module's result."""

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.details = details


def connect(timeout: int) -> Any:
    """An API client of the engine that DOCKER_HOST names, by default the local one. timeout is in seconds."""
    if docker is None:
        raise ImageError("Python's docker library is missing on the target: install python3-docker (or pip's docker)")
    try:
        client = docker.from_env(timeout=timeout).api
        client.ping()
    except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
        raise ImageError(f"Can't reach the Docker Engine: {error}. Is it running?") from error
    return client


def find(client: Any, name: str) -> Optional[dict[str, Any]]:
    """The image as `docker inspect` shows it, None if there is none of that name or ID."""
    try:
        return dict(client.inspect_image(name))
    except docker.errors.ImageNotFound:
        return None


def label(image: Optional[Mapping[str, Any]], key: str) -> Optional[str]:
    """One label of an inspected image."""
    config = image.get("Config") if image else None
    return ((config or {}).get("Labels") or {}).get(key)


def remove_replaced(client: Any, name: str) -> list[str]:
    """Remove the nameless images that `name` used to be and that nothing uses; the IDs of those removed."""
    current = label(find(client, name), FINGERPRINT_LABEL)
    removed = []
    filters = {"dangling": True, "label": f"{NAME_LABEL}={name}"}
    for candidate in client.images(filters=filters):
        # A build stage on top of `name` has inherited its labels. It is the cache of other builds until `name` changes.
        if candidate["Labels"].get(FINGERPRINT_LABEL) == current and not _is_final(client, candidate["Id"]):
            continue
        try:
            client.remove_image(candidate["Id"])
        except docker.errors.APIError as error:
            if error.status_code not in (404, 409):
                raise
        else:
            removed.append(candidate["Id"])
    return removed


def remove(client: Any, name: str) -> None:
    """Remove an image by name; an error if a container uses it."""
    try:
        client.remove_image(name)
    except docker.errors.APIError as error:
        raise ImageError(f"Can't remove the image {name}: {error.explanation or error}") from error


def build(client: Any, context: IO[bytes], options: Mapping[str, Any], progress: Progress) -> str:
    """Build an image with the classic builder and return its ID."""
    log = BuildLog(str(options["tag"]), progress)
    try:
        lines = client.build(
            fileobj=context, custom_context=True, encoding=None, rm=True, forcerm=True, decode=True, **options
        )
        image_id = log.follow(lines)
    except docker.errors.APIError as error:
        raise log.failure(str(error.explanation or error)) from error
    except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError) as error:
        raise log.failure(f"the engine said nothing more ({error}); a longer timeout may help") from error
    if not image_id:
        raise log.failure("the engine named no image at the end")
    log.discard()
    return image_id


def pull(source: str, name: str, timeout: int, progress: Progress) -> Optional[str]:
    """Pull an image and give it another name with its origin on it; the reason if that can't be done.

    timeout is the number of seconds that the engine has to reach the registry.
    """
    client = connect(timeout)
    progress.message(f"looking for {source}")
    try:
        # The library gives pulling no time limit, so the registry is asked about the image first.
        client.inspect_distribution(source)
        was_there = find(client, source) is not None
        for item in client.pull(source, stream=True, decode=True):
            if "error" in item:
                return " ".join(str(item["error"]).split())
            progress.message(f"pulling {source}: {item.get('status', '')} {item.get('progress', '')}")
    except docker.errors.APIError as error:
        return " ".join(str(error.explanation or error).split())
    except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError):
        return f"the registry did not answer within {timeout} s"
    dockerfile = io.BytesIO(f"FROM {source}\n".encode())
    labels = {NAME_LABEL: name, ORIGIN_LABEL: source}
    for item in client.build(fileobj=dockerfile, tag=name, labels=labels, rm=True, forcerm=True, decode=True):
        if "error" in item:
            raise ImageError(f"Can't label the pulled image {source}: {item['error']}")
    if not was_there:
        # Its name alone: what was pulled is part of the labelled image, and goes with it.
        client.remove_image(source)
    return None


def import_tar(client: Any, chunks: Iterable[bytes], name: str, origin: str) -> None:
    """Make an image of a root file system that comes as the chunks of a tar file."""
    repository, _separator, tag = name.rpartition(":")
    labels = {NAME_LABEL: name, ORIGIN_LABEL: origin}
    changes = [f'LABEL {key}="{value}"' for key, value in labels.items()] + ['CMD ["bash"]']
    try:
        answer = client.import_image_from_data(chunks, repository=repository, tag=tag, changes=changes)
    except (docker.errors.APIError, requests.exceptions.RequestException) as error:
        raise ImageError(f"Can't import the image {name}: {error}") from error
    if '"error"' in str(answer):
        raise ImageError(f"Can't import the image {name}: {answer}")


def proxy_build_args(environment: Mapping[str, str]) -> dict[str, str]:
    """The proxy variables of an environment, in both spellings, as build args."""
    found = {}
    for variable in PROXY_VARIABLES:
        value = environment.get(variable) or environment.get(variable.upper())
        if value:
            found[variable] = found[variable.upper()] = value
    return found


class BuildLog:
    """Reads the engine's build log: keeps all of it in a file, the end of it in memory, and shows where it is."""

    def __init__(self, name: str, progress: Progress) -> None:
        self._name = name
        self._progress = progress
        self._tail: deque[str] = deque(maxlen=LOG_TAIL_LINES)
        self._step = ""
        self._line = ""
        prefix = "image-build-" + re.sub(r"[^A-Za-z0-9.]+", "-", name) + "-"
        descriptor, self._path = tempfile.mkstemp(prefix=prefix, suffix=".log")
        self._file = os.fdopen(descriptor, "w", encoding="utf-8")

    def follow(self, items: Iterable[Mapping[str, Any]]) -> str:
        """The ID of the image that the log ends with, "" if none."""
        image_id = ""
        for item in items:
            if "error" in item:
                self._add(str(item["error"]) + "\n")
                raise self.failure(str(item["error"]))
            if "stream" in item:
                self._add(str(item["stream"]))
            image_id = (item.get("aux") or {}).get("ID", image_id)
        return image_id

    def failure(self, reason: str) -> ImageError:
        """The error to raise; the log's file stays."""
        self._file.close()
        step = f" in step {self._step}" if self._step else ""
        reason = " ".join(reason.split())
        message = f"Building the image {self._name} failed{step}: {reason} (whole log: {self._path})"
        return ImageError(message, log=list(self._tail), log_file=self._path)

    def discard(self) -> None:
        """The build is done: nobody needs its log, which whoever tidies /tmp may have removed already."""
        self._file.close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)

    def _add(self, text: str) -> None:
        self._file.write(text)
        *lines, self._line = (self._line + text).split("\n")
        for line in lines:
            # A terminal would show what stands after the last carriage return.
            line = _TERMINAL_CODES.sub("", line.rstrip("\r").rpartition("\r")[2]).strip()
            if line:
                self._tail.append(line)
                self._show(line)

    def _show(self, line: str) -> None:
        step = _STEP.match(line)
        if step:
            self._step = f"{step[1]} ({step[2][:80]})"
            self._progress.message(f"step {step[1]}: {step[2][:100]}")
        elif not line.startswith("--->"):
            self._progress.message(f"step {self._step.partition(' ')[0]}: {line[:100]}")


def _is_final(client: Any, image_id: str) -> bool:
    """Whether the image is one that build() made, not a build stage on top of one: its labels are its newest layer."""
    return "LABEL llm.orchestrator." in client.history(image_id)[0]["CreatedBy"]
