# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The plugin as Ansible loads it, on files and on commands that are small scripts."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleParserError
from ansible.inventory.data import InventoryData
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import inventory_loader
from ansible.template import Templar
from ansible_collections.llm.orchestrator.plugins.inventory import terraform

NAME = "llm.orchestrator.terraform"
FLEET: dict[str, Any] = {
    "version": 1,
    "hosts": {
        "gw-1": {"address": "10.0.1.10", "groups": ["gateway", "cache_servers"], "vars": {"zone": "eu-1a"}},
        "model-1": {"address": "10.0.1.20", "groups": ["model_servers"], "vars": {"zone": "eu-1b", "memory_gib": 64}},
    },
    "groups": {"model_servers": {"vars": {"slots": 8, "memory_gib": 32}}, "storage_servers": {"vars": {"disk": "d"}}},
    "vars": {"ansible_user": "admin", "slots": 1},
}

Manage = Callable[..., InventoryData]


def plugin() -> Any:
    """As Ansible makes it, but by the file's path: the other tests import the collection in Python's own way."""
    inventory_loader.add_directory(str(Path(terraform.__file__).parent))
    made = inventory_loader.get("terraform")
    made._redirected_names = [NAME]
    return made


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*os.environ]:
        if name.startswith(("TF_", "ANSIBLE_CACHE", "ANSIBLE_INVENTORY", "LLM_")):
            monkeypatch.delenv(name)
    # Not the folder of the inventory file, where relative paths begin.
    monkeypatch.chdir("/")


@pytest.fixture
def manage(tmp_path: Path) -> Manage:
    """The inventory that a file with these options makes, of the given output."""

    def make(output: Any = FLEET, read_cache: bool = True, **options: Any) -> InventoryData:
        (tmp_path / "output.json").write_text(json.dumps(output))
        source = {} if "project_path" in options else {"output_file": "output.json"}
        path = tmp_path / "terraform.yml"
        path.write_text(yaml.safe_dump({"plugin": NAME} | source | options))
        inventory, reader = InventoryData(), plugin()
        reader.parse(inventory, DataLoader(), str(path), read_cache)
        # What InventoryManager does then.
        if options.get("cache"):
            reader.update_cache_if_changed()
        inventory.reconcile_inventory()
        return inventory

    return make


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A directory whose command answers what `answer.json` has, and counts how often it is asked."""
    directory = tmp_path / "root"
    directory.mkdir()
    command = directory / "terraform"
    command.write_text('#!/bin/sh\necho "$TF_WORKSPACE" >>asked\ncat answer.json\n')
    command.chmod(0o755)
    answer(directory, FLEET)
    return directory


def answer(project: Path, output: Any) -> None:
    outputs = {"ansible_inventory": {"sensitive": False, "type": "dynamic", "value": output}}
    (project / "answer.json").write_text(json.dumps(outputs))


def asked(project: Path) -> int:
    return len((project / "asked").read_text().splitlines())


def in_group(inventory: InventoryData, group: str) -> list[str]:
    return sorted(host.name for host in inventory.groups[group].get_hosts())


def variables(inventory: InventoryData, host: str) -> dict[str, Any]:
    return dict(inventory.get_host(host).get_vars())


def error_of(manage: Manage, capsys: pytest.CaptureFixture[str], tmp_path: Path, **given: Any) -> str:
    """The one line that ends the program."""
    with pytest.raises(SystemExit) as caught:
        manage(**given)
    assert caught.value.code == 4
    (line,) = capsys.readouterr().err.strip().splitlines()
    _, _, message = line.partition(f"{tmp_path / 'terraform.yml'}: ")
    assert message
    return message


def test_hosts_groups_and_variables(manage: Manage) -> None:
    inventory = manage()
    assert sorted(inventory.hosts) == ["gw-1", "model-1"]
    assert set(inventory.groups) == {
        "all", "ungrouped", "gateway", "cache_servers", "model_servers", "storage_servers",
    }  # fmt: skip
    assert in_group(inventory, "gateway") == in_group(inventory, "cache_servers") == ["gw-1"]
    assert in_group(inventory, "model_servers") == ["model-1"]
    assert in_group(inventory, "storage_servers") == in_group(inventory, "ungrouped") == []
    gateway = variables(inventory, "gw-1")
    assert (gateway["ansible_host"], gateway["zone"]) == ("10.0.1.10", "eu-1a")
    assert inventory.groups["model_servers"].get_vars() == {"slots": 8, "memory_gib": 32}
    assert inventory.groups["storage_servers"].get_vars() == {"disk": "d"}
    assert inventory.groups["all"].get_vars() == {"ansible_user": "admin", "slots": 1}


def test_constructed_groups_and_variables_see_those_of_groups_too(manage: Manage) -> None:
    inventory = manage(
        strict=True,
        compose={"ansible_host": "'internal-' ~ inventory_hostname", "room": "slots * 2"},
        groups={"large": "memory_gib | default(0) >= 64", "roomy": "room | int > 10"},
        keyed_groups=[{"key": "zone", "prefix": "zone", "parent_group": "zones"}],
    )  # fmt: skip
    assert variables(inventory, "model-1")["ansible_host"] == "internal-model-1"
    # Before ansible-core 2.19 what is composed is text.
    assert [int(variables(inventory, host)["room"]) for host in ("gw-1", "model-1")] == [2, 16]
    assert in_group(inventory, "large") == in_group(inventory, "roomy") == ["model-1"]
    assert in_group(inventory, "zone_eu_1a") == ["gw-1"]
    assert in_group(inventory, "zones") == ["gw-1", "model-1"]


def test_strict_makes_an_error_of_what_is_left_out_otherwise(
    manage: Manage, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    groups = {"large": "memory_gib >= 64"}
    fleet = {key: value for key, value in FLEET.items() if key != "groups"}
    assert in_group(manage(fleet, groups=groups), "large") == ["model-1"]
    message = error_of(manage, capsys, tmp_path, output=fleet, groups=groups, strict=True)
    assert message.startswith("Could not add host gw-1 to group large: ")


TEMPLATE = "{{ 'forty' ~ 'two' }}"


@pytest.mark.parametrize(("trusted", "value"), [(False, TEMPLATE), (True, "fortytwo")])
def test_text_from_terraform_is_a_template_only_if_trusted(manage: Manage, trusted: bool, value: str) -> None:
    host = {"address": "10.0.1.10", "groups": ["gateway"], "vars": {"text": [TEMPLATE]}}
    output = {
        "version": 1,
        "hosts": {"gw-1": host},
        "vars": {"text": TEMPLATE},
        "groups": {"gateway": {"vars": {"text": {"a": TEMPLATE}}}},
    }
    inventory = manage(output, trust_templates=trusted, compose={"copy": "text[0] ~ '!'"})
    of_host = variables(inventory, "gw-1")
    templar = Templar(loader=DataLoader(), variables=of_host)
    assert templar.template(of_host["text"]) == [value]
    assert templar.template(inventory.groups["all"].get_vars()["text"]) == value
    assert templar.template(inventory.groups["gateway"].get_vars()["text"]) == {"a": value}
    # What is made of it is no template either.
    assert templar.template(of_host["copy"]) == value + "!"


def test_what_json_readers_of_ansible_take_for_an_object_is_plain_data(manage: Manage, project: Path) -> None:
    secret = {"__ansible_vault": "$ANSIBLE_VAULT;1.1;AES256\n00"}
    unsafe = {"__ansible_unsafe": TEMPLATE}
    output = json.loads(json.dumps(FLEET))
    output["hosts"]["gw-1"]["vars"] = {"secret": secret, "unsafe": unsafe}
    answer(project, output)
    cache = {"cache": True, "cache_plugin": "jsonfile", "cache_connection": str(project / "cache")}
    for _ in range(2):
        inventory = manage(project_path="root", binary_path="root/terraform", **cache)
        got = variables(inventory, "gw-1")
        assert (got["secret"], got["unsafe"]) == (secret, unsafe)
    assert asked(project) == 1


def test_nothing_is_kept_without_a_cache(manage: Manage, project: Path) -> None:
    for _ in range(2):
        manage(project_path="root", binary_path="root/terraform")
    assert asked(project) == 2


def test_the_cache_is_asked_first_and_can_be_passed_over(manage: Manage, project: Path, tmp_path: Path) -> None:
    def run(**options: Any) -> str:
        options |= {"cache": True, "cache_plugin": "jsonfile", "cache_connection": str(tmp_path / "c")}
        inventory = manage(project_path="root", binary_path="root/terraform", **options)
        return str(variables(inventory, "gw-1")["ansible_host"])

    assert run() == "10.0.1.10"
    answer(project, {"version": 1, "hosts": {"gw-1": {"address": "10.0.1.11", "groups": ["gateway"]}}})
    assert (run(), asked(project)) == ("10.0.1.10", 1)
    # Another workspace is another fleet, and its own entry.
    assert (run(workspace="blue"), asked(project)) == ("10.0.1.11", 2)
    assert (run(), asked(project)) == ("10.0.1.10", 2)
    # As --flush-cache does it.
    assert (run(read_cache=False), asked(project)) == ("10.0.1.11", 3)
    assert (run(), asked(project)) == ("10.0.1.11", 3)


def test_an_error_is_not_cached_and_neither_is_an_entry_that_cannot_be_used(
    manage: Manage, project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options: dict[str, Any] = {"project_path": "root", "binary_path": "root/terraform", "cache": True}
    options |= {"cache_plugin": "jsonfile", "cache_connection": str(tmp_path / "c")}
    answer(project, FLEET | {"hosts": {}})
    assert error_of(manage, capsys, tmp_path, **options).startswith("hosts is empty")
    # Neither is what fails later than the command.
    answer(project, FLEET)
    strict = {"strict": True, "compose": {"a": "nowhere"}}
    assert "Could not set a for host gw-1" in error_of(manage, capsys, tmp_path, **options, **strict)
    assert not any((tmp_path / "c").iterdir())

    assert sorted(manage(**options).hosts) == ["gw-1", "model-1"]
    (entry,) = (tmp_path / "c").iterdir()
    for spoilt in ('{"output": "{}"}', '{"output": "x"}', '{"output": 1}', "{}"):
        before = asked(project)
        entry.write_text(spoilt)
        assert sorted(manage(**options).hosts) == ["gw-1", "model-1"]
        assert asked(project) == before + 1


def test_files_are_read_anew_each_time(manage: Manage, tmp_path: Path) -> None:
    cache = {"cache": True, "cache_plugin": "jsonfile", "cache_connection": str(tmp_path / "c")}
    manage(**cache)
    fewer = FLEET | {"hosts": {"gw-1": FLEET["hosts"]["gw-1"]}}
    assert sorted(manage(fewer, **cache).hosts) == ["gw-1"]


def test_a_state_file_in_another_folder_with_another_name_of_the_output(manage: Manage, tmp_path: Path) -> None:
    state = {"version": 4, "outputs": {"fleet": {"value": FLEET, "type": "dynamic", "sensitive": True}}}
    (tmp_path / "states").mkdir()
    (tmp_path / "states" / "terraform.tfstate").write_text(json.dumps(state))
    inventory = manage(output_file=None, state_file="states/terraform.tfstate", output_name="fleet")
    assert sorted(inventory.hosts) == ["gw-1", "model-1"]


def test_settings_from_the_environment(manage: Manage, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLM_ORCHESTRATOR_TERRAFORM_BINARY", str(project / "terraform"))
    monkeypatch.setenv("TF_WORKSPACE", "blue")
    manage(project_path="root")
    manage(project_path="root", workspace="green")
    assert (project / "asked").read_text() == "blue\ngreen\n"


def test_extra_groups(manage: Manage, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = json.loads(json.dumps(FLEET))
    output["hosts"]["gw-1"]["groups"] = ["bastion"]
    assert in_group(manage(output, extra_groups=["bastion"]), "bastion") == ["gw-1"]
    assert error_of(manage, capsys, tmp_path, output=output) == (
        "hosts.gw-1.groups[0]: the group bastion is none of cache_servers, gateway, model_servers, monitoring_servers,"
        " storage_servers; correct it in Terraform, or list it in extra_groups"
    )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"workpsace": "blue"}, "there is no option workpsace; ansible-doc -t inventory llm.orchestrator"),
        ({"state_file": "a"}, "output_file and state_file exclude each other; give the one that is to be read"),
        ({"workspace": "blue"}, "workspace goes with project_path, not with output_file; remove it"),
        ({"project_path": ".", "timeout": 0}, "timeout is 0; it has to be above 0 seconds"),
        ({"project_path": ".", "timeout": "soon"}, "soon"),
        ({"project_path": "nowhere"}, "project_path: {0}/nowhere is no directory; name the one with your T"),
        ({"project_path": ".", "binary_path": "./tofu"}, "binary_path: there is no command {0}/tofu; install it, or"),
        ({"output_file": "nowhere.json"}, "output_file: {0}/nowhere.json isn't there; write it, or correct the path"),
        ({"extra_groups": ["a-b"]}, "extra_groups: 'a-b' can't be the name of a group"),
        ({"output": {"version": 1, "hosts": {}}}, "hosts is empty, so there is nothing to deploy to"),
        ({"output": FLEET | {"vars": {"ansible_group_priority": "x"}}}, "vars.ansible_group_priority has to be a"),
        ({"keyed_groups": ["zone"], "strict": True}, "Invalid keyed group entry, it must be a dictionary"),
    ],
)  # fmt: skip
def test_mistakes_in_the_file_end_the_program(
    given: dict[str, Any], message: str, manage: Manage, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message.format(tmp_path) in error_of(manage, capsys, tmp_path, **given)


@pytest.mark.parametrize(
    "constructed", [{"groups": {"front": "true"}}, {"keyed_groups": [{"key": "'front'", "separator": ""}]}]
)
def test_a_constructed_group_named_like_a_host(
    constructed: dict[str, Any], manage: Manage, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = {"version": 1, "hosts": {"front": {"address": "10.0.1.10", "groups": ["gateway"]}}}
    assert error_of(manage, capsys, tmp_path, output=output, **constructed) == (
        "front is the name of a host and of a group; rename one of the two"
    )
    # A group's name is made valid, and so it isn't the host's any more.
    assert in_group(manage(groups={"gw-1": "true"}), "gw_1") == ["gw-1", "model-1"]


@pytest.mark.parametrize(
    ("name", "content", "takes"),
    [
        ("terraform.yml", "plugin: anything", True),
        ("fleet.terraform.yaml", "", True),
        ("fleet.yml", f"plugin: {NAME}", True),
        ("fleet.yaml", f'# first\nextra_groups: [a]\n"plugin": "{NAME}"  # ours\npassword: !vault x', True),
        ("fleet.yml", f"{{plugin: {NAME}}}", True),
        ("fleet.yml", "plugin: cloud.terraform.terraform_state", False),
        ("fleet.yml", f"- plugin: {NAME}", False),
        ("fleet.yml", "all: {hosts: {a: }}", False),
        ("fleet.yml", "{", False),
        ("fleet.yml", "\x00", False),
        ("terraform.json", "{}", False),
        ("fleet.ini", f"plugin: {NAME}", False),
    ],
)
def test_which_files_it_takes(name: str, content: str, takes: bool, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    assert plugin().verify_file(str(tmp_path / name)) is takes


def test_a_file_that_is_not_there_is_not_taken(tmp_path: Path) -> None:
    assert not plugin().verify_file(str(tmp_path / "terraform.yml"))


@pytest.mark.parametrize("content", ["all: {hosts: {a: }}", "plugin: cloud.terraform.terraform_state", "- a"])
def test_what_is_not_its_own_is_left_to_other_plugins(content: str, tmp_path: Path) -> None:
    path = tmp_path / "terraform.yml"
    path.write_text(content)
    with pytest.raises(AnsibleParserError, match=f"{path} has no line 'plugin: {NAME}'"):
        plugin().parse(InventoryData(), DataLoader(), str(path))
