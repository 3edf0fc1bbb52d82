# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: terraform
short_description: Hosts that Terraform has provisioned
version_added: 0.1.0
author: llm.orchestrator contributors (@llm-orchestrator)
description:
  - Makes an inventory of one output of Terraform or OpenTofu, by default C(ansible_inventory), which holds the hosts
    with their addresses, groups and variables.
  - Reads it through the command, from a saved JSON file, or from a state file.
  - No output, no hosts, a state that isn't there, a mistake in the output or in this file end the program with one line
    that says so. There is never an empty inventory.
  - The file's name ends with C(terraform.yml) or C(terraform.yaml), or it holds
    C(plugin) V(llm.orchestrator.terraform) and ends with C(.yml) or C(.yaml).
options:
  plugin:
    description: Says that the file is for this plugin.
    type: str
    required: true
    choices: [llm.orchestrator.terraform]
  project_path:
    description:
      - Directory of the Terraform root, in which C(terraform output -json) is run.
      - Relative paths, here and in the other options, begin at the folder of the inventory file.
      - By default that folder itself. Only one of this, O(output_file) and O(state_file) can be given.
    type: str
  output_file:
    description: What C(terraform output -json), or C(terraform output -json ansible_inventory), has written to a file.
    type: str
  state_file:
    description: A state file of version 4, which Terraform 0.12 and later and OpenTofu write.
    type: str
  output_name:
    description: Name of the output.
    type: str
    default: ansible_inventory
  binary_path:
    description:
      - The command, by its name or path.
      - By default C(terraform) if that is on C(PATH), else C(tofu).
    type: str
    env:
      - name: LLM_ORCHESTRATOR_TERRAFORM_BINARY
    ini:
      - section: llm_orchestrator
        key: terraform_binary
  workspace:
    description:
      - Workspace whose state is read.
      - By default the one that is selected in O(project_path).
    type: str
    env:
      - name: TF_WORKSPACE
  timeout:
    description: After how many seconds a command that hasn't ended is stopped, which is an error.
    type: float
    default: 60
    env:
      - name: LLM_ORCHESTRATOR_TERRAFORM_TIMEOUT
    ini:
      - section: llm_orchestrator
        key: terraform_timeout
  extra_groups:
    description:
      - Groups that the output may use beside those of the platform, which are C(gateway), C(model_servers),
        C(cache_servers), C(storage_servers) and C(monitoring_servers). Others are an error, so that a misspelt one
        doesn't leave a service out.
      - Groups that O(groups) and O(keyed_groups) make need not be listed.
    type: list
    elements: str
    default: []
  trust_templates:
    description:
      - Whether Ansible evaluates Jinja2 templates in the variables that come from Terraform.
      - By default they are data and stay as they are, braces and all. Turn it on only if nobody can put text into the
        outputs who may not run commands on this machine.
    type: bool
    default: false
extends_documentation_fragment:
  - constructed
  - inventory_cache
notes:
  - An error ends the program with exit code 4. Ansible by itself would warn and go on without hosts.
  - The cache holds what the command has said. Its key covers the directory, the backend, the workspace, the output, and
    the environment variables C(TF_CLI_ARGS*). Errors are not cached, and files are read anew each time.
  - A cache on disk holds the output in plain text, also if Terraform marks it as sensitive.
"""

EXAMPLES = r"""
---
# inventories/fleet/terraform.yml: through the command, from the directory that terraform apply is run in
plugin: llm.orchestrator.terraform
project_path: ../../terraform/aws

---
# OpenTofu, in a workspace, kept for ten minutes
plugin: llm.orchestrator.terraform
project_path: ../../terraform/aws
binary_path: tofu
workspace: production
cache: true
cache_plugin: ansible.builtin.jsonfile
cache_connection: ~/.cache/ansible-inventory
cache_timeout: 600

---
# On a machine without Terraform: a file that terraform output -json has written
plugin: llm.orchestrator.terraform
output_file: outputs.json

---
# A group for each zone, and the address that another variable holds
plugin: llm.orchestrator.terraform
state_file: ../../terraform/aws/terraform.tfstate
extra_groups: [bastion]
strict: true
keyed_groups:
  - key: availability_zone
    prefix: zone
groups:
  large_models: memory_gib >= 64
compose:
  ansible_host: public_address | default(ansible_host)
"""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from ansible.errors import AnsibleError, AnsibleParserError
from ansible.inventory.data import InventoryData
from ansible.inventory.helpers import get_group_vars
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.inventory import BaseInventoryPlugin, Cacheable, Constructable
from ansible.utils.vars import combine_vars
from ansible_collections.llm.orchestrator.plugins.plugin_utils._template_trust import with_trust
from ansible_collections.llm.orchestrator.plugins.plugin_utils._terraform_fleet import Fleet, known_groups, read_fleet
from ansible_collections.llm.orchestrator.plugins.plugin_utils._terraform_output import (
    TerraformProject,
    read_output_file,
    read_state_file,
)

# With which Ansible's own programs end if they can't read what they were given.
_EXIT_PARSER_ERROR = 4
_SOURCES = ("project_path", "output_file", "state_file")
_FOR_COMMAND = ("binary_path", "workspace", "timeout")


class InventoryModule(BaseInventoryPlugin, Constructable, Cacheable):
    """Turns the output into hosts and groups; what can go wrong is in plugin_utils/_terraform_*.py."""

    NAME = "llm.orchestrator.terraform"

    def verify_file(self, path: str) -> bool:
        """Whether the file is for this plugin, by its name or by what it says."""
        if not super().verify_file(path) or not path.endswith((".yml", ".yaml")):
            return False
        return path.endswith(("terraform.yml", "terraform.yaml")) or _says_plugin(path, self.NAME)

    def parse(self, inventory: InventoryData, loader: DataLoader, path: str, cache: bool = True) -> None:
        """Read the file, then the output that it names, and fill the inventory."""
        super().parse(inventory, loader, path, cache)
        config = loader.load_from_file(path, cache="none")
        if not isinstance(config, dict) or config.get("plugin") != self.NAME:
            # Of another plugin's file this is Ansible's to say.
            raise AnsibleParserError(f"{path} has no line 'plugin: {self.NAME}'")
        try:
            self._check_options(self._read_config_data(path))
            self._fill(path, cache)
        except Exception as error:
            # Raised as it is, it would be a warning, and Ansible would go on with an empty inventory.
            self.display.error(f"{path}: {_one_line(error)}", wrap_text=False)
            raise SystemExit(_EXIT_PARSER_ERROR) from error

    def _check_options(self, config: Mapping[str, Any]) -> None:
        options = self.get_options()
        unknown = sorted(set(config) - set(options))
        if unknown:
            raise AnsibleParserError(
                f"there is no option {', '.join(unknown)}; ansible-doc -t inventory {self.NAME} has them"
            )
        given = [name for name in _SOURCES if options[name]]
        if len(given) > 1:
            raise AnsibleParserError(f"{' and '.join(given)} exclude each other; give the one that is to be read")
        meaningless = [name for name in _FOR_COMMAND if name in config]
        if meaningless and given not in ([], ["project_path"]):
            raise AnsibleParserError(f"{', '.join(meaningless)} goes with project_path, not with {given[0]}; remove it")
        if options["timeout"] <= 0:
            raise AnsibleParserError(f"timeout is {options['timeout']:g}; it has to be above 0 seconds")

    def _fill(self, path: str, cache: bool) -> None:
        known = known_groups(self.get_option("extra_groups"))
        name = self.get_option("output_name")
        if self.get_option("output_file"):
            fleet = read_fleet(read_output_file(self._place(path, "output_file"), name), known)
        elif self.get_option("state_file"):
            fleet = read_fleet(read_state_file(self._place(path, "state_file"), name), known)
        else:
            fleet = self._fleet_of_project(path, name, known, cache)
        self._add(fleet)

    def _place(self, path: str, option: str) -> Path:
        given = os.path.expanduser(os.path.expandvars(self.get_option(option) or "."))
        return Path(os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(path)), given)))

    def _fleet_of_project(self, path: str, name: str, known: frozenset[str], cache: bool) -> Fleet:
        binary = self.get_option("binary_path")
        project = TerraformProject(
            directory=self._place(path, "project_path"),
            binary=str(self._place(path, "binary_path")) if os.sep in (binary or "") else binary,
            workspace=self.get_option("workspace"),
            timeout=self.get_option("timeout"),
        )
        if not self.get_option("cache"):
            return read_fleet(project.output(name), known)

        key = self.get_cache_key("\n".join([path, name, *project.fingerprint()]))
        fleet = self._cached_fleet(key, known) if cache else None
        if fleet is None:
            output = project.output(name)
            fleet = read_fleet(output, known)
            # As text, since cache plugins give some of JSON's objects a meaning.
            self._cache[key] = {"output": json.dumps(output)}
        return fleet

    def get_cache_key(self, path: str) -> str:
        """A file name, with a digest that is long enough not to meet another one."""
        return f"{self.NAME}_{hashlib.sha256(path.encode('utf-8', 'surrogateescape')).hexdigest()}"

    def _cached_fleet(self, key: str, known: frozenset[str]) -> Fleet | None:
        """None if it isn't cached, or if what another release has cached can't be read."""
        try:
            return read_fleet(json.loads(self._cache[key]["output"]), known)
        except (KeyError, TypeError, ValueError, AnsibleParserError):
            return None

    def _add(self, fleet: Fleet) -> None:
        self._check_names(fleet, map(self._sanitize_group_name, self.get_option("groups")))
        self._set("all", fleet.vars)
        for group, variables in fleet.groups.items():
            self.inventory.add_group(group)
            self._set(group, variables)
        for name, host in fleet.hosts.items():
            self.inventory.add_host(name)
            for group in host.groups:
                self.inventory.add_group(group)
                self.inventory.add_child(group, name)
            self._set(name, host.vars | {"ansible_host": host.address})
        for name in fleet.hosts:
            self._construct(name)
        # Which groups keyed_groups makes is known only now.
        self._check_names(fleet)

    def _check_names(self, fleet: Fleet, to_come: Iterable[str] = ()) -> None:
        """Groups may come from other sources too; a name that both have is the group's for Ansible."""
        same = sorted(set(fleet.hosts).intersection([*self.inventory.groups, *to_come]))
        if same:
            raise AnsibleParserError(f"{', '.join(same)} is the name of a host and of a group; rename one of the two")

    def _set(self, entity: str, variables: Mapping[str, Any]) -> None:
        for name, value in variables.items():
            self.inventory.set_variable(entity, name, with_trust(value, self.get_option("trust_templates")))

    def _construct(self, name: str) -> None:
        strict = self.get_option("strict")
        self._set_composite_vars(self.get_option("compose"), self._variables_of(name), name, strict)
        # Anew, with what has just been composed.
        variables = self._variables_of(name)
        self._add_host_to_composed_groups(self.get_option("groups"), variables, name, strict, fetch_hostvars=False)
        self._add_host_to_keyed_groups(self.get_option("keyed_groups"), variables, name, strict, fetch_hostvars=False)

    def _variables_of(self, name: str) -> dict[str, Any]:
        """The host's variables with those of its groups and of all, as a playbook will see them."""
        host = self.inventory.get_host(name)
        groups = [self.inventory.groups["all"], *host.get_groups()]
        return combine_vars(get_group_vars(dict.fromkeys(groups)), host.get_vars())


def _says_plugin(path: str, name: str) -> bool:
    """Whether the file is YAML with that `plugin`. Tags such as !vault don't matter, as nothing is constructed."""
    try:
        root = yaml.compose(Path(path).read_bytes(), Loader=yaml.SafeLoader)
    except (OSError, ValueError, yaml.YAMLError):
        return False
    return isinstance(root, yaml.MappingNode) and any(
        (key.value, value.value) == ("plugin", name) for key, value in root.value
    )


def _one_line(error: Exception) -> str:
    if isinstance(error, AnsibleError):
        return " ".join(str(error).split())
    return f"{type(error).__name__} in the inventory plugin: {' '.join(str(error).split())}"
