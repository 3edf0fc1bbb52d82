"""Writes the tables of inputs and outputs into the READMEs below terraform/, from the variables and outputs themselves.

``--check`` writes nothing, and fails if a table is not as it would be written.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import Any

import hcl2

ROOT = Path("terraform")
DIRECTORIES = (*sorted(ROOT.glob("modules/*")), ROOT / "aws", *sorted(ROOT.glob("examples/*")))
BEGIN = "<!-- Below: written by scripts/terraform_readmes.py. -->"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    stale = []
    for directory in DIRECTORIES:
        readme = directory / "README.md"
        if not readme.exists() or BEGIN not in readme.read_text():
            print(f"{readme} has no line {BEGIN!r}; write it, below what the module is for", file=sys.stderr)
            return 1
        wanted = readme.read_text().split(BEGIN)[0] + BEGIN + "\n\n" + tables(directory)
        if wanted != readme.read_text():
            stale.append(str(readme))
            if not check:
                readme.write_text(wanted)
    if check and stale:
        print(f"not up to date: {', '.join(stale)}; run: python scripts/terraform_readmes.py", file=sys.stderr)
        return 1
    print(f"{len(DIRECTORIES)} READMEs of Terraform: " + (f"wrote {len(stale)}" if stale else "tables are up to date"))
    return 0


def tables(directory: Path) -> str:
    """The inputs and the outputs of the module in the directory, as Markdown."""
    inputs = [
        f"| `{name}` | {described(block)} | {type_of(block)} | {default_of(block)} |"
        for name, block in blocks(directory, "variable")
    ]
    outputs = [f"| `{name}` | {described(block)} |" for name, block in blocks(directory, "output")]
    return "\n".join(
        [
            "| input | what | type | default |",
            "|---|---|---|---|",
            *inputs,
            "",
            "| output | what |",
            "|---|---|",
            *outputs,
            "",
        ]
    )


def blocks(directory: Path, kind: str) -> list[tuple[str, dict[str, Any]]]:
    found = []
    for file in sorted(directory.glob("*.tf")):
        with file.open(encoding="utf-8") as opened:
            for labelled in hcl2.load(opened).get(kind, []):
                found += [(name.strip('"'), block) for name, block in labelled.items()]
    # Those without a default first: they have to be set.
    return sorted(found, key=lambda pair: (kind == "variable" and "default" in pair[1], pair[0]))


def described(block: dict[str, Any]) -> str:
    text = str(block["description"]).strip().strip('"')
    heredoc = re.fullmatch(r"<<-?(\w+)\n(.*?)\s*\1", text, re.DOTALL)
    return " ".join((heredoc[2] if heredoc else text).split()).replace('\\"', '"').replace("|", "\\|")


def type_of(block: dict[str, Any]) -> str:
    # What an object holds is in its description.
    return re.sub(r"\s+", " ", re.sub(r"object\(\{.*\}\)", "object", str(block["type"]).strip("${}"), flags=re.DOTALL))


def default_of(block: dict[str, Any]) -> str:
    if "default" not in block:
        return "**needed**"
    default = block["default"]
    if default is None:
        return "`null`"
    if isinstance(default, list):
        return f"`[{', '.join(str(value) for value in default)}]`" if len(default) <= 4 else "see variables.tf"
    if isinstance(default, dict):
        return "`{}`" if not {key for key in default if not key.startswith("__")} else "see variables.tf"
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


if __name__ == "__main__":
    sys.exit(main())
