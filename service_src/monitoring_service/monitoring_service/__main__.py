"""``python -m monitoring_service`` runs the service."""

from monitoring_service.app import SERVICE, build
from monitoring_service.settings import MonitoringSettings
from service_kit.server import run
from service_kit.settings import load


def main() -> None:
    settings = load(MonitoringSettings, SERVICE)
    run(build(settings), settings, SERVICE)


if __name__ == "__main__":
    main()
