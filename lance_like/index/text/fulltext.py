"""The full-text index: which rows hold which terms, how often and where (format_spec/index/inverted.md).

terms     the terms in the order of their bytes, of each: rows, where its postings and places begin
fences    every 256th term, to find the others by
postings  bytes: the rows of each term and how often they hold it
places    bytes: where in its rows each term stands; only with positions
lengths   of each row, in terms; null without a text
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from lance_like.errors import InvalidInput, Unsupported
from lance_like.index.base import BuildOptions, IndexSource, Kind, Segment, SegmentWrites
from lance_like.index.questions import Answer, Question
from lance_like.index.text.analysis import analyzer_of, checked_analysis
from lance_like.index.text.build import Corpus, Part
from lance_like.index.text.columns import BYTES, FENCES, LENGTHS, TERMS
from lance_like.index.text.places import encode_places
from lance_like.index.text.postings import encode
from lance_like.index.text.searcher import FullTextSearcher
from lance_like.index.text.vocabulary import FENCE
from lance_like.typing_ import Int64s, Json

_BATCH = 1 << 16
_UNUSED = frozenset(["memory_limit", "num_workers", "block_size", "format_version"])


class FullText:
    """INVERTED: texts, or lists of texts, searched by relevance.

    with_position: keep where terms stand, which phrases need. document_granularity: "row". analyzer: "text". The
    others: see `Analyzer`. pylance's memory_limit, num_workers, block_size and format_version are taken and mean
    nothing here.
    """

    name: ClassVar[str] = "INVERTED"
    kind: ClassVar[Kind] = "text"
    version: ClassVar[int] = 1

    def params(self, type: pa.DataType, given: Mapping[str, Any]) -> dict[str, Json]:
        """The parameters checked, with their defaults. Raises InvalidInput."""
        inner = type.value_type if pa.types.is_list(type) or pa.types.is_large_list(type) else type
        if not (pa.types.is_string(inner) or pa.types.is_large_string(inner)):
            raise InvalidInput(f"a full-text index holds texts or lists of texts, not {type}", kind="index")
        analysis = checked_analysis(given)
        unknown = sorted(set(given) - set(analysis) - _UNUSED - {"analyzer", "with_position", "document_granularity"})
        if unknown:
            known = ", ".join([*analysis, "with_position"])
            raise InvalidInput(f"a full-text index has no parameter {unknown[0]!r}; it has {known}", kind="index")
        with_position = given.get("with_position", False)
        if not isinstance(with_position, bool):
            raise InvalidInput(f"with_position is {with_position!r:.40}, expected True or False", kind="index")
        analyzer = given.get("analyzer") or "text"
        if analyzer != "text":
            hint = "base_tokenizer, stem and remove_stop_words say what terms are"
            raise InvalidInput(f"analyzer is {analyzer!r:.40}, expected 'text'", kind="index", hint=hint)
        granularity = given.get("document_granularity") or "row"
        if getattr(granularity, "value", granularity) != "row":
            raise InvalidInput(f"document_granularity is {granularity!r:.40}, expected 'row'", kind="index")
        return {**analysis, "with_position": with_position}

    def answers(self, type: pa.DataType, params: Mapping[str, Json], question: Question) -> Answer:
        """It answers no conditions: it is asked by `search_texts`."""
        return Answer.NO

    def build(
        self, source: IndexSource, params: Mapping[str, Json], out: SegmentWrites, options: BuildOptions
    ) -> dict[str, Json]:
        """Write a segment."""
        with_places = bool(params["with_position"])
        corpus = Corpus(analyzer_of(params), with_places=with_places, memory_nbytes=options.memory_nbytes)
        try:
            valid = _read(source, corpus, options)
            terms, lengths = corpus.finish()
            table = _TermTable(len(terms))
            out.write("postings", BYTES, table.postings(corpus, lengths))
            if with_places:
                out.write("places", BYTES, table.places(corpus))
        finally:
            corpus.close()
        out.write("terms", TERMS, table.batches(terms))
        fences = terms.take(pa.array(range(0, len(terms), FENCE), pa.int64()))
        out.write("fences", FENCES, [pa.record_batch([fences], FENCES)])
        out.write("lengths", LENGTHS, [pa.record_batch([pa.array(lengths, mask=~valid)], LENGTHS)])
        return {
            "rows": int(np.count_nonzero(lengths)),
            "length": int(lengths.sum(dtype=np.int64)),
            "terms": len(terms),
            "longest": int(lengths.max(initial=0)),
        }

    def open(self, segment: Segment) -> FullTextSearcher:
        """A searcher. Raises Unsupported for bytes of another version."""
        if segment.version != self.version:
            found = segment.version
            raise Unsupported(f"a full-text segment of version {found!r}, this reads {self.version}", kind="index")
        return FullTextSearcher(segment)


def _read(source: IndexSource, corpus: Corpus, options: BuildOptions) -> np.ndarray:
    """Feed the corpus. Returns bool[rows]: which rows have a text."""
    valid = []
    done = 0
    for values in source.batches():
        corpus.add(values)
        valid.append(np.asarray(values.is_valid()))
        done += len(values)
        if options.progress is not None:
            options.progress("analyse", done, source.rows)
    return np.concatenate(valid) if valid else np.zeros(0, bool)


class _TermTable:
    """What the file of terms says of each, gathered while the files of bytes are written."""

    def __init__(self, terms: int) -> None:
        self._sizes = np.zeros(terms, np.uint32)
        self._postings = np.zeros(terms, np.uint64)
        self._places = np.zeros(terms, np.uint64)

    def postings(self, corpus: Corpus, lengths: np.ndarray) -> Iterator[pa.RecordBatch]:
        """The bytes of all postings."""
        at = 0
        for part in corpus.parts():
            data, nbytes = encode(part.sizes, part.rows, part.counts, lengths)
            self._sizes[part.start : part.end] = part.sizes
            at = _placed(self._postings, part, nbytes, at)
            yield pa.record_batch([pa.array(data)], schema=BYTES)

    def places(self, corpus: Corpus) -> Iterator[pa.RecordBatch]:
        """The bytes of all places."""
        at = 0
        for part in corpus.parts():
            if part.places is not None:
                data, nbytes = encode_places(part.sizes, part.counts, part.places)
                at = _placed(self._places, part, nbytes, at)
                yield pa.record_batch([pa.array(data)], schema=BYTES)

    def batches(self, terms: pa.LargeStringArray) -> Iterator[pa.RecordBatch]:
        """The rows of the file of terms."""
        for start in range(0, len(terms), _BATCH):
            chosen = slice(start, start + _BATCH)
            columns = [self._sizes[chosen], self._postings[chosen], self._places[chosen]]
            yield pa.record_batch([terms[chosen].cast(pa.string()), *map(pa.array, columns)], schema=TERMS)


def _placed(begins: np.ndarray, part: Part, nbytes: Int64s, at: int) -> int:
    begins[part.start : part.end] = at + np.cumsum(nbytes) - nbytes
    return at + int(nbytes.sum())


__all__ = ["FullText"]
