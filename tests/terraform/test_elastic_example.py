# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The example elastic is applied to a simulated AWS and destroyed, by the real provider."""

from __future__ import annotations

import json
from pathlib import Path

from aws_simulation import REGION, client
from examples import assert_nothing_is_left, example, instances

KEYS_PARAMETER = f"arn:aws:ssm:{REGION}:123456789012:parameter/llm/api-keys"
SECRET = "sk-never-to-be-seen"


def test_an_elastic_platform_comes_and_goes(aws: str, tmp_path: Path) -> None:
    client("ssm", aws).put_parameter(Name="/llm/api-keys", Type="SecureString", Value=SECRET)
    image = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/llm/model-service:0.1.0"
    model = {"name": "smollm2", "key": "smollm2.gguf", "sha256": "0" * 64}
    service = {"image": image, "model": model, "api_keys_parameter_arn": KEYS_PARAMETER}
    elastic = example("elastic", aws, tmp_path, model_bucket="example-models", model_service=service)

    elastic.apply()
    outputs = elastic.outputs()

    assert sorted(instances(aws)) == ["data-1", "gateway-1"]
    inventory = outputs["ansible_inventory"]
    assert sorted(inventory["groups"]) == ["cache_servers", "gateway", "monitoring_servers", "storage_servers"]
    assert inventory["vars"]["llm_ecs_cluster"] == outputs["ecs_model_service"]["cluster"] == "llm"
    assert inventory["vars"]["llm_ecs_service"] == "model-service"
    assert inventory["vars"]["llm_ecs_target_group_arn"] == outputs["ecs_model_service"]["target_group_arn"]
    assert inventory["vars"]["llm_image_registry"] == outputs["image_prefix"]
    assert inventory["vars"]["llm_model_bucket"] == "example-models"
    assert inventory["groups"]["cache_servers"]["vars"] == {"cache_service_published_address": "0.0.0.0"}
    assert SECRET not in json.dumps(outputs) + (elastic.directory / "terraform.tfstate").read_text()

    ecs = client("ecs", aws)
    running = ecs.describe_services(cluster="llm", services=["model-service"])["services"][0]
    providers = {each["capacityProvider"]: each.get("base", 0) for each in running["capacityProviderStrategy"]}
    assert providers == {"FARGATE": 1, "FARGATE_SPOT": 0}
    assert running["deploymentConfiguration"]["deploymentCircuitBreaker"] == {"enable": True, "rollback": True}
    assert inventory["vars"]["llm_ecs_host_name"] == "model-service.llm.internal"
    discovery = client("servicediscovery", aws)
    (namespace,) = discovery.list_namespaces()["Namespaces"]
    assert (namespace["Name"], namespace["Type"]) == ("llm.internal", "DNS_PRIVATE")
    (registered,) = discovery.list_services()["Services"]
    assert [each["registryArn"] for each in running["serviceRegistries"]] == [registered["Arn"]]
    task = ecs.describe_task_definition(taskDefinition=running["taskDefinition"])["taskDefinition"]
    cache = inventory["hosts"]["data-1"]["vars"]["llm_private_address"]
    environment = {each["name"]: each["value"] for each in task["containerDefinitions"][1]["environment"]}
    assert environment["MODEL_CACHE_URL"] == f"http://{cache}:5001"
    assert task["containerDefinitions"][1]["secrets"] == [{"name": "MODEL_API_KEYS", "valueFrom": KEYS_PARAMETER}]
    policies = client("application-autoscaling", aws).describe_scaling_policies(ServiceNamespace="ecs")
    assert sorted(policy["PolicyName"] for policy in policies["ScalingPolicies"]) == ["llm-cpu", "llm-queue"]

    assert elastic.plan() == {}, "a second apply changes nothing"

    elastic.destroy()
    assert_nothing_is_left(aws)
