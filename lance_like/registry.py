"""Names to implementations: a built-in table first, then the entry points of installed packages.

Built-ins go through the same door as strangers, and nothing is imported until its name is met.
"""

from __future__ import annotations

import importlib
from importlib.metadata import entry_points
from typing import Any

from lance_like.errors import Unsupported


class Registry:
    """One kind of plug-in.

    group: the entry-point group, such as "lance_like.encodings".
    builtin: name -> "module:attribute".
    """

    def __init__(self, group: str, builtin: dict[str, str]) -> None:
        self._group = group
        self._builtin = dict(builtin)
        self._loaded: dict[str, Any] = {}

    def get(self, name: str) -> Any:
        """Return the implementation called name, loading it on first use.

        Raises Unsupported, naming it, when no built-in and no installed package provides it.
        """
        found = self._loaded.get(name)
        if found is None:
            found = self._loaded[name] = self._load(name)
        return found

    def names(self) -> list[str]:
        """The names that `get` would find, sorted; loads nothing."""
        return sorted({*self._builtin, *(point.name for point in entry_points(group=self._group))})

    def _load(self, name: str) -> Any:
        if name in self._builtin:
            module, _, attribute = self._builtin[name].partition(":")
            return getattr(importlib.import_module(module), attribute)()
        for point in entry_points(group=self._group, name=name):
            return point.load()()
        raise Unsupported(
            f"{self._group} has no entry called {name!r}; known are {', '.join(self.names())}",
            kind="plugin",
            hint="install the package that provides it, or update lance_like",
        )
