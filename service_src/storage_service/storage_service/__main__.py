"""Opens the volume, cleans up after a process that was killed, and serves."""

from __future__ import annotations

import os

from service_kit import logs, server
from service_kit.settings import fail, load
from storage_service.app import SERVICE, create_app
from storage_service.settings import StorageSettings
from storage_service.store import Store


def main() -> None:
    settings = load(StorageSettings, SERVICE)
    logs.configure(SERVICE, settings.log_level)
    try:
        store = Store(settings.root, settings.min_free_bytes)
        store.recover()
    except OSError as error:
        fail(
            SERVICE,
            f"STORAGE_ROOT {settings.root}: {error.strerror};"
            f" it must be a directory that user id {os.getuid()} can write to",
        )
    server.run(create_app(settings, store), settings, SERVICE)


if __name__ == "__main__":
    main()
