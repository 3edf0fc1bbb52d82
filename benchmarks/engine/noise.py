# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How much of the CPUs something else took meanwhile: a figure from a busy machine says nothing about a server."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


class Noise:
    """From its making on."""

    def __init__(self) -> None:
        self._begin = time.monotonic()
        self._busy = _busy_seconds()
        self._own = _own_seconds()

    def share(self) -> float:
        """The part of all CPUs' time that neither this process nor its descendants used; 1 is all of it."""
        others = (_busy_seconds() - self._busy) - (_own_seconds() - self._own)
        return max(0.0, others / (time.monotonic() - self._begin) / (os.cpu_count() or 1))


def _busy_seconds() -> float:
    with open("/proc/stat") as file:
        user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, file.readline().split()[1:9])
    return (user + nice + system + irq + softirq + steal) / _TICKS


def _own_seconds() -> float:
    """With those that have ended, whom the one that waited for them has taken over."""
    children: defaultdict[int, list[int]] = defaultdict(list)
    seconds: dict[int, float] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:  # it has just ended
                continue
            children[int(fields[1])].append(int(folder.name))
            seconds[int(folder.name)] = sum(map(int, fields[11:15])) / _TICKS
    found, total = [os.getpid()], 0.0
    while found:
        process = found.pop()
        total += seconds.get(process, 0.0)
        found += children[process]
    return total
