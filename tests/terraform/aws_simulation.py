# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A simulated AWS, on loopback: moto's server, with its gaps mended, and what points Terraform's provider at it."""

from __future__ import annotations

import copy
import functools
import inspect
import json
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import requests

if TYPE_CHECKING:
    from botocore.client import BaseClient

REGION = "eu-central-1"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}

_IMAGES = Path(__file__).with_name("files") / "images.json"

_PROVIDER_OVERRIDE = """\
provider "aws" {
  max_retries             = 2
  s3_use_path_style       = true
  skip_metadata_api_check = true
}
"""


@contextmanager
def simulated_aws(ip_address: str = "127.0.0.1") -> Iterator[str]:
    """Serves on a free port of that address of this host; yields its own."""
    # The first two are read when moto is imported; the last is how many tasks a service runs as soon as it is made.
    os.environ |= {"MOTO_AMIS_PATH": str(_IMAGES), "MOTO_IAM_LOAD_MANAGED_POLICIES": "true"}
    os.environ["MOTO_ECS_SERVICE_RUNNING"] = "2"
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    _mend_autoscaling_tags()
    _mend_rules_without_ports()
    _mend_rules_descriptions()
    _mend_detailed_monitoring()
    _mend_ecs_services()
    _mend_ecs_tasks()
    _mend_instance_credentials()
    server = ThreadedMotoServer(ip_address=ip_address, port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    address = f"http://{host}:{port}"
    # What it holds lives as long as the process, not the server.
    requests.post(f"{address}/moto-api/reset", timeout=30).raise_for_status()
    # Else a task comes nearer to its end with each look at it.
    steady = {"model_name": "ecs::task", "transition": {"progression": "manual", "times": 1_000_000}}
    requests.post(f"{address}/moto-api/state-manager/set-transition", json=steady, timeout=30).raise_for_status()
    try:
        yield address
    finally:
        server.stop()


def client(service: str, address: str) -> BaseClient:
    """A client of the simulated AWS, to see what is really there."""
    import boto3

    return boto3.client(
        service,
        endpoint_url=address,
        region_name=REGION,
        aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
    )


def point_at(address: str, root: Path) -> dict[str, str]:
    """Has the provider of a copied root use the simulated AWS; returns the environment that goes with it."""
    (root / "simulation_override.tf").write_text(_PROVIDER_OVERRIDE)
    return CREDENTIALS | {"AWS_ENDPOINT_URL": address, "AWS_REGION": REGION}


def place_task(arn: str, address: str, health: str) -> None:
    """Says where a task runs, which the simulation itself doesn't do, and what its health check says."""
    from moto.ecs.models import ecs_backends

    for backends in ecs_backends.values():
        for backend in backends.values():
            for task in (tasks[arn] for tasks in backend.tasks.values() if arn in tasks):
                vars(task)["health_status"] = health
                for container in task.containers:
                    container.network_interfaces = [{"attachmentId": task.id, "privateIpv4Address": address}]


def _original(method: Callable[..., Any]) -> Callable[..., Any]:
    """moto's own method, also when it was mended before."""
    own: Callable[..., Any] = inspect.unwrap(method)
    return own


def _mend(owner: type, name: str, method: object) -> None:
    setattr(owner, name, method)


def _mend_autoscaling_tags() -> None:
    """Application Auto Scaling keeps tags and answers ListTagsForResource, which moto lacks."""
    from moto.applicationautoscaling.responses import ApplicationAutoScalingResponse

    tags: dict[str, dict[str, str]] = {}
    register = _original(ApplicationAutoScalingResponse.register_scalable_target)

    @functools.wraps(register)
    def register_scalable_target(self: Any) -> str:
        answer: str = register(self)
        tags.setdefault(json.loads(answer)["ScalableTargetARN"], {}).update(self._get_param("Tags") or {})
        return answer

    def list_tags_for_resource(self: Any) -> str:
        return json.dumps({"Tags": tags.get(self._get_param("ResourceARN"), {})})

    _mend(ApplicationAutoScalingResponse, "register_scalable_target", register_scalable_target)
    _mend(ApplicationAutoScalingResponse, "list_tags_for_resource", list_tags_for_resource)


def _mend_ecs_services() -> None:
    """ECS tells of a service all that it was made with; moto forgets some of it."""
    from moto.ecs.responses import EC2ContainerServiceResponse

    create = _original(EC2ContainerServiceResponse.create_service)

    @functools.wraps(create)
    def create_service(self: Any) -> Any:
        answer = create(self)
        service = answer.result["service"]
        service.capacity_provider_strategy = self._get_param("capacityProviderStrategy")
        service.deployment_configuration = self._get_param("deploymentConfiguration")
        service.health_check_grace_period_seconds = self._get_param("healthCheckGracePeriodSeconds")
        service.availability_zone_rebalancing = self._get_param("availabilityZoneRebalancing")
        service.launch_type = self._get_param("launchType")
        return answer

    _mend(EC2ContainerServiceResponse, "create_service", create_service)


def _mend_ecs_tasks() -> None:
    """A task has all containers of its definition, and on Fargate no host's room; moto knows of the first one alone."""
    from moto.ecs.models import EC2ContainerServiceBackend, Task

    _mend(EC2ContainerServiceBackend, "_calculate_task_resource_requirements", staticmethod(lambda _definition: {}))
    original = _original(Task.__init__)

    @functools.wraps(original)
    def init(self: Any, cluster: Any, task_definition: Any, *arguments: Any, **named: Any) -> None:
        original(self, cluster, task_definition, *arguments, **named)
        self.health_status = "UNKNOWN"
        (known,) = self.containers
        self.containers = []
        for definition in task_definition.container_definitions:
            container = copy.copy(known)
            container.name, container.image = definition["name"], definition["image"]
            container.last_status, container.health_status = "RUNNING", "UNKNOWN"
            self.containers.append(container)

    _mend(Task, "__init__", init)


def _mend_instance_credentials() -> None:
    """An instance's metadata say with its role's credentials that they are good, without which AWS' SDKs take none."""
    from moto.instance_metadata.responses import InstanceMetadataResponse

    original = _original(InstanceMetadataResponse.metadata_response)

    @functools.wraps(original)
    def metadata_response(request: Any, full_url: str, headers: Any) -> Any:
        status, more, answer = original(request, full_url, headers)
        if '"SecretAccessKey"' in answer:
            answer = json.dumps(json.loads(answer) | {"Code": "Success"})
        return status, more, answer

    _mend(InstanceMetadataResponse, "metadata_response", staticmethod(metadata_response))


def _mend_rules_without_ports() -> None:
    """A security group's rule for a protocol without ports, such as ESP, has -1 for them; moto fails."""
    from moto.ec2.models.security_groups import SecurityGroupRule

    original = _original(SecurityGroupRule.__init__)

    @functools.wraps(original)
    def init(self: Any, *arguments: Any, **named: Any) -> None:
        bound = inspect.signature(original).bind(self, *arguments, **named)
        for port in ("from_port", "to_port"):
            if bound.arguments[port] is None:
                bound.arguments[port] = "-1"
        original(*bound.args, **bound.kwargs)

    _mend(SecurityGroupRule, "__init__", init)


def _mend_rules_descriptions() -> None:
    """A security group's rule keeps its description also where it refers to a group, and not to a range."""
    from moto.ec2.models.security_groups import SecurityGroupRule

    _mend(
        SecurityGroupRule, "description", property(lambda self: (self.ip_range | self.source_group).get("Description"))
    )


def _mend_detailed_monitoring() -> None:
    """Detailed monitoring of instances can be turned on after their start, which moto does not know."""
    from moto.core.responses import ActionResult
    from moto.ec2.responses.monitoring import Monitoring

    def monitor_instances(self: Any) -> ActionResult:
        instances = [self.ec2_backend.get_instance(each) for each in self._get_param("InstanceIds", [])]
        for instance in instances:
            instance.monitoring_state = "enabled"
        answers = [{"InstanceId": each.id, "Monitoring": {"State": each.monitoring_state}} for each in instances]
        return ActionResult({"InstanceMonitorings": answers})

    _mend(Monitoring, "monitor_instances", monitor_instances)
