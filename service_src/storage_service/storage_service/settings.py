"""What the environment may set, under the prefix STORAGE_."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from service_kit.settings import ServiceSettings, settings_config


class StorageSettings(ServiceSettings):
    model_config = settings_config("STORAGE_")

    port: int = Field(default=5002, ge=1, le=65535)
    root: Path = Field(default=Path("/data"), description="The volume that holds the files")
    max_file_bytes: int = Field(default=64 << 30, ge=1, description="Larger files get a 413")
    min_free_bytes: int = Field(
        default=1 << 30,
        ge=0,
        description="Space on the volume that uploads never use; they get a 507 instead",
    )
    io_threads: int = Field(default=16, ge=1, le=256, description="File operations that run at the same time")
    upload_idle_seconds: float = Field(
        default=60.0, gt=0, description="An upload that sends nothing for this long is given up with a 408"
    )
