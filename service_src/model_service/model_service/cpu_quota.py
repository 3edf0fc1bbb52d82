"""How many CPUs this process may really use."""

from __future__ import annotations

import os
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")


def default_threads(cgroup: Path = CGROUP) -> int:
    """The CPUs it may run on, or its cgroup's quota of them rounded down, at least 1.

    More threads than the quota run many times slower: all of them stand still until the next period.
    """
    cpus = len(os.sched_getaffinity(0))
    quota = _quota(cgroup)
    return max(1, cpus if quota is None else min(cpus, int(quota)))


def _quota(cgroup: Path) -> float | None:
    """CPUs of the cgroup v2 or v1 that is mounted at ``cgroup``, None without a limit."""
    limit = _read(cgroup / "cpu.max")
    if limit is not None:
        quota, period = limit.split()
        return None if quota == "max" else int(quota) / int(period)
    quota_v1 = _read(cgroup / "cpu" / "cpu.cfs_quota_us")
    period_v1 = _read(cgroup / "cpu" / "cpu.cfs_period_us")
    if quota_v1 is None or period_v1 is None or int(quota_v1) <= 0:
        return None
    return int(quota_v1) / int(period_v1)


def _read(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except OSError:
        return None
