"""Settings from environment variables and secret files, validated before anything starts."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Literal, NoReturn, TypeVar

from pydantic import Field, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

_URL_PASSWORD = re.compile(r"(://[^/@]*?):[^/@]*@")
SECRETS_DIR = Path("/run/secrets")


def settings_config(prefix: str) -> SettingsConfigDict:
    """Reads ``<PREFIX><FIELD>`` from the environment, or a file of that name (lower case) in /run/secrets."""
    return SettingsConfigDict(
        env_prefix=prefix,
        secrets_dir=SECRETS_DIR if SECRETS_DIR.is_dir() else None,
        extra="ignore",
        frozen=True,
    )


class ServiceSettings(BaseSettings):
    """The settings every service has; each service adds its own in a subclass."""

    host: str = "0.0.0.0"
    port: int = Field(ge=1, le=65535)
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    max_body_bytes: int = Field(default=1 << 20, ge=1, description="Larger request bodies get a 413")
    drain_grace_seconds: float = Field(
        default=5.0,
        ge=0,
        le=300,
        description="After SIGTERM: how long requests are still accepted while /health/ready already fails",
    )
    drain_timeout_seconds: int = Field(
        default=600, ge=1, description="After the grace: how long requests in flight may take to finish"
    )


Settings = TypeVar("Settings", bound=ServiceSettings)


def load(settings: type[Settings], service: str) -> Settings:
    """Builds the settings; on a wrong or missing one prints a line for each and exits with status 2."""
    try:
        return settings()  # type: ignore[call-arg]  # the fields come from the environment
    except ValidationError as error:
        for detail in error.errors():
            print(f"{service}: {_described(settings, detail)}", file=sys.stderr)
        sys.exit(2)
    except SettingsError as error:  # a list or an object that is not JSON
        print(f"{service}: settings: {error}: {error.__cause__}", file=sys.stderr)
        sys.exit(2)


def fail(service: str, message: str) -> NoReturn:
    """Ends the process for a condition found at start, with one line that says what to do."""
    print(f"{service}: {message}", file=sys.stderr)
    sys.exit(2)


def _described(settings: type[ServiceSettings], detail: ErrorDetails) -> str:
    if not detail["loc"]:  # a rule that spans settings; its message names them
        return f"settings: {detail['msg']}"
    prefix = str(settings.model_config.get("env_prefix", "")).upper()
    name = prefix + "_".join(str(part) for part in detail["loc"]).upper()
    field = settings.model_fields.get(str(detail["loc"][0]))
    hidden = detail["type"] == "missing" or (field and "Secret" in str(field.annotation))
    got = "" if hidden else f" (got {_shown(detail['input'])})"
    return f"setting {name}: {detail['msg']}{got}"


def _shown(value: object) -> str:
    text = _URL_PASSWORD.sub(r"\1:***@", repr(value))
    return text if len(text) <= 80 else text[:77] + "..."
