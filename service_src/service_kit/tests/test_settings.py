from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import Field, SecretStr, model_validator
from pydantic_settings import SettingsConfigDict

from service_kit.settings import ServiceSettings, fail, load, settings_config


class PotSettings(ServiceSettings):
    model_config = settings_config("POT_")

    port: int = 8000
    size: int = Field(default=1, ge=1)
    colours: list[str] = Field(default_factory=list)
    password: SecretStr | None = Field(default=None, min_length=8)

    @model_validator(mode="after")
    def _check_colours(self) -> PotSettings:
        if len(self.colours) > self.size:
            raise ValueError("POT_COLOURS has more entries than POT_SIZE")
        return self


class NeedySettings(ServiceSettings):
    model_config = settings_config("NEEDY_")


def _refusal(settings: type[ServiceSettings], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as exit_info:
        load(settings, "pots")
    assert exit_info.value.code == 2
    return capsys.readouterr().err


def test_a_setting_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POT_SIZE", "7")
    monkeypatch.setenv("POT_COLOURS", '["red"]')
    settings = load(PotSettings, "pots")
    assert (settings.size, settings.colours, settings.log_level) == (7, ["red"], "info")


def test_a_secret_comes_from_a_file_without_its_line_end(tmp_path: Path) -> None:
    (tmp_path / "pot_password").write_text("correct horse\n")

    class FileSettings(PotSettings):
        model_config = SettingsConfigDict(env_prefix="POT_", secrets_dir=tmp_path)

    password = load(FileSettings, "pots").password
    assert password is not None
    assert password.get_secret_value() == "correct horse"


def test_a_wrong_setting_ends_the_process_with_one_line_that_names_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("POT_SIZE", "0")
    assert _refusal(PotSettings, capsys) == (
        "pots: setting POT_SIZE: Input should be greater than or equal to 1 (got '0')\n"
    )


def test_each_wrong_setting_has_its_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("POT_SIZE", "small")
    monkeypatch.setenv("POT_LOG_LEVEL", "loud")
    lines = _refusal(PotSettings, capsys).splitlines()
    assert [line.split(": ")[1] for line in lines] == ["setting POT_LOG_LEVEL", "setting POT_SIZE"]


def test_a_missing_setting_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert _refusal(NeedySettings, capsys) == "pots: setting NEEDY_PORT: Field required\n"


def test_a_rule_over_several_settings_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("POT_COLOURS", '["red", "blue"]')
    assert _refusal(PotSettings, capsys) == (
        "pots: settings: Value error, POT_COLOURS has more entries than POT_SIZE\n"
    )


def test_a_list_that_is_not_json_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("POT_COLOURS", "red")
    message = _refusal(PotSettings, capsys)
    assert message.startswith("pots: settings: ")
    assert "colours" in message
    assert message.count("\n") == 1


def test_a_wrong_secret_is_not_shown(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("POT_PASSWORD", "hunter2")
    message = _refusal(PotSettings, capsys)
    assert "setting POT_PASSWORD: " in message
    assert "hunter2" not in message


def test_a_long_value_is_shortened(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("POT_SIZE", "x" * 5000)
    assert len(_refusal(PotSettings, capsys)) < 250


def test_fail_prints_its_line_and_exits_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_info:
        fail("pots", "/models/a.gguf is not there; check POT_MODEL")
    assert exit_info.value.code == 2
    assert capsys.readouterr().err == "pots: /models/a.gguf is not there; check POT_MODEL\n"


def test_a_password_in_a_url_is_not_shown(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("POT_SIZE", "redis://user:hunter2@pots:1/0")
    assert "(got 'redis://user:***@pots:1/0')" in _refusal(PotSettings, capsys)
