# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Commands are small scripts here; tests/integration/inventory has the real terraform."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleParserError
from ansible_collections.llm.orchestrator.plugins.plugin_utils._terraform_output import (
    TerraformProject,
    read_output_file,
    read_state_file,
)

NAME = "ansible_inventory"
VALUE = {"version": 1, "hosts": {}}
WRAPPED = {NAME: {"sensitive": True, "type": "dynamic", "value": VALUE}, "zone": {"type": "string", "value": "s3cret"}}
# As terraform shows it in a terminal.
FRAMED = """\
\x1b[33m╷\x1b[0m
│ Warning: Deprecated
╵
\x1b[31m╷\x1b[0m
│ \x1b[1mError: \x1b[0mBackend initialization required,
│ please run "terraform init"
╵
"""


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*os.environ]:
        if name.startswith("TF_"):
            monkeypatch.delenv(name)


@pytest.fixture
def script(tmp_path: Path) -> Callable[..., str]:
    """Make a command of a shell script."""

    def make(text: str, name: str = "terraform") -> str:
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
        return str(path)

    return make


@pytest.fixture
def typed() -> Iterator[None]:
    """Somebody has typed an answer beforehand."""
    kept, (reader, writer) = os.dup(0), os.pipe()
    os.write(writer, b"yes\n")
    os.close(writer)
    os.dup2(reader, 0)
    yield
    os.dup2(kept, 0)
    os.close(kept)
    os.close(reader)


@pytest.fixture
def project(tmp_path: Path) -> TerraformProject:
    directory = tmp_path / "root"
    directory.mkdir()
    return TerraformProject(directory, binary=None, workspace=None, timeout=20)


@pytest.fixture
def written(tmp_path: Path) -> Callable[[Any], Path]:
    def write(content: Any) -> Path:
        path = tmp_path / "given.json"
        path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
        return path

    return write


def answering(value: Any) -> str:
    # A builtin of the shell, for where PATH has nothing else.
    return f"printf %s '{json.dumps(value)}'"


def refused(project: TerraformProject) -> str:
    with pytest.raises(AnsibleParserError) as caught:
        project.output(NAME)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.usefixtures("typed")
def test_the_command_is_run_in_the_directory_and_never_asks(
    project: TerraformProject, script: Callable[..., str], tmp_path: Path
) -> None:
    binary = script(
        f'echo "$PWD" "$@" "$TF_INPUT" "$TF_WORKSPACE" >{tmp_path}/seen; cat >>{tmp_path}/seen\n{answering(WRAPPED)}'
    )
    assert replace(project, binary=binary, workspace="blue").output(NAME) == VALUE
    assert (tmp_path / "seen").read_text() == f"{project.directory} output -json -no-color 0 blue\n"


def test_terraform_is_taken_before_tofu(
    project: TerraformProject, script: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    for command in ("terraform", "tofu"):
        script(answering({NAME: {"type": "string", "value": f"of {command}"}}), command)
    assert project.output(NAME) == "of terraform"
    assert replace(project, binary="tofu").output(NAME) == "of tofu"
    (tmp_path / "bin" / "terraform").unlink()
    assert project.output(NAME) == "of tofu"


def test_no_command_at_all(project: TerraformProject, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert refused(project) == (
        "neither terraform nor tofu is on PATH; install one, name it in binary_path, or read a file with output_file or"
        " state_file"
    )
    missing = replace(project, binary="/opt/nowhere/terraform")
    assert refused(missing).startswith("binary_path: there is no command /opt/nowhere/terraform; install it")


def test_a_command_that_is_no_program(project: TerraformProject, tmp_path: Path) -> None:
    path = tmp_path / "terraform"
    path.write_bytes(b"\x7fELF but not really")
    path.chmod(0o755)
    assert refused(replace(project, binary=str(path))).startswith(f"{path} can't be run: ")


def test_a_directory_that_is_not_there(project: TerraformProject) -> None:
    assert refused(replace(project, directory=Path("/nowhere"))) == (
        "project_path: /nowhere is no directory; name the one with your Terraform root"
    )


def test_the_command_s_own_message_is_passed_on_without_its_frame(
    project: TerraformProject, script: Callable[..., str]
) -> None:
    binary = script(f"cat >&2 <<'TEXT'\n{FRAMED}TEXT\nexit 1")
    assert refused(replace(project, binary=binary, workspace="blue")) == (
        f"`TF_WORKSPACE=blue terraform -chdir={project.directory} output -json -no-color` failed with exit code 1:"
        ' Error: Backend initialization required, please run "terraform init"'
    )


@pytest.mark.parametrize(
    ("says", "passed_on"),
    [("", "it said nothing"), ("out of memory", "out of memory"), ("Error: " + "x" * 700, "x" * 593 + " …")],
)
def test_a_message_of_any_other_form(
    project: TerraformProject, script: Callable[..., str], says: str, passed_on: str
) -> None:
    binary = script(f"printf %s '{says}' >&2; exit 3")
    message = refused(replace(project, binary=binary))
    assert "failed with exit code 3: " in message
    assert message.endswith(passed_on)


def test_a_command_that_hangs_is_stopped_with_all_that_it_started(
    project: TerraformProject, script: Callable[..., str], tmp_path: Path
) -> None:
    binary = script(f"sleep 300 & echo $! >{tmp_path}/child; wait")
    started = time.monotonic()
    message = refused(replace(project, binary=binary, timeout=0.5))
    assert "didn't end within 0.5 s; run it by hand to see what it waits for, or raise timeout" in message
    assert time.monotonic() - started < 150
    child = int((tmp_path / "child").read_text())
    deadline = time.monotonic() + 60
    while _runs(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _runs(child)


def _runs(pid: int) -> bool:
    try:
        # Of a process whose parent is gone, init may not have taken the status yet.
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("echo 'Notice: hello'", "output -json` is no JSON: Expecting value in line 1, column 1"),
        ("echo '{\"a\":'", "is no JSON: Expecting value in line 2, column 1"),
        ("echo '[]'", "holds no outputs as terraform output -json writes them"),
        (answering(VALUE), "holds no outputs as terraform output -json writes them"),
    ],
)
def test_an_answer_that_is_not_understood(
    project: TerraformProject, script: Callable[..., str], answer: str, message: str
) -> None:
    assert message in refused(replace(project, binary=script(answer)))


def test_an_output_that_is_not_there_and_those_that_are(project: TerraformProject, script: Callable[..., str]) -> None:
    outputs = dict.fromkeys(("zone", "address"), WRAPPED["zone"])
    assert refused(replace(project, binary=script(answering(outputs)), workspace="blue")) == (
        f"the Terraform state of {project.directory} (workspace blue) has no output ansible_inventory (there are"
        " address, zone); add it to the Terraform root and run terraform apply"
    )


@pytest.mark.parametrize(
    ("configuration", "state", "message"),
    [
        (None, "", "{0} has no Terraform configuration and no outputs; check project_path"),
        (
            "main.tf",
            "",
            "there is no Terraform state in workspace default of {0}; run terraform init and terraform apply,",
        ),
        (
            "main.tofu",
            '{"version": 4}',
            "the Terraform state in workspace default of {0} has no outputs; run terraform a",
        ),
    ],
)
def test_no_outputs_at_all_has_one_of_three_reasons(
    project: TerraformProject, script: Callable[..., str], configuration: str | None, state: str, message: str
) -> None:
    # Each of them makes `terraform output -json` answer {} and succeed.
    binary = script(f"""case "$1" in output) echo '{{}}' ;; state) printf %s '{state}' ;; esac""")
    if configuration:
        (project.directory / configuration).touch()
    assert refused(replace(project, binary=binary)).startswith(message.format(project.directory))


def test_the_workspace_is_the_given_or_the_selected_one(
    project: TerraformProject, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert project.selected_workspace() == "default"
    data = project.directory / ".terraform"
    data.mkdir()
    (data / "environment").write_text("blue")
    assert project.selected_workspace() == "blue"
    assert replace(project, workspace="green").selected_workspace() == "green"
    monkeypatch.setenv("TF_DATA_DIR", str(tmp_path / "elsewhere"))
    assert project.selected_workspace() == "default"


def test_the_fingerprint_is_another_for_another_state(
    project: TerraformProject, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen = [project.fingerprint()]
    assert project.fingerprint() == seen[0]

    other = tmp_path / "other"
    other.mkdir()
    seen += [
        replace(project, directory=other).fingerprint(),
        replace(project, binary="tofu").fingerprint(),
        replace(project, workspace="green").fingerprint(),
    ]
    data = project.directory / ".terraform"
    data.mkdir()
    (data / "environment").write_text("blue")
    seen.append(project.fingerprint())
    (data / "terraform.tfstate").write_text('{"backend": {"hash": 1}}')
    seen.append(project.fingerprint())
    (data / "terraform.tfstate").write_text('{"backend": {"hash": 2}}')
    seen.append(project.fingerprint())
    monkeypatch.setenv("TF_CLI_ARGS_output", "-state=other.tfstate")
    seen.append(project.fingerprint())
    assert len({tuple(fingerprint) for fingerprint in seen}) == len(seen) == 8


@pytest.mark.parametrize("content", [WRAPPED, VALUE])
def test_a_saved_file_has_all_outputs_or_just_the_one(content: Any, written: Callable[[Any], Path]) -> None:
    assert read_output_file(written(content), NAME) == VALUE


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_saved_file_in_what_powershell_writes(encoding: str, written: Callable[[Any], Path]) -> None:
    assert read_output_file(written(json.dumps(WRAPPED).encode(encoding)), NAME) == VALUE


def test_a_state_file_has_the_output(written: Callable[[Any], Path]) -> None:
    state = {"version": 4, "terraform_version": "1.11.4", "outputs": WRAPPED, "resources": [], "check_results": None}
    assert read_state_file(written(state), NAME) == VALUE
    assert read_state_file(written(state), "zone") == "s3cret"


STATE = {"version": 4, "terraform_version": "1.11.4"}
ADVICE = "; add it to the Terraform root and run terraform apply"


@pytest.mark.parametrize(
    ("read", "content", "message"),
    [
        (
            read_output_file,
            b" \n",
            "output_file: {0} is empty; the command that should have written it may have failed",
        ),
        (read_output_file, b'{"a": 1', "{0} is no JSON: Expecting ',' delimiter in line 1, column 8"),
        (read_output_file, b"\x93\xfa\x96\x7b", "{0} is no JSON: it isn't text in UTF-8, UTF-16 or UTF-32"),
        (read_output_file, [], "{0} has to hold a JSON object"),
        (read_output_file, {}, "{0} has no output ansible_inventory (there are no outputs at all)" + ADVICE),
        (read_output_file, {"a": WRAPPED["zone"]}, "{0} has no output ansible_inventory (there are a)" + ADVICE),
        (
            read_output_file,
            STATE | {"outputs": WRAPPED},
            "{0} is a state; name it in state_file instead of output_file",
        ),
        (read_output_file, {"format_version": "1.0"}, "{0} is the answer of terraform show; write it with"),
        (read_state_file, b"", "state_file: {0} is empty"),
        (read_state_file, b"{", "{0} is no JSON: Expecting property name"),
        (
            read_state_file,
            STATE | {"outputs": {}},
            "the state {0} has no output ansible_inventory (there are no outputs",
        ),
        (
            read_state_file,
            STATE | {"outputs": {"a": WRAPPED["zone"]}},
            "the state {0} has no output ansible_inventory (t",
        ),
        (read_state_file, STATE, "{0} is no state: its outputs are no object of outputs"),
        (read_state_file, STATE | {"outputs": {"a": 1}}, "{0} is no state: its outputs are no object of outputs"),
        (
            read_state_file,
            {"version": 3, "modules": []},
            "{0} has version 3, not 4, which is what Terraform 0.12 and la",
        ),
        (read_state_file, WRAPPED, "{0} has no version of the format, not 4"),
        (
            read_state_file,
            {"version": 3, "backend": {}},
            "{0} only says where the state is kept, which is not in a file;",
        ),
        (read_state_file, {"meta": {}, "encrypted_data": "x"}, "{0} is encrypted; read it with project_path, through"),
    ],
)
def test_a_file_that_is_not_what_it_should_be(
    read: Callable[[Path, str], Any], content: Any, message: str, written: Callable[[Any], Path]
) -> None:
    path = written(content)
    with pytest.raises(AnsibleParserError, match=re.escape(message.format(path))) as caught:
        read(path, NAME)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("read", "option"), [(read_output_file, "output_file"), (read_state_file, "state_file")], ids=["output", "state"]
)
def test_a_file_that_is_not_there(read: Callable[[Path, str], Any], option: str, tmp_path: Path) -> None:
    with pytest.raises(AnsibleParserError, match=f"^{option}: /nowhere/x isn't there; write it, or correct the path"):
        read(Path("/nowhere/x"), NAME)
    with pytest.raises(AnsibleParserError, match=f"^{option}: {tmp_path} can't be read: Is a directory"):
        read(tmp_path, NAME)
