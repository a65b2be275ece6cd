"""What plug-ins share that hold all values by their order: BTREE, BITMAP."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pyarrow as pa

from lance_like.index.base import BuildOptions, IndexSource
from lance_like.index.questions import Answer, Question
from lance_like.index.scalar.grouping import Grouping, grouped
from lance_like.index.scalar.keys import Uint32s, as_key_values, checked_key_type, without_nulls
from lance_like.index.scalar.params import no_params
from lance_like.index.scalar.places import orders
from lance_like.typing_ import Json


class Ordered:
    """A plug-in of values with an order. name: its own."""

    name: ClassVar[str]

    def params(self, type: pa.DataType, given: Mapping[str, Any]) -> dict[str, Json]:
        """It has none. Raises InvalidInput."""
        no_params(given, self.name)
        checked_key_type(type, self.name)
        return {}

    def answers(self, type: pa.DataType, params: Mapping[str, Json], question: Question) -> Answer:
        """Exactly what is about the order of values."""
        return Answer.EXACT if orders(type, question) else Answer.NO

    def grouped(self, source: IndexSource, options: BuildOptions) -> tuple[pa.DataType, Grouping, list[Uint32s]]:
        """The key type of a source, its values to be given back in groups, and the ordinals of its nulls."""
        kind = checked_key_type(source.type, self.name)

        def split(batch: pa.Array, ordinals: Uint32s) -> tuple[pa.Array, Uint32s, Uint32s]:
            return without_nulls(as_key_values(batch, kind), ordinals)

        return kind, *grouped(source, kind, options.memory_nbytes, split)


__all__ = ["Ordered"]
