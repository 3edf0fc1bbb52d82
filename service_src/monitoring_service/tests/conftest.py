"""A small platform whose metrics move, a real Prometheus that scrapes it, and the service on top.

Prometheus is Debian's package; it runs the very rules that the role deploys.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
    generate_latest,
)

HERE = Path(__file__).parent
SOURCES = HERE.parent.parent
RULES = SOURCES.parent / "roles" / "monitoring_service" / "files" / "rules"
JOBS = ("model-service", "cache-service", "traefik", "redis-exporter", "node-exporter")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def wait_until(what: str, condition: Callable[[], object], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if condition():
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.2)
    pytest.fail(f"{what}: not within {seconds:g} s")


def tool(name: str, package: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.fail(f"{name} is not installed: apt-get install --no-install-recommends {package}")
    return path


class Platform:
    """Serves ``/<job>/metrics`` and ``/<job>/health/ready``; what they answer can be set."""

    def __init__(self) -> None:
        self.readiness: dict[str, dict[str, object]] = {}
        self._registries = {job: CollectorRegistry() for job in JOBS}
        self._model(self._registries["model-service"])
        self._traefik(self._registries["traefik"])
        self._redis(self._registries["redis-exporter"])
        self._host(self._registries["node-exporter"])
        for job in ("model-service", "cache-service"):
            Info("llm_service", "-", registry=self._registries[job]).info({"version": "1.2.3"})
            ProcessCollector(registry=self._registries[job])
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.port = self.server.server_address[1]

    def _model(self, registry: CollectorRegistry) -> None:
        self.tokens = Counter("llm_generation_tokens", "-", registry=registry)
        self.prompt = Counter("llm_prompt_tokens", "-", registry=registry)
        self.ttft = Histogram("llm_time_to_first_token_seconds", "-", registry=registry)
        self.latency = Histogram("llm_inter_token_latency_seconds", "-", registry=registry)
        self.cache = Counter("llm_response_cache", "-", ["result"], registry=registry)
        self.running = Gauge("llm_requests_running", "-", registry=registry)
        Gauge("llm_requests_waiting", "-", registry=registry).set(3)
        Gauge("llm_slots", "-", registry=registry).set(8)
        Gauge("llm_kv_cache_usage_ratio", "-", registry=registry).set(0.25)

    def _traefik(self, registry: CollectorRegistry) -> None:
        self.requests = Counter("traefik_entrypoint_requests", "-", ["entrypoint", "code"], registry=registry)
        self.by_service = Counter("traefik_service_requests", "-", ["service", "code"], registry=registry)

    def _redis(self, registry: CollectorRegistry) -> None:
        self.redis_up = Gauge("redis_up", "-", registry=registry)
        self.redis_up.set(1)
        Gauge("redis_uptime_in_seconds", "-", registry=registry).set(90)
        Gauge("redis_instance_info", "-", ["redis_version"], registry=registry).labels("7.0.15").set(1)

    def _host(self, registry: CollectorRegistry) -> None:
        self.cpu = Counter("node_cpu_seconds", "-", ["cpu", "mode"], registry=registry)
        Gauge("node_memory_MemTotal_bytes", "-", registry=registry).set(16 * 2**30)
        Gauge("node_memory_MemAvailable_bytes", "-", registry=registry).set(12 * 2**30)
        size = Gauge("node_filesystem_size_bytes", "-", ["mountpoint"], registry=registry)
        available = Gauge("node_filesystem_avail_bytes", "-", ["mountpoint"], registry=registry)
        for mountpoint, free in (("/", 80), ("/var", 40)):
            size.labels(mountpoint).set(100)
            available.labels(mountpoint).set(free)

    def move(self) -> None:
        """What happens in a quarter of a second."""
        self.tokens.inc(25)
        self.prompt.inc(10)
        self.ttft.observe(0.2)
        self.latency.observe(0.01)
        self.running.set(2 + int(time.time()) % 5)
        self.cache.labels("hit").inc(3)
        self.cache.labels("miss").inc(1)
        self.cache.labels("bypass").inc(5)
        self.requests.labels("web", "200").inc(4)
        self.requests.labels("web", "503").inc(1)
        self.requests.labels("metrics", "200").inc(50)
        self.by_service.labels("monitoring-service@docker", "200").inc(1)
        self.by_service.labels("model-service@docker", "200").inc(3)
        for cpu in ("0", "1"):
            self.cpu.labels(cpu, "idle").inc(0.15)
            self.cpu.labels(cpu, "user").inc(0.1)

    def _handler(platform) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                job, _, path = self.path.strip("/").partition("/")
                status, body = 200, b"{}"
                if path == "metrics":
                    body = generate_latest(platform._registries[job])
                elif path == "v1/models":
                    body = b'{"object": "list", "data": [{"id": "smollm2-135m-instruct", "object": "model"}]}'
                elif job in platform.readiness:
                    status, body = 503, json.dumps(platform.readiness[job]).encode()
                self.send_response(status)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        return Handler


@pytest.fixture(scope="session")
def platform() -> Iterator[Platform]:
    platform = Platform()
    stop = threading.Event()

    def run() -> None:
        while not stop.wait(0.25):
            platform.move()

    threads = [threading.Thread(target=run), threading.Thread(target=platform.server.serve_forever)]
    for thread in threads:
        thread.start()
    yield platform
    stop.set()
    platform.server.shutdown()
    for thread in threads:
        thread.join()


@contextmanager
def process(command: list[str], log: Path, env: dict[str, str] | None = None) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as output:
        running = subprocess.Popen(command, stdout=output, stderr=output, env=env)
        try:
            yield running
        finally:
            running.terminate()
            running.wait(timeout=20)


@pytest.fixture(scope="session")
def prometheus_url(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    directory = tmp_path_factory.mktemp("prometheus")
    url = f"http://127.0.0.1:{free_port()}"
    jobs = [
        {
            "job_name": job,
            "metrics_path": f"/{job}/metrics",
            "static_configs": [{"targets": [f"127.0.0.1:{platform.port}"]}],
        }
        for job in JOBS
    ]
    jobs.append({"job_name": "prometheus", "static_configs": [{"targets": [url.removeprefix("http://")]}]})
    config = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(RULES / "*.yml")],
        "scrape_configs": jobs,
    }
    (directory / "prometheus.yml").write_text(json.dumps(config))
    command = [
        tool("prometheus", "prometheus"),
        f"--config.file={directory}/prometheus.yml",
        f"--storage.tsdb.path={directory}/data",
        f"--web.listen-address={url.removeprefix('http://')}",
    ]
    with process(command, directory / "log"):
        # Rates are over 30 s. Until that much is seen, a job scraped a second later has a lower one.
        ask = {"query": "llm:gateway_errors:ratio2m offset 32s"}

        def has_recorded() -> object:
            # Until Prometheus is ready its answer is 503 in plain text.
            return httpx.get(f"{url}/api/v1/query", params=ask).raise_for_status().json()["data"]["result"]

        wait_until(f"Prometheus has recorded for 32 s (its log: {directory}/log)", has_recorded, seconds=90)
        yield url


Start = Callable[..., str]


@pytest.fixture(scope="session")
def start_service(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Starts the service as its image does; returns its address. Keywords become settings."""
    stack = []

    def start(**settings: str) -> str:
        def asked(name: str) -> dict[str, object]:
            return {
                "name": name,
                "host": "127.0.0.1",
                "port": platform.port,
                "health_path": f"/{name}/health/ready",
            }

        targets = [
            asked("model-service"),
            asked("cache-service"),
            {**asked("storage-service"), "host": "storage-service.invalid"},
            {**asked("traefik"), "kind": "traefik"},
            {"name": "redis", "kind": "redis", "job": "redis-exporter"},
        ]
        port = free_port()
        directory = tmp_path_factory.mktemp("service")
        env = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": f"{SOURCES}/service_kit:{SOURCES}/monitoring_service",
            "MONITORING_HOST": "127.0.0.1",
            "MONITORING_PORT": str(port),
            "MONITORING_TARGETS": json.dumps(targets),
            "MONITORING_MODEL_URL": f"http://127.0.0.1:{platform.port}/model-service",
            "MONITORING_REFRESH_SECONDS": "0",
            "MONITORING_DRAIN_GRACE_SECONDS": "0",
            **{f"MONITORING_{name.upper()}": value for name, value in settings.items()},
        }
        running = process([sys.executable, "-m", "monitoring_service"], directory / "log", env)
        stack.append(running)
        running.__enter__()
        url = f"http://127.0.0.1:{port}"
        wait_until(
            f"monitoring-service is ready (its log: {directory}/log)",
            lambda: httpx.get(f"{url}/health/ready").status_code == 200,
        )
        return url

    yield start
    for running in stack:
        running.__exit__(None, None, None)


@pytest.fixture(scope="session")
def service(start_service: Start, prometheus_url: str) -> str:
    """The address of the service with a working Prometheus."""
    return start_service(prometheus_url=prometheus_url)


@pytest.fixture(scope="session")
def service_alone(start_service: Start) -> str:
    """The address of the service where Prometheus is down."""
    return start_service(prometheus_url=f"http://127.0.0.1:{free_port()}")
