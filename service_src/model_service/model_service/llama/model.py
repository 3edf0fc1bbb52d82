"""A model file loaded through llama.cpp: its vocabulary, its facts, its weights."""

from __future__ import annotations

import ctypes
import hashlib
import re
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
from numpy.typing import NDArray

from model_service.engine import InvalidRequestError, PromptTooLongError
from model_service.llama.backends import load_backends
from model_service.llama.bindings import llama
from model_service.llama.native_log import NativeLog

FTYPE_Q8_0 = 7
# The log that says why a model can't be loaded doesn't say which one.
_loading = threading.Lock()
_PLAIN_POSITIONS = (llama.LLAMA_ROPE_TYPE_NONE, llama.LLAMA_ROPE_TYPE_NORM, llama.LLAMA_ROPE_TYPE_NEOX)
_SHA256 = re.compile(r"[0-9a-f]{64}")


class ModelError(Exception):
    """A model file that can't be used, in one line."""


@dataclass(frozen=True, slots=True)
class Adapter:
    """A LoRA adapter: the name that requests give, its GGUF file, and how much of it is added."""

    name: str
    path: Path
    scale: float = 1.0


class Model:
    """A loaded model. Reading its vocabulary is thread-safe, save ``piece``.

    ``adapters`` has llama.cpp's handle and the scale of each LoRA adapter, by name. ``gpu_layers`` are computed by a
    GPU, -1 for all.
    """

    def __init__(
        self,
        path: Path,
        native_log: NativeLog,
        *,
        adapters: Sequence[Adapter] = (),
        gpu_layers: int = 0,
    ) -> None:
        self._native_log = native_log  # which llama.cpp calls as long as there is a model
        load_backends()
        llama.llama_backend_init()
        params = llama.llama_model_default_params()
        params.n_gpu_layers = gpu_layers
        with _loading:
            native_log.first_error = ""
            self.handle = llama.llama_model_load_from_file(str(path).encode(), params)
            if not self.handle:
                raise ModelError(f"cannot load {path}: {native_log.first_error or 'llama.cpp gave no reason'}")
        self.vocab = llama.llama_model_get_vocab(self.handle)
        self.vocab_size: int = llama.llama_vocab_n_tokens(self.vocab)
        self.bos_text = self._text_of(llama.llama_vocab_bos(self.vocab))
        self.eos_text = self._text_of(llama.llama_vocab_eos(self.vocab))
        self._pieces: dict[int, bytes] = {}
        self._longest_piece = self._measure_longest_piece()
        self.end_tokens = frozenset(
            token for token in range(self.vocab_size) if llama.llama_vocab_is_eog(self.vocab, token)
        )
        self.adapters = {adapter.name: (self._load_adapter(adapter, native_log), adapter.scale) for adapter in adapters}

    @property
    def trained_context(self) -> int:
        """The longest sequence the model was trained for, in tokens."""
        length: int = llama.llama_model_n_ctx_train(self.handle)
        return length

    @property
    def chat_template(self) -> str | None:
        template: bytes | None = llama.llama_model_chat_template(self.handle, None)
        return template.decode(errors="replace") if template else None

    def metadata(self, key: str) -> str | None:
        """A scalar of the file's header as text, None where it has no such key."""
        buffer = ctypes.create_string_buffer(256)
        length = llama.llama_model_meta_val_str(self.handle, key.encode(), buffer, len(buffer))
        return None if length < 0 else buffer.value.decode(errors="replace")

    @property
    def shares_prefixes(self) -> bool:
        """Whether a part of a sequence's state can be taken over; a recurrent model has one state for all of it."""
        return not (llama.llama_model_is_recurrent(self.handle) or llama.llama_model_is_hybrid(self.handle))

    @property
    def splits_cache(self) -> bool:
        """Whether a sequence's state is of the form that ``kv_state`` knows, and nobody has turns of their own."""
        has_plain_positions = llama.llama_model_rope_type(self.handle) in _PLAIN_POSITIONS
        has_window = llama.llama_model_n_swa(self.handle) > 0
        return self.shares_prefixes and has_plain_positions and not has_window and not self.adapters

    def tokenize(self, text: str, limit: int, *, add_special: bool = True) -> NDArray[numpy.int32]:
        """The tokens of a prompt, special ones recognised; PromptTooLongError for ``limit`` tokens or more.

        llama.cpp's time grows with the square of the number of special tokens, so a text that can't fit
        by its bytes alone is refused before it gets there.
        """
        try:
            raw = text.encode()
        except UnicodeEncodeError as error:
            raise InvalidRequestError("prompt", "The prompt has half of a surrogate pair") from error
        if len(raw) >= limit * self._longest_piece:
            raise PromptTooLongError(
                f"This model's context is {limit} tokens; the prompt has {len(raw)} bytes, more than fit"
            )
        capacity = len(raw) + 2  # at least a byte a token, and the two that the model may add
        tokens = numpy.empty(capacity, dtype=numpy.int32)
        room = tokens.ctypes.data_as(ctypes.POINTER(llama.llama_token))
        add_special = add_special and not (self.bos_text and text.startswith(self.bos_text))
        count: int = llama.llama_tokenize(self.vocab, raw, len(raw), room, capacity, add_special, True)
        if count < 0:
            raise PromptTooLongError(f"The prompt would be {-count} tokens")
        self._check_length(count, limit)
        return tokens[:count].copy()

    def checked_tokens(self, given: Sequence[int], limit: int) -> NDArray[numpy.int32]:
        """A prompt given as tokens; raises as ``tokenize`` does, and InvalidRequestError for unknown tokens."""
        self._check_length(len(given), limit)
        unknown = [token for token in given if not 0 <= token < self.vocab_size]
        if unknown:
            raise InvalidRequestError("prompt", f"There is no token {unknown[0]}; this model has {self.vocab_size}")
        return numpy.array(given, dtype=numpy.int32)

    def _check_length(self, count: int, limit: int) -> None:
        if count >= limit:
            raise PromptTooLongError(
                f"This model's context is {limit} tokens; the prompt alone has {count}. Shorten the messages"
            )

    def piece(self, token: int) -> bytes:
        """A token's bytes, often a part of a character; special tokens have none. One thread only."""
        if token not in self._pieces:
            self._pieces[token] = self._piece(token, special=False)
        return self._pieces[token]

    def detokenize(self, tokens: Sequence[int]) -> str:
        """The text of these tokens, special ones too."""
        return b"".join(self._piece(token, special=True) for token in tokens).decode(errors="replace")

    def _piece(self, token: int, *, special: bool) -> bytes:
        length = -llama.llama_token_to_piece(self.vocab, token, None, 0, 0, special)
        buffer = ctypes.create_string_buffer(max(1, length))
        llama.llama_token_to_piece(self.vocab, token, buffer, length, 0, special)
        return buffer.raw[: max(0, length)]

    def close(self) -> None:
        for handle, _ in self.adapters.values():
            llama.llama_adapter_lora_free(handle)
        llama.llama_model_free(self.handle)

    def _load_adapter(self, adapter: Adapter, native_log: NativeLog) -> Any:
        native_log.first_error = ""
        handle = llama.llama_adapter_lora_init(self.handle, str(adapter.path).encode())
        if not handle:
            reason = native_log.first_error or "llama.cpp gave no reason"
            raise ModelError(f"cannot load the adapter {adapter.name!r} from {adapter.path}: {reason}")
        return handle

    def _measure_longest_piece(self) -> int:
        # With no room given, the answer is the length that would have been needed, negated.
        lengths: Iterator[int] = (
            -llama.llama_token_to_piece(self.vocab, token, None, 0, 0, True) for token in range(self.vocab_size)
        )
        return max(lengths)

    def _text_of(self, token: int) -> str:
        text: bytes | None = llama.llama_vocab_get_text(self.vocab, token) if token >= 0 else None
        return text.decode(errors="replace") if text else ""


def digest_of(path: Path) -> str:
    """What identifies the model's bytes: the sha256 its directory is named by, else the file as the disk knows it."""
    if _SHA256.fullmatch(path.parent.name):
        return path.parent.name
    file = path.stat()
    identity = f"{path.name}:{file.st_size}:{file.st_mtime_ns}:{file.st_dev}:{file.st_ino}"
    return hashlib.sha256(identity.encode()).hexdigest()
