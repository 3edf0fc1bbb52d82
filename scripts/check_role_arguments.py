"""Checks that each role's public defaults and its argument_specs name the same options."""

from __future__ import annotations

import sys
from pathlib import Path

import yaml


def load(path: Path) -> dict:
    return yaml.safe_load(path.read_text()) or {} if path.exists() else {}


def differences(role: Path) -> list[str]:
    options = load(role / "meta" / "argument_specs.yml")["argument_specs"]["main"].get("options", {})
    required = {name for name, option in options.items() if option.get("required")}
    defaults = load(role / "defaults" / "main.yml").keys()
    return [
        *(f"{role.name}: {name} has a default and no argument_spec" for name in sorted(defaults - options.keys())),
        *(
            f"{role.name}: {name} has an argument_spec and no default"
            for name in sorted(options.keys() - defaults - required)
        ),
    ]


def main() -> int:
    roles = sorted(path for path in Path("roles").iterdir() if path.is_dir())
    found = [line for role in roles for line in differences(role)]
    print("\n".join(found) if found else f"{len(roles)} roles: defaults and argument_specs agree")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
