"""A text completion in both of its forms, one body or a stream of chunks, from the same events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from model_service import sse
from model_service.answers import LEAST_LOGPROB, Answer, Header, choices_of, timings_of, usage_of
from model_service.engine import Delta, Finished, Started
from model_service.merge import Batch


def text_completion(answer: Answer, echoed: Sequence[str], has_logprobs: bool) -> dict[str, Any]:
    """The body of a whole answer; ``echoed`` has for each prompt what its choices begin with."""
    choices = choices_of(answer.events)
    ends = [choice.end for choice in choices]
    return {
        **_head(answer.header),
        "choices": [
            _choice(
                index,
                echoed[index // answer.n] + choice.text,
                _Logprobs().of(choice.deltas) if has_logprobs else None,
                choice.end.reason,
            )
            for index, choice in enumerate(choices)
        ],
        "usage": usage_of(ends, answer.n).model_dump(),
        "timings": timings_of(ends, answer.n).model_dump(),
    }


class CompletionStream:
    """The chunks of an answer, as its events come."""

    def __init__(
        self, header: Header, n: int, echoed: Sequence[str], *, has_logprobs: bool, include_usage: bool
    ) -> None:
        self._n = n
        self._echoed = echoed
        self._head = _head(header)
        self._include_usage = include_usage
        choices = len(echoed) * n
        self._texts = [sse.TextEvent(self._chunk(_choice(index, sse.TextEvent.TEXT))) for index in range(choices)]
        self._logprobs = [_Logprobs() for _ in range(choices)] if has_logprobs else None

    def encode(self, batch: Batch) -> bytes:
        """The chunks of these events."""
        chunks: list[str] = []
        for index, event in batch:
            if isinstance(event, Delta):
                if self._logprobs is not None:
                    logprobs = self._logprobs[index].of([event])
                    chunks.append(sse.event(self._chunk(_choice(index, event.text, logprobs))))
                elif event.text:
                    chunks.append(self._texts[index].encode(event.text))
            elif isinstance(event, Started):
                # Something has to be sent even for no echo: it says that the request has a slot.
                chunks.append(self._texts[index].encode(self._echoed[index // self._n]))
            else:
                chunks.append(sse.event(self._chunk(_choice(index, "", None, event.reason))))
        return "".join(chunks).encode()

    def end(self, ends: list[Finished]) -> bytes:
        """What follows the chunks of all choices."""
        if not self._include_usage:
            return sse.DONE
        usage, timings = usage_of(ends, self._n).model_dump(), timings_of(ends, self._n).model_dump()
        return sse.event({**self._head, "choices": [], "usage": usage, "timings": timings}).encode() + sse.DONE

    def error(self, body: Mapping[str, Any]) -> bytes:
        """The last event, where an error ends the stream."""
        return sse.event(body).encode()

    def _chunk(self, choice: dict[str, Any]) -> dict[str, Any]:
        chunk = {**self._head, "choices": [choice]}
        return chunk | {"usage": None} if self._include_usage else chunk


class _Logprobs:
    """The logprobs of a choice's tokens; counts where each begins in its text."""

    def __init__(self) -> None:
        self._offset = 0

    def of(self, deltas: Sequence[Delta]) -> dict[str, Any]:
        tokens, logprobs, tops, offsets = [], [], [], []
        for delta in deltas:
            offsets_here = self._offset
            self._offset += len(delta.text)
            if delta.logprobs is None:
                continue
            chosen = delta.logprobs.chosen
            tokens.append(_text(chosen.piece))
            logprobs.append(max(LEAST_LOGPROB, chosen.logprob))
            tops.append({_text(each.piece): max(LEAST_LOGPROB, each.logprob) for each in reversed(delta.logprobs.top)})
            offsets.append(offsets_here)
        return {"tokens": tokens, "token_logprobs": logprobs, "top_logprobs": tops, "text_offset": offsets}


def _text(piece: bytes) -> str:
    """A token's text; of half a character its bytes, as OpenAI writes them."""
    try:
        return piece.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in piece)


def _choice(
    index: int, text: str, logprobs: dict[str, Any] | None = None, finish_reason: str | None = None
) -> dict[str, Any]:
    return {"index": index, "text": text, "logprobs": logprobs, "finish_reason": finish_reason}


def _head(header: Header) -> dict[str, Any]:
    return {"id": header.id, "object": "text_completion", "created": header.created, "model": header.model}
