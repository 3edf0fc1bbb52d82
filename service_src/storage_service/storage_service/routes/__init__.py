"""The service's HTTP interface: thin, the work is done in :mod:`storage_service.transfer`."""
