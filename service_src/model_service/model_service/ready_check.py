"""``python -m model_service.ready_check``: exits 0 once each of this container's models has generated a few tokens.

With a memory budget it asks only those that are loaded: to ask the others would put these out of memory again.
What the platform asks of a new container before it sends it requests: a service can listen, and say that it is ready,
with a model that can't answer.
"""

from __future__ import annotations

import sys

import httpx

from model_service import SERVICE
from model_service.settings import ModelSettings
from service_kit.settings import load

TOKENS = 4
TIMEOUT_SECONDS = 50.0  # less than what the container's health check waits


def main() -> int:
    settings = load(ModelSettings, SERVICE)
    failures = (_failure(settings, name) for name in _models_to_ask(settings))
    failure = next((failure for failure in failures if failure), None)
    if failure:
        print(failure)
    return 1 if failure else 0


def _models_to_ask(settings: ModelSettings) -> list[str]:
    names = [model.name for model in settings.served_models]
    if settings.memory_budget_mib is None:
        return names
    try:
        cards = _ask(settings, "GET", "/v1/models").json()["data"]
        unloaded = {card["id"] for card in cards if card["status"] == "unloaded"}
    except (httpx.HTTPError, ValueError, KeyError, TypeError):
        return names  # the first of them fails, and says why
    return [name for name in names if name not in unloaded]


def _failure(settings: ModelSettings, model: str) -> str | None:
    """What keeps the model from answering, None if nothing does."""
    body = {
        "model": model,
        "prompt": "Hello",  # a model need not have a chat template
        "max_tokens": TOKENS,
        # An answer by chance is computed each time: none from the cache would show that the model works.
        "temperature": 1.0,
    }
    try:
        answer = _ask(settings, "POST", "/v1/completions", body)
        tokens = int(answer.json()["usage"]["completion_tokens"]) if answer.status_code == 200 else 0
    except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
        return f"{model}: no answer: {error}"
    if tokens < 1:
        return f"{model}: no token was generated: {answer.status_code} {answer.text[:500]}"
    return None


def _ask(settings: ModelSettings, method: str, path: str, body: object = None) -> httpx.Response:
    keys = settings.api_key_list
    return httpx.request(
        method,
        f"http://127.0.0.1:{settings.port}{path}",
        json=body,
        headers={"Authorization": f"Bearer {keys[0]}"} if keys else {},
        timeout=TIMEOUT_SECONDS,
        trust_env=False,
    )


if __name__ == "__main__":
    sys.exit(main())
