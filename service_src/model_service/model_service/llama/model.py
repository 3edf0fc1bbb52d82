"""A model file loaded through llama.cpp: its vocabulary, its facts, its weights."""

from __future__ import annotations

import ctypes
import hashlib
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from model_service.engine import PromptTooLongError
from model_service.llama.backends import load_backends
from model_service.llama.bindings import llama
from model_service.llama.native_log import NativeLog

FTYPE_Q8_0 = 7
# The log that says why a model can't be loaded doesn't say which one.
_loading = threading.Lock()
_SHA256 = re.compile(r"[0-9a-f]{64}")


class ModelError(Exception):
    """A model file that can't be used, in one line."""


class Model:
    """A loaded model. Reading its vocabulary is thread-safe."""

    # Layers that a GPU computes, -1 for all: of each model of the process, so it is set before the first is loaded.
    gpu_layers = 0

    def __init__(self, path: Path, native_log: NativeLog, *, vocab_only: bool = False) -> None:
        load_backends()
        llama.llama_backend_init()
        params = llama.llama_model_default_params()
        params.vocab_only = vocab_only
        params.n_gpu_layers = self.gpu_layers
        with _loading:
            native_log.first_error = ""
            self.handle = llama.llama_model_load_from_file(str(path).encode(), params)
            if not self.handle:
                raise ModelError(f"cannot load {path}: {native_log.first_error or 'llama.cpp gave no reason'}")
        self.vocab = llama.llama_model_get_vocab(self.handle)
        self.vocab_size: int = llama.llama_vocab_n_tokens(self.vocab)
        self.bos_text = self._text_of(llama.llama_vocab_bos(self.vocab))
        self.eos_text = self._text_of(llama.llama_vocab_eos(self.vocab))
        self._buffer = ctypes.create_string_buffer(256)
        self._longest_piece = 0 if vocab_only else self._measure_longest_piece()

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

    def tokenize(self, text: str, limit: int) -> list[int]:
        """The tokens of a prompt, special ones recognised; PromptTooLongError for ``limit`` tokens or more.

        llama.cpp's time grows with the square of the number of special tokens, so a text that can't fit
        by its bytes alone is refused before it gets there.
        """
        raw = text.encode()
        if len(raw) >= limit * self._longest_piece:
            raise PromptTooLongError(
                f"This model's context is {limit} tokens; the prompt has {len(raw)} bytes, more than fit"
            )
        capacity = len(raw) + 2  # at least a byte a token, and the two that the model may add
        tokens = (llama.llama_token * capacity)()
        add_special = not (self.bos_text and text.startswith(self.bos_text))
        count: int = llama.llama_tokenize(self.vocab, raw, len(raw), tokens, capacity, add_special, True)
        if count < 0:
            raise PromptTooLongError(f"The prompt would be {-count} tokens")
        if count >= limit:
            raise PromptTooLongError(
                f"This model's context is {limit} tokens; the prompt alone has {count}. Shorten the messages"
            )
        return list(tokens[:count])

    def piece(self, token: int) -> bytes:
        """A token's bytes, often a part of a character; special tokens have none. Not thread-safe."""
        length = llama.llama_token_to_piece(self.vocab, token, self._buffer, len(self._buffer), 0, False)
        if length < 0:
            self._buffer = ctypes.create_string_buffer(-length)
            length = llama.llama_token_to_piece(self.vocab, token, self._buffer, -length, 0, False)
        return self._buffer.raw[:length]

    def ends_generation(self, token: int) -> bool:
        ends: bool = llama.llama_vocab_is_eog(self.vocab, token)
        return ends

    def close(self) -> None:
        llama.llama_model_free(self.handle)

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


def check_int8(path: Path, native_log: NativeLog) -> None:
    """Raises ModelError unless the file's header says Q8_0; reads the header and vocabulary only."""
    model = Model(path, native_log, vocab_only=True)
    try:
        file_type: Any = model.metadata("general.file_type")
    finally:
        model.close()
    if file_type != str(FTYPE_Q8_0):
        raise ModelError(
            f"{path} is not INT8: its general.file_type is {file_type or 'missing'}, Q8_0 is {FTYPE_Q8_0}. "
            "Quantize it (model_service.quantize), or set USE_INT8=false"
        )
