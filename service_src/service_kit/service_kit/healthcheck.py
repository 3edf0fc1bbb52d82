"""A container's health check: ``python -m service_kit.healthcheck URL`` exits 0 when URL answers 200."""

from __future__ import annotations

import sys
import urllib.error
import urllib.request

TIMEOUT_SECONDS = 2.0
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # never by way of a proxy


def main(url: str) -> int:
    """Prints the answer's body, which Docker keeps as the check's output; 1 for anything but a 200."""
    try:
        with _opener.open(url, timeout=TIMEOUT_SECONDS) as response:
            print(response.read(2048).decode(errors="replace"))
            return 0
    except urllib.error.HTTPError as error:
        print(f"{error.code}: {error.read(2048).decode(errors='replace')}")
    except OSError as error:
        print(f"{url}: {error}")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
