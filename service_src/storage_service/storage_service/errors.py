"""What can go wrong, in the words that the client reads."""

from __future__ import annotations

from service_kit.errors import ApiError


class NameRefused(ApiError):
    def __init__(self, reason: str) -> None:
        super().__init__(400, f"Not a file name: {reason}", param="path", code="invalid_path")


class NoSuchFile(ApiError):
    def __init__(self, name: str) -> None:
        super().__init__(404, f"There is no file {name}", param="path", code="file_not_found")


class BadHeader(ApiError):
    def __init__(self, header: str, reason: str) -> None:
        super().__init__(400, f"{header}: {reason}", param=header, code="invalid_header")


class ConditionFailed(ApiError):
    def __init__(self, name: str, etag: str | None) -> None:
        state = f"it exists with ETag {etag}" if etag else "it does not exist"
        super().__init__(412, f"The condition on {name} does not hold: {state}", code="precondition_failed")


class DigestMismatch(ApiError):
    def __init__(self, expected: str, actual: str) -> None:
        message = f"The body's sha256 is {actual}, not {expected} as announced; nothing was stored"
        super().__init__(422, message, code="digest_mismatch")


class UploadIncomplete(ApiError):
    def __init__(self, received: int, announced: int | None) -> None:
        of = f" of {announced}" if announced is not None else ""
        message = f"The upload ended after {received}{of} bytes; nothing was stored"
        super().__init__(400, message, code="incomplete_upload")


class UploadStalled(ApiError):
    def __init__(self, received: int, seconds: float) -> None:
        message = f"The upload sent nothing for {seconds:g} s after {received} bytes; nothing was stored"
        super().__init__(408, message, code="upload_stalled")


class RangeNotSatisfiable(ApiError):
    def __init__(self, size: int) -> None:
        message = f"The range begins after the end of the file, which has {size} bytes"
        headers = {"Content-Range": f"bytes */{size}"}
        super().__init__(416, message, code="range_not_satisfiable", headers=headers)


class NoSpace(ApiError):
    def __init__(self, message: str) -> None:
        super().__init__(507, f"{message}; nothing was stored", code="insufficient_storage")


class DamagedFile(ApiError):
    """What the volume holds isn't what was stored: never served, never silently repaired."""

    def __init__(self, name: str, reason: str) -> None:
        message = f"The stored file {name} is damaged: {reason}; delete it and upload it again"
        super().__init__(500, message, code="damaged_file")


class VolumeFailed(ApiError):
    def __init__(self, action: str, error: OSError) -> None:
        message = f"The storage volume failed to {action}: {error.strerror}"
        super().__init__(500, message, code="volume_failed")
