# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""llama-batched-bench: what the kernels give with no server around them, the ceiling of all."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Sequence

from peers import Built
from scenarios import OUTPUT_TOKENS, Measure
from servers import Sizes

PROMPT_TOKENS = 100


def measure(built: Built, sizes: Sizes, concurrency: Sequence[int]) -> Iterator[Measure]:
    command = (
        *(str(built.programs / "llama-batched-bench"), "-m", str(built.model), "-c", str(sizes.slots * sizes.context)),
        *("-t", str(sizes.threads), "-tb", str(sizes.threads), "--output-format", "jsonl"),
        *("-npp", str(PROMPT_TOKENS), "-ntg", str(OUTPUT_TOKENS), "-npl", ",".join(map(str, concurrency))),
    )
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    for line in done.stdout.splitlines():
        if line.startswith("{"):
            row = json.loads(line)
            scenario = f"unique, C={row['pl']}"
            yield scenario, "tok/s", row["pl"] * row["tg"] / (row["t_pp"] + row["t_tg"])
            yield scenario, "tok/s, decode only", row["speed_tg"]
