"""A kind of index from another package: how long texts are. It shows all that one needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyroaring import BitMap

from lance_like.errors import InvalidInput, Unsupported
from lance_like.index.base import BuildOptions, IndexSource, Kind, Segment, SegmentWrites
from lance_like.index.questions import Answer, Contains, IsNull, OneOf, Question, StartsWith

_SCHEMA = pa.schema([pa.field("length", pa.int64())])


class TextLength:
    """Leaves out texts that are too short to match."""

    name: ClassVar[str] = "TEXT_LENGTH"
    kind: ClassVar[Kind] = "filter"
    version: ClassVar[int] = 1

    def params(self, type: pa.DataType, given: Mapping[str, Any]) -> dict[str, Any]:
        if given:
            raise InvalidInput(f"TEXT_LENGTH has no parameters, given are {sorted(given)}", kind="index")
        if not pa.types.is_string(type):
            raise InvalidInput(f"TEXT_LENGTH holds texts, not {type}", kind="index")
        return {}

    def answers(self, type: pa.DataType, params: Mapping[str, Any], question: Question) -> Answer:
        if isinstance(question, IsNull):
            return Answer.EXACT
        return Answer.SUPERSET if isinstance(question, (OneOf, StartsWith, Contains)) else Answer.NO

    def build(
        self, source: IndexSource, params: Mapping[str, Any], out: SegmentWrites, options: BuildOptions
    ) -> dict[str, Any]:
        lengths = (pc.binary_length(batch).cast(pa.int64()) for batch in source.batches())
        out.write("lengths", _SCHEMA, (pa.record_batch([column], schema=_SCHEMA) for column in lengths))
        return {}

    def open(self, segment: Segment) -> TextLengthSearcher:
        if segment.version != self.version:
            raise Unsupported(f"TEXT_LENGTH of version {segment.version}", kind="index")
        return TextLengthSearcher(segment)


class TextLengthSearcher:
    """An open segment: it reads the lengths whenever it is asked, and keeps nothing."""

    nbytes_cached = 0

    def __init__(self, segment: Segment) -> None:
        self._segment = segment

    def prewarm(self) -> None:
        self._lengths()

    def rows(self, question: Question) -> BitMap:
        lengths = self._lengths()
        match question:
            case IsNull():
                found = lengths.is_null()
            case OneOf(values):
                found = pc.is_in(lengths, pc.binary_length(values).cast(pa.int64()))
            case StartsWith(text) | Contains(text):
                found = pc.greater_equal(lengths, len(text.encode())).fill_null(False)
            case _:
                raise InvalidInput(f"TEXT_LENGTH does not answer {question}", kind="index")
        return BitMap(np.flatnonzero(found.to_numpy(zero_copy_only=False)).tolist())

    def _lengths(self) -> pa.Array:
        [lengths] = self._segment.files.file("lengths", _SCHEMA).columns(["length"])
        return lengths
