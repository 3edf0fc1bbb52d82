"""The state of every service, the numbers that Prometheus keeps, and the page that shows both."""

VERSION = "0.1.0"
