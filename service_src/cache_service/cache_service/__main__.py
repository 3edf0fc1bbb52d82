"""``python -m cache_service``"""

from __future__ import annotations

from cache_service.app import SERVICE, build_app
from cache_service.settings import CacheSettings
from service_kit import server
from service_kit.settings import load


def main() -> None:
    settings = load(CacheSettings, SERVICE)
    server.run(build_app(settings), settings, SERVICE)


if __name__ == "__main__":
    main()
