# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""ansible-inventory and ansible-playbook on what the real terraform says. Needs neither Docker nor a network."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.llm.orchestrator.tests.integration.inventory.terraform_runs import FLEET, InventoryFile, Root

NAME = "ansible_inventory"
GRAPH = """\
@all:
  |--@ungrouped:
  |--@model_servers:
  |  |--model-1
  |  |--model-2
  |--@gateway:
  |  |--gw-1
"""
SECRET = "correct-horse-battery"


@pytest.fixture(scope="module")
def applied(tmp_path_factory: pytest.TempPathFactory) -> Root:
    """Not to be changed."""
    root = Root(tmp_path_factory.mktemp("applied"))
    root.apply({NAME: FLEET, "zone": "eu-1"})
    return root


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return Root(tmp_path / "root")


@pytest.fixture
def inventory(tmp_path: Path) -> InventoryFile:
    return InventoryFile(tmp_path / "terraform.yml")


def test_the_graph_of_what_was_applied(applied: Root, inventory: InventoryFile) -> None:
    assert inventory.write(project_path=str(applied.directory)).graph() == GRAPH


def test_a_folder_with_the_plugins_file_and_variables_beside_it(applied: Root, tmp_path: Path) -> None:
    folder = tmp_path / "fleet"
    (folder / "group_vars").mkdir(parents=True)
    (folder / "group_vars" / "model_servers.yml").write_text("slots: 4\nthreads: 2\n")
    InventoryFile(folder / "terraform.yml").write(project_path=str(applied.directory))
    hosts = InventoryFile(folder).shown("--list")["_meta"]["hostvars"]
    assert hosts["gw-1"] == {"ansible_host": "10.0.1.10", "ansible_user": "admin", "zone": "eu-1a"}
    own = {"ansible_host": "10.0.1.21", "zone": "eu-1b", "memory_gib": 16}
    assert hosts["model-2"] == own | {"ansible_user": "admin", "slots": 4, "threads": 2}


@pytest.mark.parametrize("name", ["", NAME])
def test_a_saved_file(name: str, applied: Root, inventory: InventoryFile, tmp_path: Path) -> None:
    (tmp_path / "saved.json").write_text(applied.terraform("output", "-json", *[name][: bool(name)]))
    # Neither the command nor the directory is needed any more.
    assert inventory.write(output_file="saved.json").graph(PATH="/nowhere") == GRAPH


def test_a_state_file(applied: Root, inventory: InventoryFile) -> None:
    path = applied.directory / "terraform.tfstate"
    assert inventory.write(state_file=str(path)).graph(PATH="/nowhere") == GRAPH


def test_constructed_groups_and_variables(applied: Root, inventory: InventoryFile) -> None:
    inventory.write(
        project_path=str(applied.directory),
        strict=True,
        keyed_groups=[{"key": "zone", "prefix": "zone"}],
        groups={"large": "memory_gib | default(0) >= 64"},
        compose={"ansible_host": "inventory_hostname ~ '.internal'"},
    )
    graph = inventory.graph("--vars")
    assert "  |--@large:\n  |  |--model-1\n" in graph
    assert "  |--@zone_eu_1b:\n  |  |--model-2\n" in graph
    assert "{ansible_host = gw-1.internal}" in graph


def test_the_cache_spares_terraform_until_it_is_flushed_or_the_workspace_is_another(
    root: Root, inventory: InventoryFile, tmp_path: Path
) -> None:
    root.apply({NAME: FLEET})
    fewer = FLEET | {"hosts": {"gw-1": FLEET["hosts"]["gw-1"]}, "groups": None}
    cache = {"ANSIBLE_INVENTORY_CACHE": "true", "ANSIBLE_INVENTORY_CACHE_PLUGIN": "ansible.builtin.jsonfile"}
    cache["ANSIBLE_INVENTORY_CACHE_CONNECTION"] = str(tmp_path / "cache")
    inventory.write(project_path="root")
    assert inventory.graph(**cache) == GRAPH

    root.apply({NAME: fewer})
    assert inventory.graph(**cache) == GRAPH
    assert "model-1" not in inventory.graph()
    # An empty one is not taken into the cache either, once it is asked for.
    root.apply({NAME: fewer | {"hosts": {}}})
    assert inventory.graph(**cache) == GRAPH
    (tmp_path / "play.yml").write_text("- {hosts: all, tasks: []}\n")
    anew = ["ansible-playbook", "--flush-cache", "--list-hosts", str(tmp_path / "play.yml")]
    flushed = inventory.ansible(*anew, **cache)
    assert flushed.status == 4
    assert "hosts is empty" in flushed.stderr
    root.apply({NAME: fewer})
    flushed = inventory.ansible(*anew, **cache)
    assert (flushed.status, "hosts (1):" in flushed.stdout) == (0, True), flushed
    assert "model-1" not in inventory.graph(**cache)

    root.terraform("workspace", "new", "blue")
    root.apply({NAME: FLEET})
    assert inventory.graph(**cache) == GRAPH
    root.terraform("workspace", "select", "default")
    assert "model-1" not in inventory.graph(**cache)
    assert inventory.write(project_path="root", workspace="blue").graph(**cache) == GRAPH


def test_a_workspace_is_chosen_and_one_that_is_not_there_is_an_error(root: Root, inventory: InventoryFile) -> None:
    root.apply({NAME: FLEET | {"hosts": {"gw-9": FLEET["hosts"]["gw-1"]}}})
    root.terraform("workspace", "new", "blue")
    root.apply({NAME: FLEET})
    root.terraform("workspace", "select", "default")
    assert inventory.write(project_path="root", workspace="blue").graph() == GRAPH
    assert inventory.write(project_path="root").graph(TF_WORKSPACE="blue") == GRAPH
    assert "gw-9" in inventory.graph()
    assert inventory.write(project_path="root", workspace="green").error() == (
        f"there is no Terraform state in workspace green of {root.directory}; run terraform init and terraform apply,"
        " or check workspace"
    )


def test_before_the_first_apply_and_after_a_destroy(root: Root, inventory: InventoryFile) -> None:
    inventory.write(project_path="root")
    assert inventory.error().startswith(f"project_path: {root.directory} is no directory")
    root.directory.mkdir()
    assert inventory.error().startswith(f"{root.directory} has no Terraform configuration and no outputs; check")
    root.write({NAME: FLEET})
    assert inventory.error().startswith(f"there is no Terraform state in workspace default of {root.directory}; run")
    root.apply({NAME: FLEET})
    assert inventory.graph() == GRAPH
    root.terraform("destroy", "-auto-approve")
    assert inventory.error() == (
        f"the Terraform state in workspace default of {root.directory} has no outputs; run terraform apply there (it"
        " may have been destroyed)"
    )
    inventory.write(state_file="root/terraform.tfstate")
    assert "has no output ansible_inventory (there are no outputs at all)" in inventory.error()


def test_an_output_that_is_not_there(root: Root, inventory: InventoryFile) -> None:
    root.apply({"zone": "eu-1", "fleet": FLEET})
    message = "has no output ansible_inventory (there are fleet, zone); add it to the Terraform root and run terraform"
    assert message in inventory.write(project_path="root").error()
    assert message in inventory.write(state_file="root/terraform.tfstate").error()
    (root.directory / "saved.json").write_text(root.terraform("output", "-json"))
    assert message in inventory.write(output_file="root/saved.json").error()
    assert inventory.write(project_path="root", output_name="fleet").graph() == GRAPH


def test_what_terraform_says_is_passed_on(root: Root, inventory: InventoryFile, tmp_path: Path) -> None:
    root.write({NAME: FLEET}, backend="local")
    inventory.write(project_path="root")
    called = f"`terraform -chdir={root.directory} output -json -no-color` failed with exit code 1: "
    # A warning comes first then, which is not what is wrong.
    message = inventory.error(TF_CLI_CONFIG_FILE=str(tmp_path / "nowhere.rc"))
    assert message.startswith(f'{called}Error: Backend initialization required, please run "terraform init" Reason: ')

    (root.directory / "main.tf.json").write_text('{"output": {"a": {}}}')
    assert inventory.error().startswith(f"{called}Error: Missing required argument on main.tf.json line 1")


def test_a_state_that_is_broken(root: Root, inventory: InventoryFile) -> None:
    root.apply({NAME: FLEET})
    state = root.directory / "terraform.tfstate"
    state.write_text(state.read_text()[:100])
    assert "Error: Unsupported state file format The state file could not be parsed as JSON" in (
        inventory.write(project_path="root").error()
    )
    assert f"{state} is no JSON: " in inventory.write(state_file="root/terraform.tfstate").error()


def test_a_command_that_is_not_there_or_hangs(applied: Root, inventory: InventoryFile, tmp_path: Path) -> None:
    inventory.write(project_path=str(applied.directory))
    assert inventory.error(PATH="/nowhere").startswith("neither terraform nor tofu is on PATH; install one, name it in")
    (tmp_path / "terraform").write_text("#!/bin/sh\nexec sleep 60\n")
    (tmp_path / "terraform").chmod(0o755)
    inventory.write(project_path=str(applied.directory), binary_path="./terraform", timeout=1)
    assert "output -json -no-color` didn't end within 1 s; run it by hand to see what it waits for" in inventory.error()


@pytest.mark.parametrize(
    ("path", "to", "message"),
    [
        (["hosts"], {}, "hosts is empty, so there is nothing to deploy to"),
        (["version"], 2, "version is 2, and this release of llm.orchestrator reads 1"),
        (["hosts", "gw-1", "address"], None, "hosts.gw-1.address is null; give it: an IP address or a DNS name"),
        (
            ["hosts", "gw-1", "groups"],
            ["gateways"],
            "hosts.gw-1.groups[0]: the group gateways is none of cache_servers",
        ),
        (["hosts", "model-2", "address"], "10.0.1.20", "hosts.model-1 and hosts.model-2 have the same address"),
        (["hosts", "gateway"], FLEET["hosts"]["gw-1"], "hosts.gateway has the name of a group; give the host another"),
    ],
)
def test_a_mistake_in_the_output(
    path: list[str], to: Any, message: str, inventory: InventoryFile, tmp_path: Path
) -> None:
    fleet = json.loads(json.dumps(FLEET))
    parent = fleet
    for key in path[:-1]:
        parent = parent[key]
    parent[path[-1]] = to
    (tmp_path / "saved.json").write_text(json.dumps(fleet))
    assert inventory.write(output_file="saved.json").error().startswith(message)


def test_a_sensitive_output_works_and_no_error_shows_it(root: Root, inventory: InventoryFile, tmp_path: Path) -> None:
    root.apply({NAME: FLEET | {"vars": {"password": SECRET}}}, sensitive=True)
    inventory.write(project_path="root")
    assert inventory.graph() == GRAPH
    assert inventory.shown("--host", "gw-1")["password"] == SECRET

    wrong = {"password": SECRET, "a-b": SECRET}
    for fleet in (
        FLEET | {"vars": wrong},
        FLEET | {"vars": SECRET},
        FLEET | {"hosts": {"gw-1": {"address": SECRET + "!", "groups": ["gateway"], "vars": {"password": SECRET}}}},
    ):
        root.apply({NAME: fleet}, sensitive=True)
        done = inventory.ansible("ansible-inventory", "--graph", "-vvvvv", ANSIBLE_DEBUG="true")
        assert done.status == 4
        assert SECRET not in done.stdout + done.stderr


@pytest.mark.parametrize("trusted", [False, True])
def test_text_is_a_template_only_if_trusted(trusted: bool, root: Root, inventory: InventoryFile) -> None:
    text = "{{ lookup('ansible.builtin.env', 'PLACE') }}"
    root.apply({NAME: FLEET | {"vars": {"text": text, "deep": {"list": [text]}}}})
    inventory.write(project_path="root", trust_templates=trusted)
    content = "{{ {'text': text, 'deep': deep} | to_json }}"
    task = {"ansible.builtin.copy": {"content": content, "dest": str(root.directory / "seen.json")}}
    play = {"hosts": "gw-1", "connection": "local", "gather_facts": False, "tasks": [task]}
    play["vars"] = {"ansible_python_interpreter": sys.executable}
    (root.directory / "play.yml").write_text(yaml.safe_dump([play]))
    done = inventory.ansible("ansible-playbook", str(root.directory / "play.yml"), PLACE="here")
    assert done.status == 0, done.stdout + done.stderr
    seen = "here" if trusted else text
    assert json.loads((root.directory / "seen.json").read_text()) == {"text": seen, "deep": {"list": [seen]}}


def test_no_playbook_goes_on_without_the_fleet(inventory: InventoryFile, tmp_path: Path) -> None:
    inventory.write(output_file="nowhere.json")
    # Ansible's own answer to a source that fails is a warning, and these plays would succeed.
    (tmp_path / "play.yml").write_text(
        "- {hosts: all, tasks: []}\n- {hosts: localhost, gather_facts: false, tasks: []}\n"
    )
    done = inventory.ansible("ansible-playbook", "-i", "localhost,", str(tmp_path / "play.yml"))
    assert done.status == 4
    assert "PLAY" not in done.stdout
    assert f"output_file: {tmp_path}/nowhere.json isn't there" in done.stderr


def test_the_example_of_the_repository(tmp_path: Path) -> None:
    example = Path(__file__).parents[3] / "inventories" / "fleet"
    copy = Path(shutil.copytree(example, tmp_path / "inventories" / "fleet"))
    project_path = yaml.safe_load((copy / "terraform.yml").read_text())["project_path"]
    Root((copy / project_path).resolve()).apply({NAME: FLEET})
    assert InventoryFile(copy).graph() == GRAPH
