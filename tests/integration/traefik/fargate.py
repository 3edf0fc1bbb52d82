# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What Fargate does with a task of a simulated ECS: its container runs, here on this machine's engine."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aws_simulation import place_task
from docker.types import Healthcheck, Mount

if TYPE_CHECKING:
    from pathlib import Path

    import docker
    from botocore.client import BaseClient
    from docker.models.containers import Container

_SECOND = 1_000_000_000
_START_SECONDS = 90


@dataclass(frozen=True)
class Task:
    arn: str
    container: Container
    ecs: BaseClient
    cluster: str

    @property
    def address(self) -> str:
        self.container.reload()
        (network,) = self.container.attrs["NetworkSettings"]["Networks"].values()
        return str(network["IPAddress"])

    def await_health(self) -> None:
        """Waits until its health check passes, and lets ECS know."""
        deadline = time.monotonic() + _START_SECONDS
        while self.container.attrs["State"]["Health"]["Status"] != "healthy":
            assert time.monotonic() < deadline, self.container.logs().decode()
            time.sleep(0.2)
            self.container.reload()
        place_task(self.arn, self.address, "HEALTHY")

    def stop(self) -> None:
        """As ECS does: it is wanted no more, gets SIGTERM, and has its time."""
        self.ecs.stop_task(cluster=self.cluster, task=self.arn)
        self.container.stop(timeout=60)


@dataclass(frozen=True)
class Fargate:
    """Tasks of one definition, in one network of the engine."""

    ecs: BaseClient
    engine: docker.DockerClient
    cluster: str
    definition: str
    network: str
    # Under which Cloud Map would have the tasks' addresses.
    host_name: str
    # Where the container that fetches the model has put it.
    models: Path
    secrets: dict[str, str]
    prefix: str
    aws_network: dict[str, Any]

    def start(self) -> Task:
        """A task whose container runs; whether it is well, ECS does not know yet."""
        answer = self.ecs.run_task(
            cluster=self.cluster,
            taskDefinition=self.definition,
            launchType="FARGATE",
            group="service:model-service",
            networkConfiguration={"awsvpcConfiguration": self.aws_network},
        )
        arn = answer["tasks"][0]["taskArn"]
        described = self.ecs.describe_task_definition(taskDefinition=self.definition)["taskDefinition"]
        (service,) = (each for each in described["containerDefinitions"] if each["name"] == "model-service")
        container = self._run(service, f"{self.prefix}-task-{arn[-12:]}")
        task = Task(arn, container, self.ecs, self.cluster)
        place_task(arn, task.address, "UNKNOWN")
        return task

    def _run(self, service: dict[str, Any], name: str) -> Container:
        """The service's container as its definition says."""
        check = service["healthCheck"]
        return self.engine.containers.run(
            service["image"],
            name=name,
            network=self.network,
            networking_config={self.network: self.engine.api.create_endpoint_config(aliases=[self.host_name])},
            user=service["user"],
            read_only=service["readonlyRootFilesystem"],
            cap_drop=service["linuxParameters"]["capabilities"]["drop"],
            environment={each["name"]: each["value"] for each in service["environment"]}
            | {each["name"]: self.secrets[each["valueFrom"]] for each in service["secrets"]},
            mounts=[
                Mount(each["containerPath"], str(self.models), type="bind", read_only=each["readOnly"])
                for each in service["mountPoints"]
            ],
            healthcheck=Healthcheck(
                test=check["command"],
                interval=check["interval"] * _SECOND,
                timeout=check["timeout"] * _SECOND,
                retries=check["retries"],
                start_period=check["startPeriod"] * _SECOND,
            ),
            detach=True,
        )
