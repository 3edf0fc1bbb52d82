"""storage-service: files on a volume, each with its sha256, visible under a name only when whole."""

__version__ = "0.1.0"
