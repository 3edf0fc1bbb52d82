# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Mistakes that somebody could make in terraform/, and what has to catch each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Mistake:
    """``old`` in the file becomes ``new``; caught by a run of a test file, or by a check of checkov."""

    name: str
    directory: str
    file: str
    old: str
    new: str
    caught_by: str

    @property
    def by_checkov(self) -> bool:
        return self.caught_by.startswith("CKV")

    def make(self, configuration: Path) -> None:
        """Makes the mistake in a copy of terraform/."""
        path = configuration / self.directory / self.file
        text = path.read_text()
        assert self.old in text, f"{self.name}: {path} has no {self.old!r}"
        path.write_text(text.replace(self.old, self.new, 1))


NETWORK, GROUPS, HOSTS = "modules/network", "modules/security_groups", "modules/hosts"
BALANCER, REGISTRY, BUCKET = "modules/load_balancer", "modules/image_registry", "modules/model_bucket"
ECS = "modules/ecs_model_service"

MISTAKES = (
    Mistake(
        "subnets give out public addresses",
        *(NETWORK, "main.vpc.tf", "map_public_ip_on_launch = false", "map_public_ip_on_launch = true"),
        "network/no_subnet_gives_out_public_addresses",
    ),
    Mistake(
        "private subnets are open to the internet",
        *(
            NETWORK,
            "main.routes.tf",
            "nat_gateway_id         = aws_nat_gateway.this",
            "gateway_id = aws_nat_gateway.this",
        ),
        "network/private_subnets_have_no_way_in",
    ),
    Mistake(
        "all zones go out through one where each should have its own",
        *(
            NETWORK,
            "main.routes.tf",
            " ? var.availability_zones[0] : each.key]",
            " ? each.key : var.availability_zones[0]]",
        ),
        "network/each_zone_has_a_nat_gateway_where_wanted",
    ),
    Mistake(
        "accepted connections are not logged",
        *(NETWORK, "main.flow_log.tf", 'traffic_type    = "ALL"', 'traffic_type    = "REJECT"'),
        "network/connections_are_logged",
    ),
    Mistake(
        "endpoints answer everybody",
        *(NETWORK, "main.endpoints.tf", "cidr_ipv4         = var.cidr", 'cidr_ipv4         = "0.0.0.0/0"'),
        "network/interface_endpoints_answer_the_vpc_alone",
    ),
    Mistake(
        "the VPC's default security group is left as AWS made it",
        *(
            NETWORK,
            "main.vpc.tf",
            'resource "aws_default_security_group" "this"',
            'resource "aws_security_group" "this"',
        ),
        "CKV2_AWS_12",
    ),
    Mistake(
        "a wrong port",
        *(GROUPS, "main.flows.tf", 'to = "cache_servers", port = 5001', 'to = "cache_servers", port = 6379'),
        "security_groups/only_what_each_service_needs_reaches_it",
    ),
    Mistake(
        "an open security group",
        GROUPS,
        "main.flows.tf",
        "referenced_security_group_id = aws_security_group.this[each.value.from].id",
        'cidr_ipv4 = "0.0.0.0/0"',
        "security_groups/nothing_inside_is_open_to_addresses",
    ),
    Mistake(
        "no way for overlay networks",
        *(GROUPS, "main.flows.tf", 'port = 4789, protocol = "udp"', "port = 4789"),
        "security_groups/hosts_form_a_swarm_among_themselves",
    ),
    Mistake(
        "all hosts have SSH open to administrators",
        GROUPS,
        "main.outside.tf",
        'security_group_id = aws_security_group.this["gateway"].id',
        'security_group_id = aws_security_group.this["hosts"].id',
        "security_groups/administrators_reach_ssh_of_the_gateway_alone",
    ),
    Mistake(
        "clients reach gateways past the load balancer",
        *(GROUPS, "main.outside.tf", 'var.load_balancer ? "load_balancer" : "gateway"', '"gateway"'),
        "security_groups/behind_a_load_balancer_clients_reach_that_alone",
    ),
    Mistake(
        "everything goes out",
        *(GROUPS, "main.outside.tf", "[80, 443]) :\n", "[80, 443, 25]) :\n"),
        "security_groups/hosts_reach_the_web_and_nothing_else_outside",
    ),
    Mistake(
        "SSH may be opened to the internet",
        *(GROUPS, "variables.tf", ">= 8, true)", ">= 0, true)"),
        "validation/refuses_ssh_from_the_internet",
    ),
    Mistake(
        "IMDSv1",
        *(HOSTS, "main.instances.tf", 'http_tokens                 = "required"', 'http_tokens = "optional"'),
        "hosts/the_metadata_service_asks_for_a_token",
    ),
    Mistake(
        "IMDSv1 in an autoscaling group",
        *(HOSTS, "main.autoscaling.tf", 'http_tokens                 = "required"', 'http_tokens = "optional"'),
        "CKV_AWS_79",
    ),
    Mistake(
        "an unencrypted root volume",
        *(HOSTS, "main.instances.tf", "encrypted   = true", "encrypted   = false"),
        "hosts/every_volume_is_encrypted",
    ),
    Mistake(
        "an unencrypted volume",
        *(HOSTS, "main.volumes.tf", "encrypted         = true", "encrypted         = false"),
        "CKV_AWS_3",
    ),
    Mistake(
        "every host has a public address",
        *(HOSTS, "main.instances.tf", 'var.gateway_public_addresses && contains(group.groups, "gateway")', "true"),
        "hosts/only_gateways_have_public_addresses",
    ),
    Mistake(
        "an image that anybody published",
        *(HOSTS, "main.instances.tf", '["136693071363"] : null', "null : null"),
        "hosts/the_image_is_debians",
    ),
    Mistake(
        "a volume in another zone than its host",
        *(HOSTS, "main.volumes.tf", "var.availability_zones[each.value.place]", "reverse(var.availability_zones)[0]"),
        "hosts/volumes_are_mounted_where_they_are_wanted",
    ),
    Mistake(
        "every role has all policies",
        *(HOSTS, "main.roles.tf", "for member in group.groups : {", "for member in keys(var.group_policies) : {"),
        "hosts/a_role_has_what_its_groups_need_and_no_more",
    ),
    Mistake(
        "HTTPS leads to the port for HTTP",
        *(BALANCER, "main.targets.tf", "https = var.gateway_ports.https }", "https = var.gateway_ports.http }"),
        "load_balancer/a_network_load_balancer_passes_both_ports_through",
    ),
    Mistake(
        "only one gateway gets requests",
        *(BALANCER, "main.targets.tf", "keys(var.gateways)) :", "slice(keys(var.gateways), 0, 1)) :"),
        "load_balancer/every_gateway_gets_requests",
    ),
    Mistake(
        "an old version of TLS",
        *(BALANCER, "main.listeners.tf", "ELBSecurityPolicy-TLS13-1-2-2021-06", "ELBSecurityPolicy-2016-08"),
        "CKV_AWS_103",
    ),
    Mistake(
        "images that nobody scans",
        *(REGISTRY, "main.repositories.tf", "scan_on_push = true", "scan_on_push = false"),
        "CKV_AWS_163",
    ),
    Mistake(
        "tags that move",
        *(REGISTRY, "main.repositories.tf", '"IMMUTABLE"', '"MUTABLE"'),
        "CKV_AWS_51",
    ),
    Mistake(
        "a bucket that a policy can make public",
        *(BUCKET, "main.access.tf", "block_public_policy     = true", "block_public_policy     = false"),
        "CKV_AWS_54",
    ),
    Mistake(
        "a bucket without versions",
        *(BUCKET, "main.bucket.tf", 'status = "Enabled"', 'status = "Suspended"'),
        "CKV_AWS_21",
    ),
    Mistake(
        "plain HTTP to the bucket",
        *(BUCKET, "main.access.tf", '"aws:SecureTransport" = "false"', '"aws:SecureTransport" = "true"'),
        "model_bucket/plain_http_is_refused",
    ),
    Mistake(
        "no Spot fallback",
        *(ECS, "main.service.tf", "base              = var.on_demand_base\n", ""),
        "ecs_model_service/spot_never_runs_alone",
    ),
    Mistake(
        "a bad release stays",
        *(ECS, "main.service.tf", "rollback = true", "rollback = false"),
        "ecs_model_service/a_bad_release_is_rolled_back",
    ),
    Mistake(
        "a rollback goes unnoticed",
        ECS,
        "main.service.tf",
        "self.task_definition == aws_ecs_task_definition.this.arn",
        'self.task_definition != ""',
        "rollback/a_release_that_was_rolled_back_fails_the_apply",
    ),
    Mistake(
        "a missing health check",
        *(ECS, "main.load_balancer.tf", 'path                = "/health/ready"\n', ""),
        "ecs_model_service/the_load_balancer_asks_whether_a_task_is_ready",
    ),
    Mistake(
        "a port that nobody listens on",
        *(ECS, "main.task.tf", "hostPort = local.port", "hostPort = 8080"),
        "ecs_model_service/traefik_finds_the_routes_on_the_tasks",
    ),
    Mistake(
        "streams are cut after 30 seconds",
        *(ECS, "main.task.tf", "stopTimeout      = var.stop_timeout_seconds", "stopTimeout = 30"),
        "ecs_model_service/streams_end_before_a_task_is_killed",
    ),
    Mistake(
        "a container that runs as root",
        *(ECS, "main.task.tf", 'user             = "10001:10001"', 'user = "0:0"'),
        "ecs_model_service/containers_may_do_little",
    ),
    Mistake(
        "tasks with public addresses",
        *(ECS, "main.service.tf", "assign_public_ip = false", "assign_public_ip = true"),
        "CKV_AWS_333",
    ),
    Mistake(
        "tasks read the whole bucket",
        *(ECS, "main.roles.tf", "${var.model.bucket}/${var.model.key}", "${var.model.bucket}/*"),
        "ecs_model_service/roles_may_do_what_they_have_to",
    ),
    Mistake(
        "monitoring sees one task at random",
        *(ECS, "main.discovery.tf", '"MULTIVALUE"', '"WEIGHTED"'),
        "ecs_model_service/monitoring_finds_each_task_by_a_name",
    ),
    Mistake(
        "tasks follow requests that are computed, not those that wait",
        *(ECS, "main.autoscaling.tf", "llm_requests_waiting", "llm_requests_running"),
        "ecs_model_service/the_number_of_tasks_follows_cpu_and_queue",
    ),
    Mistake(
        "the inventory names private addresses of gateways",
        *(
            "aws",
            "main.inventory.tf",
            "? host.public_address : host.private_address",
            "? host.private_address : host.private_address",
        ),
        "inventory/hosts_are_reached_through_the_gateway",
    ),
    Mistake(
        "containers of every host get at its role",
        *("aws", "main.hosts.tf", '"gateway") ? 2 : 1', '"gateway") ? 2 : 2'),
        "platform/on_hosts_no_container_gets_at_a_role",
    ),
    Mistake(
        "tasks ask a host that may not run cache-service",
        *("aws", "variables.hosts.tf", '"cache_servers")])) <= 1', '"cache_servers")])) <= 100'),
        "validation/refuses_tasks_with_several_cache_servers",
    ),
)
