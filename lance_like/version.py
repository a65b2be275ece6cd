"""The versions of the package and of the bytes it writes."""

__version__ = "0.1.0"

FORMAT_VERSION = 0
"""The format version in every file and metadata object: major << 16 | draft; 0 is draft 0 (format_spec/README.md)."""
