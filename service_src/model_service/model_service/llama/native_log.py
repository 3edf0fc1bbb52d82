"""llama.cpp's own log, sent through Python's logging."""

from __future__ import annotations

import logging
from typing import Any

from model_service.llama.bindings import llama

log = logging.getLogger("llama.cpp")

# ggml_log_level; what llama.cpp calls "info" is a page for each load, so it is "debug" here.
_LEVELS = {1: logging.DEBUG, 2: logging.DEBUG, 3: logging.WARNING, 4: logging.ERROR}
_CONTINUED = 5


class NativeLog:
    """Takes llama.cpp's log while it lives, and keeps an error for a message of our own."""

    def __init__(self) -> None:
        self.first_error = ""  # since somebody last emptied it: the cause, what follows is who noticed
        self._level = logging.DEBUG
        self._callback = llama.llama_log_callback(self._write)  # the C side holds no reference
        llama.llama_log_set(self._callback, None)

    def _write(self, level: int, text: bytes, _user_data: Any) -> None:
        if level != _CONTINUED:
            self._level = _LEVELS.get(level, logging.DEBUG)
        line = text.decode(errors="replace").strip()
        if self._level == logging.ERROR and line and not self.first_error:
            self.first_error = line
        if line:
            log.log(self._level, line)
