"""The Redis that the role deploys, asked itself."""

from __future__ import annotations


def ask(host, command: str, user: str = "", password: str = "") -> str:
    login = f"--user {user} --no-auth-warning --pass {password}" if user else ""
    return host.run(f"docker exec redis redis-cli {login} {command}").stdout


def test_nobody_is_answered_without_a_password(host) -> None:
    assert ask(host, "ping").startswith("NOAUTH")
    assert "WRONGPASS" in host.run("docker exec redis redis-cli --user cache --pass guessed ping").stderr


def test_each_user_may_do_its_own_alone(host) -> None:
    cache = host.file("/etc/llm-orchestrator/redis/password").content_string.strip()
    monitor = host.file("/etc/llm-orchestrator/redis/monitor_password").content_string.strip()
    assert ask(host, "ping", "cache", cache).strip() == "PONG"
    for command in ("config get maxmemory", "flushall", "get other:key"):
        assert ask(host, command, "cache", cache).startswith("NOPERM")
    assert ask(host, "get llm-cache:key", "monitor", monitor).startswith("NOPERM")


def test_its_memory_is_limited_and_what_goes_first_is_set(host) -> None:
    monitor = host.file("/etc/llm-orchestrator/redis/monitor_password").content_string.strip()
    memory = dict(
        line.split(":", 1) for line in ask(host, "info memory", "monitor", monitor).splitlines() if ":" in line
    )
    assert memory["maxmemory"] == str(256 << 20)
    assert memory["maxmemory_policy"] == "allkeys-lru"
