"""What is made on first use: heavy libraries, imported by the one module that owns each, and derived values."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import lru_cache, wraps
from types import ModuleType
from typing import Any, Generic, TypeVar, overload

import pyarrow as pa

from lance_like.errors import MissingDependency

_EXTRA = {
    "PIL": "images",
    "torch": "torch",
    "polars": "polars",
    "pandas": "pandas",
    "datasets": "hf",
    "tqdm": "progress",
    "lance": "lance",
    "deltalake": "delta",
}


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


T = TypeVar("T")


def per_type(make: Callable[[pa.DataType], T]) -> Callable[[pa.DataType], T]:
    """Remember what a function makes of the types it was last asked for: thousands of columns have a few types.

    Types are told apart as Arrow does, not by the metadata of the fields in them.
    """
    known = lru_cache(maxsize=1024)(make)

    @wraps(make)
    def find(kind: pa.DataType) -> T:
        # An extension type of a user may not be hashable.
        return make(kind) if isinstance(kind, pa.BaseExtensionType) else known(kind)

    return find


class cached(Generic[T]):
    """A property computed once an object and kept in its `__dict__`; two threads at once may both compute it.

    Not functools.cached_property: before Python 3.12 that holds one lock for all objects, in which a process forked
    while another thread computes waits for ever.
    """

    def __init__(self, compute: Callable[[Any], T]) -> None:
        self._compute = compute
        self.__doc__ = compute.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, instance: None, owner: type) -> cached[T]: ...

    @overload
    def __get__(self, instance: object, owner: type) -> T: ...

    def __get__(self, instance: object | None, owner: type) -> cached[T] | T:
        if instance is None:
            return self
        return instance.__dict__.setdefault(self._name, self._compute(instance))


def like(known: T, **changed: Any) -> T:
    """An object that is like another one but for some attributes, which nothing that it has computed depends on."""
    other = object.__new__(type(known))
    other.__dict__.update(known.__dict__, **changed)
    return other
