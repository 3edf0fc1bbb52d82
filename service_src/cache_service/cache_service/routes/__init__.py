"""The HTTP routes of cache-service."""
