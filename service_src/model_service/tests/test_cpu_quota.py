"""The threads follow the cgroup's quota."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from model_service.cpu_quota import default_threads

CPUS = len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("limit", "threads"),
    [("max 100000", CPUS), ("50000 100000", 1), ("190000 100000", 1), ("100000000 100000", CPUS)],
)
def test_version_2_is_rounded_down_and_at_least_one(tmp_path: Path, limit: str, threads: int) -> None:
    (tmp_path / "cpu.max").write_text(f"{limit}\n")
    assert default_threads(tmp_path) == threads


@pytest.mark.parametrize(("quota", "threads"), [("-1", CPUS), ("150000", 1), ("10000", 1)])
def test_version_1_is_read_too(tmp_path: Path, quota: str, threads: int) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text(f"{quota}\n")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert default_threads(tmp_path) == threads


def test_without_a_cgroup_all_cpus_are_used(tmp_path: Path) -> None:
    assert default_threads(tmp_path) == CPUS
