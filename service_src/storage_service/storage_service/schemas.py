"""What the routes answer."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field


class FileInfo(BaseModel):
    """A stored file; ``created`` is when the name got its present content."""

    model_config = ConfigDict(from_attributes=True)

    path: str = Field(examples=["models/tiny.gguf"])
    size: int = Field(description="In bytes")
    sha256: str = Field(description="Of the content, in hexadecimal")
    content_type: str
    created: datetime


class FileList(BaseModel):
    """A page of files in the order of their paths."""

    files: list[FileInfo]
    next_after: str | None = Field(description="Pass it as `after` for the next page; null on the last")


class Stats(BaseModel):
    """What the store holds, and the space of the volume; sizes in bytes."""

    files: int
    bytes: int = Field(description="Sum of the files' sizes; equal contents count for each name")
    free_bytes: int = Field(description="Free on the volume, the reserve included")
    reserve_bytes: int = Field(description="Free space that uploads never use")
    total_bytes: int = Field(description="Size of the volume")
