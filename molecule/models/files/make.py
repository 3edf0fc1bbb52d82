"""make.py DIRECTORY: the modules' EXAMPLES as files of tasks, and two small models in F16 with their digests."""

from __future__ import annotations

import hashlib
import sys
from importlib import import_module
from pathlib import Path

import yaml
from ansible_collections.llm.orchestrator.tests.unit.plugins.module_utils.gguf_files import (
    llama_pairs,
    llama_tensors,
    model,
)

MODULES = ("model_download", "model_info", "model_quantization")

made = Path(sys.argv[1])
made.mkdir(parents=True, exist_ok=True)
for name in MODULES:
    examples = import_module(f"ansible_collections.llm.orchestrator.plugins.modules.{name}").EXAMPLES
    tasks = yaml.safe_load(examples)
    removing = [task for task in tasks if task.get(f"llm.orchestrator.{name}", {}).get("state") == "absent"]
    (made / f"{name}.yml").write_text(yaml.safe_dump([task for task in tasks if task not in removing]))
    (made / f"{name}_absent.yml").write_text(yaml.safe_dump(removing))

# Their heads are 32 wide, so their KV caches can be of 8 bits.
for name, fill in (("house-model", b"h"), ("hub-model", b"q")):
    content = model(llama_tensors("F16", layers=2, width=256), llama_pairs(2, width=256), fill=fill)
    (made / f"{name}.gguf").write_bytes(content)
    (made / f"{name}.gguf.sha256").write_text(hashlib.sha256(content).hexdigest())
