"""``python -m model_service.ready_check``: exits 0 once each of this container's models has generated a few tokens.

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
    failures = (_failure(settings, model.name) for model in settings.served_models)
    failure = next((failure for failure in failures if failure), None)
    if failure:
        print(failure)
    return 1 if failure else 0


def _failure(settings: ModelSettings, model: str) -> str | None:
    """What keeps the model from answering, None if nothing does."""
    keys = settings.api_key_list
    body = {
        "model": model,
        "messages": [{"role": "user", "content": "Hello"}],
        "max_tokens": TOKENS,
        # An answer by chance is computed each time: none from the cache would show that the model works.
        "temperature": 1.0,
    }
    try:
        answer = httpx.post(
            f"http://127.0.0.1:{settings.port}/v1/chat/completions",
            json=body,
            headers={"Authorization": f"Bearer {keys[0]}"} if keys else {},
            timeout=TIMEOUT_SECONDS,
            trust_env=False,
        )
        tokens = int(answer.json()["usage"]["completion_tokens"]) if answer.status_code == 200 else 0
    except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
        return f"{model}: no answer: {error}"
    if tokens < 1:
        return f"{model}: no token was generated: {answer.status_code} {answer.text[:500]}"
    return None


if __name__ == "__main__":
    sys.exit(main())
