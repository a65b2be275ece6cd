"""NGRAM: for each trigram, the texts that have it (format_spec/index/ngram.md).

Answers what looks for a part of a text, with rows that must be looked at again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from pyroaring import BitMap

from lance_like.encodings.physical import buffer_bytes, offsets_of
from lance_like.errors import InvalidInput
from lance_like.index.base import BuildOptions, IndexSource, Kind, Segment, SegmentWrites
from lance_like.index.questions import Answer, Question
from lance_like.index.scalar.grouping import Grouping, Groups, numbered
from lance_like.index.scalar.inverted import Inverted, write_inverted
from lance_like.index.scalar.keys import NumberKeys, as_key_values, key_type, without_nulls
from lance_like.index.scalar.params import check_version, no_params, recorded
from lance_like.index.scalar.trigrams import AllOf, Required, required_by, trigrams_of
from lance_like.typing_ import Json

_KIND = pa.uint32()
_MOST_KEYS = 1 << 24
# Trigrams of so much text are grouped at a time, while they are in the caches; then those of all parts.
_PART_NBYTES = 1 << 20
# Trigrams of so many times the rows of the rarest one leave out too few of those to be worth their bytes.
_WORTH = 16
# So few rows are looked at in less time than it takes to leave one out.
_FEW = 1


class Ngram:
    """The plug-in."""

    name: ClassVar[str] = "NGRAM"
    kind: ClassVar[Kind] = "filter"
    version: ClassVar[int] = 1

    def params(self, type: pa.DataType, given: Mapping[str, Any]) -> dict[str, Json]:
        """It has none. Raises InvalidInput for what is no text."""
        no_params(given, self.name)
        _check_text(type)
        return {}

    def answers(self, type: pa.DataType, params: Mapping[str, Json], question: Question) -> Answer:
        """With more rows than match, where a match must have some trigram."""
        return Answer.NO if required_by(question) is None else Answer.SUPERSET

    def build(
        self, source: IndexSource, params: Mapping[str, Json], out: SegmentWrites, options: BuildOptions
    ) -> dict[str, Json]:
        """Write the file `postings`."""
        _check_text(source.type)
        grouping = Grouping(_KIND, options.memory_nbytes)
        for batch, rows in numbered(source):
            values, ordinals, _ = without_nulls(as_key_values(batch, pa.large_string()), rows)
            _add(grouping, values, ordinals)
        return {"keys": write_inverted(out, _KIND, grouping.groups())}

    def open(self, segment: Segment) -> NgramSearcher:
        """A searcher. Raises Unsupported, Corrupt."""
        check_version(segment, self.name, self.version)
        return NgramSearcher(segment, recorded(segment, "keys", 0, _MOST_KEYS))


class NgramSearcher:
    """An open segment."""

    def __init__(self, segment: Segment, keys: int) -> None:
        self._inverted = Inverted(segment.files, keys, _KIND, segment.rows)

    @property
    def nbytes_cached(self) -> int:
        """What it keeps in memory, by estimate."""
        return self._inverted.nbytes_cached

    def prewarm(self) -> None:
        """Read the trigrams and their rows."""
        self._inverted.prewarm()

    def rows(self, question: Question) -> BitMap:
        """The ordinals that match, and more. Raises InvalidInput for a question that `answers` refuses."""
        required = required_by(question)
        if required is None:
            raise InvalidInput("a question that requires no trigram asks for all rows", kind="index")
        return self._meeting(required)

    def _meeting(self, required: Required) -> BitMap:
        if not isinstance(required, AllOf):
            return BitMap.union(*(self._meeting(part) for part in required.parts))
        found = self._having(required.trigrams) if required.trigrams else None
        for part in required.parts:
            if found is not None and not found:
                break
            meeting = self._meeting(part)
            found = meeting if found is None else found & meeting
        assert found is not None
        return found

    def _having(self, trigrams: frozenset[int]) -> BitMap:
        """The rows that have all of some trigrams, or of those that few rows have."""
        places = self._inverted.places(NumberKeys(np.array(sorted(trigrams), np.uint32)))
        if len(places) < len(trigrams):
            return BitMap()
        counts = self._inverted.counts(places)
        worth = (counts <= counts.min() * _WORTH).nonzero()[0]
        sets = self._inverted.sets(places[worth])
        return _common([sets[place] for place in counts[worth].argsort(kind="stable").tolist()])


def _common(sets: Sequence[BitMap]) -> BitMap:
    """The rows that are in all of some sets, and a few more, which are looked at anyway; not to be changed."""
    if len(sets) == 1:
        return sets[0]
    found = sets[0] & sets[1]
    for other in sets[2:]:
        if len(found) <= _FEW:
            break
        found &= other
    return found


def _check_text(kind: pa.DataType) -> None:
    if key_type(kind) != pa.large_string():
        raise InvalidInput(f"an index of the type NGRAM holds texts, not {kind!s:.100}", kind="index")


def _add(grouping: Grouping, texts: pa.Array, ordinals: np.ndarray) -> None:
    """Add the trigrams of texts, some at a time."""
    offsets, data = offsets_of(texts), buffer_bytes(texts.buffers()[2])
    start = 0
    while start < len(texts):
        end = max(start + 1, int(np.searchsorted(offsets, offsets[start] + _PART_NBYTES, "right")) - 1)
        bounds = offsets[start : end + 1]
        trigrams, within = trigrams_of(data[bounds[0] : bounds[-1]], bounds - bounds[0], ordinals[start:end])
        grouping.add_groups(Groups(*NumberKeys(trigrams).grouped(within)))
        start = end


__all__ = ["Ngram", "NgramSearcher"]
