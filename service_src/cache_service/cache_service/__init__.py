"""A bounded cache of byte entries with time limits, over Redis."""

VERSION = "0.1.0"
