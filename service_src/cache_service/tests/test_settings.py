from __future__ import annotations

import pytest

from cache_service.settings import CacheSettings
from service_kit.settings import load


def test_defaults_need_no_environment() -> None:
    settings = load(CacheSettings, "cache-service")
    assert (settings.port, str(settings.redis_url)) == (5001, "redis://redis:6379/0")


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("CACHE_REDIS_URL", "http://redis:6379", "setting CACHE_REDIS_URL"),
        ("CACHE_REDIS_URL", "redis://:hunter2@redis:6379/0", "secret cache_redis_password"),
        ("CACHE_DEFAULT_TTL", "0", "setting CACHE_DEFAULT_TTL"),
        ("CACHE_MAX_TTL", "60", "CACHE_DEFAULT_TTL (3600) is over CACHE_MAX_TTL (60)"),
        ("CACHE_NAMESPACE", "a*", "setting CACHE_NAMESPACE"),
        ("CACHE_REDIS_TIMEOUT", "0", "setting CACHE_REDIS_TIMEOUT"),
    ],
)
def test_a_wrong_setting_is_one_line_that_names_it(
    name: str, value: str, expected: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as exit_info:
        load(CacheSettings, "cache-service")
    assert exit_info.value.code == 2
    message = capsys.readouterr().err
    assert expected in message
    assert message.count("\n") == 1
    assert "hunter2" not in message
