# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An example on a simulated AWS, and what is really there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aws_simulation import client, point_at
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from terraform_cli import Terraform, copy_configuration

_COMMON = {"client_cidrs": ["203.0.113.0/24"], "admin_cidrs": ["198.51.100.7/32"], "deletion_protection": False}


def public_key() -> str:
    key = Ed25519PrivateKey.generate().public_key()
    return key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode() + " admin@example.org"


def example(name: str, address: str, place: Path, **variables: Any) -> Terraform:
    root = copy_configuration(place / "terraform") / "examples" / name
    given = _COMMON | {"ssh_public_key": public_key()} | variables
    terraform = Terraform(root, given, point_at(address, root))
    terraform.init()
    return terraform


def instances(address: str) -> dict[str, dict[str, Any]]:
    """Those that run, by their names less the platform's."""
    filters = [{"Name": "instance-state-name", "Values": ["pending", "running"]}]
    answer = client("ec2", address).describe_instances(Filters=filters)
    return {
        next(tag["Value"] for tag in instance["Tags"] if tag["Key"] == "Name").removeprefix("llm-"): instance
        for reservation in answer["Reservations"]
        for instance in reservation["Instances"]
    }


def assert_nothing_is_left(address: str) -> None:
    ec2 = client("ec2", address)
    assert instances(address) == {}
    assert [vpc for vpc in ec2.describe_vpcs()["Vpcs"] if not vpc["IsDefault"]] == []
    assert ec2.describe_volumes()["Volumes"] == []
    assert ec2.describe_addresses()["Addresses"] == []
    assert client("elbv2", address).describe_load_balancers()["LoadBalancers"] == []
    assert client("s3", address).list_buckets()["Buckets"] == []
    assert client("ecr", address).describe_repositories()["repositories"] == []
    assert client("iam", address).list_roles()["Roles"] == []
    assert client("servicediscovery", address).list_namespaces()["Namespaces"] == []


def default_security_group_rules(address: str) -> list[dict[str, Any]]:
    """Of the platform's VPC, in both directions."""
    ec2 = client("ec2", address)
    vpc = next(each["VpcId"] for each in ec2.describe_vpcs()["Vpcs"] if not each["IsDefault"])
    groups = ec2.describe_security_groups(Filters=[{"Name": "vpc-id", "Values": [vpc]}])["SecurityGroups"]
    default = next(group for group in groups if group["GroupName"] == "default")
    rules: list[dict[str, Any]] = default["IpPermissions"] + default["IpPermissionsEgress"]
    return rules
