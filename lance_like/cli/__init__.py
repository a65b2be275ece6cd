"""The command line: `lance_like inspect FILE`, `lance_like verify PATH`."""

from lance_like.cli.main import main

__all__ = ["main"]
