#!/usr/bin/env python3
# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""model_download beside `curl -o`, and model_info of a large file.

    benchmarks/model_download.py [--gib 2] [--runs 7] [DIRECTORY...]

Downloads the same model from the same server on loopback by each in turn, into each DIRECTORY (by default one on disk
and one on tmpfs), and prints the median and spread of how long curl takes in relation to it: 1.0 is as fast as curl,
0.5 takes twice as long. `curl, sync` writes what curl fetched to the disk and `curl, sha256sum, sync` verifies it too,
which is what model_download does, over 1 or 4 connections. The server reads the file from memory, on the same machine.
At last from a server that limits each connection.
"""

from __future__ import annotations

import argparse
import hashlib
import http.server
import json
import multiprocessing
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from ansible_collections.llm.orchestrator.tests.unit.plugins.module_utils.gguf_files import model

MODULES = "ansible_collections.llm.orchestrator.plugins.modules"
LARGE_BYTES = 40 * 10**9
WIDTH = 4096


def write_model(path: Path, nbytes: int, *, sparse: bool = False) -> None:
    """A model of one matrix of about `nbytes`, its bytes without a pattern or not there at all."""
    rows = nbytes // (4 * WIDTH)
    whole = model({"a.weight": ((WIDTH, 1), "F32")})
    head = model({"a.weight": ((WIDTH, rows), "F32")}, fill=b"")
    assert len(head) == len(whole) - 4 * WIDTH
    with open(path, "wb") as file:
        file.write(head)
        if not sparse:
            block = os.urandom(1 << 20)
            for _ in range(rows * 4 * WIDTH >> 20):
                file.write(block)
        file.truncate(len(head) + rows * 4 * WIDTH)


class Server(http.server.BaseHTTPRequestHandler):
    """Serves one file and its ranges; no connection gets more than `rate` bytes a second, if it isn't 0."""

    path_served: Path
    rate: int
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        with open(self.path_served, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            asked = self.headers.get("Range")
            first, _, last = (asked or "bytes=0-")[6:].partition("-")
            start, end = int(first), min(int(last) + 1, size) if last else size
            self.send_response(206 if asked else 200)
            self.send_header("Content-Length", str(end - start))
            self.send_header("ETag", '"one"')
            if asked:
                self.send_header("Content-Range", f"bytes {start}-{end - 1}/{size}")
            self.end_headers()
            self.wfile.flush()
            step = 1 << 18 if self.rate else end - start
            due = time.monotonic()
            for at in range(start, end, step):
                self.connection.sendfile(file, at, min(step, end - at))
                if self.rate:
                    due = max(due, time.monotonic() - 0.1) + step / self.rate
                    time.sleep(max(0.0, due - time.monotonic()))

    def log_message(self, *_: object) -> None:
        """Its answers are what is timed."""


def serve(path: Path, port: int, rate: int) -> None:
    Server.path_served, Server.rate = path, rate
    http.server.ThreadingHTTPServer(("127.0.0.1", port), Server).serve_forever()


def run_module(module: str, **arguments: object) -> dict[str, object]:
    answer = subprocess.run(
        [sys.executable, "-m", f"{MODULES}.{module}"],
        input=json.dumps({"ANSIBLE_MODULE_ARGS": arguments}),
        capture_output=True,
        text=True,
        check=False,
    )
    result: dict[str, object] = json.loads(answer.stdout)
    assert answer.returncode == 0, result
    return result


def shell(command: str) -> Callable[[Path], None]:
    """Runs it in the directory that it is given."""
    words = ["sh", "-c", command]
    return lambda place: subprocess.run(words, check=True, cwd=place, stdout=subprocess.DEVNULL) and None


def ways(url: str, sha256: str, connections: tuple[int, ...]) -> dict[str, Callable[[Path], None]]:
    curl = f"curl --silent --fail --noproxy '*' -o model.gguf {url}"
    arguments = {"name": "bench", "source": url, "sha256": [sha256]}

    def module(count: int) -> Callable[[Path], None]:
        def run(place: Path) -> None:
            run_module("model_download", models_dir=str(place), connections=count, **arguments)

        return run

    return {
        "curl -o": shell(curl),
        "curl, sync": shell(f"{curl} && sync model.gguf"),
        "curl, sha256sum, sync": shell(f"{curl} && sha256sum model.gguf && sync model.gguf"),
        **{f"model_download over {count}": module(count) for count in connections},
    }


def timed(way: Callable[[Path], None], parent: Path) -> float:
    with tempfile.TemporaryDirectory(dir=parent) as place:
        # What the run before left to write is not this one's.
        os.sync()
        started = time.monotonic()
        way(Path(place))
        return time.monotonic() - started


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def download(directories: list[Path], gib: float, runs: int, rate: int = 0) -> None:
    memory = Path(tempfile.mkdtemp(dir="/dev/shm"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    write_model(memory / "model.gguf", int(gib * 2**30))
    server = multiprocessing.Process(target=serve, args=(memory / "model.gguf", port, rate), daemon=True)
    server.start()
    try:
        with open(memory / "model.gguf", "rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        every = ways(f"http://127.0.0.1:{port}/model.gguf", sha256, (1, 4))
        limit = f" from a server that gives each connection {rate / 1e6:.0f} MB/s" if rate else ""
        for directory in directories:
            # The first round is for caches alone.
            rounds = [{name: timed(way, directory) for name, way in every.items()} for _ in range(runs + 1)][1:]
            print(f"\n{gib:g} GiB into {directory}{limit}, {runs} runs; curl's time / its time, MB/s")
            for name in every:
                ratios = [one["curl -o"] / one[name] for one in rounds]
                seconds = statistics.median(one[name] for one in rounds)
                print(f"  {name:24} {spread(ratios):24} {gib * 2**30 / 1e6 / seconds:6.0f}")
    finally:
        server.terminate()
        server.join()
        shutil.rmtree(memory)


def info(runs: int) -> None:
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "large.gguf"
        write_model(path, LARGE_BYTES, sparse=True)
        program = (
            "import sys, time; from pathlib import Path\n"
            "from ansible_collections.llm.orchestrator.plugins.module_utils._gguf_split import read_model\n"
            "started = time.perf_counter(); read_model(Path(sys.argv[1])); print(time.perf_counter() - started)"
        )
        reader, module, bare = [], [], []
        for _ in range(runs):
            reader.append(float(subprocess.check_output([sys.executable, "-c", program, str(path)])))
            started = time.monotonic()
            run_module("model_info", path=str(path))
            module.append(time.monotonic() - started)
            started = time.monotonic()
            subprocess.run([sys.executable, "-c", "import ansible.module_utils.basic"], check=True)
            bare.append(time.monotonic() - started)
        print(f"\nmodel_info of {path.stat().st_size / 1e9:.0f} GB, {runs} runs; ms")
        for name, seconds in (("reading it", reader), ("the module", module), ("an empty module", bare)):
            print(f"  {name:24} {spread([1000 * one for one in seconds])}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gib", type=float, default=2)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("directories", nargs="*", type=Path, default=[Path(tempfile.gettempdir()), Path("/dev/shm")])
    chosen = parser.parse_args()
    info(chosen.runs)
    download(chosen.directories, chosen.gib, chosen.runs)
    download(chosen.directories[:1], chosen.gib / 8, chosen.runs, rate=50_000_000)
