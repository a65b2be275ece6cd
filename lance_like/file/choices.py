"""How the fields of a schema ask for their columns to be encoded."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from lance_like.encodings.choice import NO_CHOICE, Choice, choice_of
from lance_like.encodings.physical import storage_of
from lance_like.encodings.registry import possible
from lance_like.file.carry import carried_type
from lance_like.file.columns import Column


def choices_of(columns: Sequence[Column]) -> list[Choice]:
    """The choice of each column of a file; what a struct asks for holds for the fields in it that ask for nothing.

    Raises InvalidInput when a field's metadata asks for what there is not.
    """
    choices: list[Choice] = []
    for column in columns:
        above = choices[column.parent] if column.parent >= 0 else NO_CHOICE
        own = _choice(column) if column.metadata else NO_CHOICE
        choices.append(above if own == NO_CHOICE else own)
    return choices


def _choice(column: Column) -> Choice:
    kind = storage_of(carried_type(column.type))
    nested = pa.types.is_nested(kind)
    return choice_of(column.metadata, encodings=possible(kind), nested=nested, where=f"column {column.name!r}")
