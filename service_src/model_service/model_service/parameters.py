"""Request fields that this service doesn't have: refused where they would change the answer."""

from __future__ import annotations

from collections.abc import Mapping

# They say who asks, or where the request is billed, kept or cached, or help to be fast; never what the answer is.
_HARMLESS = frozenset(
    {
        "user",
        "metadata",
        "store",
        "safety_identifier",
        "prompt_cache_key",
        "prompt_cache_retention",
        "cache_prompt",
        "prediction",
        "parallel_tool_calls",
        "max_tool_calls",  # of tools that the server would call itself
    }
)
# Values that ask for nothing but what is done anyway. Which fields are unknown depends on the API.
_NEUTRAL: Mapping[str, tuple[object, ...]] = {
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "response_format": ({"type": "text"},),
    "top_logprobs": (0,),
    "best_of": (1,),
    "functions": ([],),
    "function_call": ("none", "auto"),
    "modalities": (["text"],),
    "verbosity": ("medium",),
    "echo": (False,),
    "background": (False,),
    "truncation": ("disabled",),
    "context_management": ([],),
    "reasoning": ({}, {"effort": None}, {"effort": "none"}, {"effort": None, "summary": None}),
}


def first_unsupported(extra: Mapping[str, object]) -> str | None:
    """The first field, of those the schema doesn't know, that asks for something this service can't do."""
    for name, value in extra.items():
        if value is None or name in _HARMLESS or value in _NEUTRAL.get(name, ()):
            continue
        return name
    return None
