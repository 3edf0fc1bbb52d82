#!/usr/bin/env python3
# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether model-service says, token by token, what llama-server says: greedy, one request at a time.

    benchmarks/engine/equality.py [--tokens 64]

Ends with status 1 if an answer differs where the two likeliest tokens don't tie, that is have logits so close that the
last bits of a sum decide.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import urllib.request
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from peers import BuildError, build
from prompts import sentences
from servers import LLAMA_SERVER, OURS, Running, Sizes, StartError, define, started

CHECKOUT = Path(__file__).resolve().parents[2]
# In logits; the difference of two logprobs is that of the logits.
TIE = 1e-2
PROMPTS = (
    "The capital of France is",
    "Once upon a time, there was a",
    "def fibonacci(n):\n    ",
    "Monday, Tuesday, Wednesday,",
    "Water boils at a temperature of",
    "To be, or not to be,",
    '{"name": "Ada", "age":',
    "Die Hauptstadt von Deutschland ist",
    "数字は一、二、三、",
    "1 + 1 = 2\n2 + 2 = 4\n3 + 3 =",
    "Dear Sir or Madam,\n\nI am writing to",
    "<|im_start|>user\nWhat is a tree?<|im_end|>\n<|im_start|>assistant\n",
    "<|im_start|>user\nWrite a poem about the sea.<|im_end|>\n<|im_start|>assistant\n",
    "SELECT name, COUNT(*) FROM",
    "The quick brown fox",
    "🙂 means happy, 🙁 means",
    sentences("equality", 60),
    sentences("equality again", 200),
    sentences("equality once more", 600),
    "Tell a very long story of many chapters that goes on like this: " + sentences("story", 45),
)
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True)
class Token:
    """A generated one; ``lead`` is by how much the likeliest token's logit exceeds the next one's.

    Those that make up a character together are one, as llama-server tells only of the last of them.
    """

    text: str
    lead: float


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=64, help="of each answer")
    parser.add_argument("--threads", type=int, default=2, help="of each server")
    parser.add_argument("--model-service", type=Path, default=CHECKOUT / "service_src")
    parser.add_argument("--cache", type=Path, default=CHECKOUT / ".cache/bench", help="where all is built")
    arguments = parser.parse_args()
    # So that the servers end with this process.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        return _compare(arguments)
    except (BuildError, StartError) as error:
        print(f"equality: {error}", file=sys.stderr)
        return 1


def _compare(arguments: argparse.Namespace) -> int:
    built = build(arguments.cache.resolve(), arguments.model_service.resolve())
    servers = define(built, Sizes(slots=2, context=2048, threads=arguments.threads), {})
    logs = built.cache / "logs"
    logs.mkdir(exist_ok=True)
    equal = ties = 0
    with started(servers[OURS], logs) as ours, started(servers[LLAMA_SERVER], logs) as theirs:
        for number, prompt in enumerate(PROMPTS, start=1):
            tokens = _post(ours, "/tokenize", {"content": prompt})["tokens"]
            both = (_ours(ours, tokens, arguments.tokens), _theirs(theirs, tokens, arguments.tokens))
            at = next((at for at, pair in enumerate(zip_longest(*both)) if not _is_same(*pair)), None)
            if at is None:
                equal += 1
                continue
            one, other = (answer[at] if at < len(answer) else None for answer in both)
            is_tie = one is not None and other is not None and min(one.lead, other.lead) < TIE
            ties += is_tie
            print(
                f"prompt {number} of {len(tokens)} tokens, token {at}: {one} and {other}{', a tie' if is_tie else ''}"
            )
    print(f"{equal} of {len(PROMPTS)} answers of {arguments.tokens} tokens are equal, {ties} differ at a tie")
    return 0 if equal + ties == len(PROMPTS) else 1


def _is_same(one: Token | None, other: Token | None) -> bool:
    return one is not None and other is not None and one.text == other.text


def _ours(server: Running, prompt: list[int], count: int) -> list[Token]:
    asked = {"model": "bench", "prompt": prompt, "max_tokens": count, "temperature": 0, "logprobs": 2}
    logprobs = _post(server, "/v1/completions", {**asked, "ignore_eos": True})["choices"][0]["logprobs"]
    found: list[Token] = []
    piece, lead = b"", float("inf")
    for text, top in zip(logprobs["tokens"], logprobs["top_logprobs"], strict=True):
        piece += _bytes(text)
        lead = min(lead, _lead(list(top.values())))
        try:
            found.append(Token(piece.decode(), lead))
        except UnicodeDecodeError:
            continue
        piece, lead = b"", float("inf")
    return found


def _theirs(server: Running, prompt: list[int], count: int) -> list[Token]:
    asked = {"prompt": prompt, "n_predict": count, "temperature": 0, "n_probs": 2, "cache_prompt": False}
    tokens = _post(server, "/completion", {**asked, "ignore_eos": True})["completion_probabilities"]
    return [Token(token["token"], _lead([top["logprob"] for top in token["top_logprobs"]])) for token in tokens]


def _lead(logprobs: list[float]) -> float:
    first, second = sorted(logprobs, reverse=True)[:2]
    return first - second


def _bytes(text: str) -> bytes:
    """Of a token as model-service writes it: half a character as OpenAI does."""
    if text.startswith("bytes:"):
        return bytes.fromhex(text.removeprefix("bytes:").replace("\\x", ""))
    return text.encode()


def _post(server: Running, path: str, body: dict[str, Any]) -> Any:
    url = f"http://127.0.0.1:{server.port}{path}"
    request = urllib.request.Request(url, json.dumps(body).encode(), headers={"Content-Type": "application/json"})
    with _DIRECT.open(request, timeout=300) as answer:
        return json.load(answer)


if __name__ == "__main__":
    sys.exit(main())
