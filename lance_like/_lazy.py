"""Heavy libraries, imported on first use by the one module that owns each."""

from __future__ import annotations

import importlib
from types import ModuleType

from lance_like.errors import MissingDependency

_EXTRA = {"torch": "torch", "polars": "polars", "pandas": "pandas", "tqdm": "progress"}


def need(name: str) -> ModuleType:
    """Import a library by its module name.

    Raises MissingDependency, naming what to install.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        top = name.partition(".")[0]
        package = f"lance_like[{_EXTRA[top]}]" if top in _EXTRA else top
        raise MissingDependency(
            f"this needs the library {top!r}, which cannot be imported: {error}",
            kind="dependency",
            hint=f"pip install '{package}'",
        ) from error
