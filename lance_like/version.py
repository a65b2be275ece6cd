"""The versions of the package and of the bytes it writes."""

__version__ = "0.1.0"

FORMAT_VERSION = 0
"""The format version in every file and metadata object: 0 is the draft (format_spec/README.md)."""
