"""Dictionary: codes into the distinct values of the page (format_spec/encodings/dictionary.md)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lance_like.encodings.base import Encoded, Hints
from lance_like.encodings.joining import concatenated, joined, taken
from lance_like.encodings.physical import (
    flat_array,
    flat_bytes,
    flat_width,
    is_variable,
    null_array,
    read_validity,
)
from lance_like.encodings.pool import allocate
from lance_like.encodings.registry import encode_array, read_node
from lance_like.encodings.sample import sampled_runs
from lance_like.encodings.sift import Flags, Sieve, read_chosen, read_judged
from lance_like.encodings.stack import Reading, Runs, Stack, together
from lance_like.encodings.variable import cells_by_number
from lance_like.typing_ import Int64s

CODE_TYPE = pa.uint32()
_NONE = np.zeros(0, np.int64)
_SAMPLE = 4096
# Of large cells fewer are looked at: copying and hashing all of them took as long as writing them.
_SAMPLE_NBYTES = 1 << 20
# Above this share of distinct values in a sample, compressed blocks are smaller than codes and values.
_DISTINCT = 0.25
_MAX_VALUES = 1 << 16
_FEWEST_ROWS = 16
# Numbers: at most this share of distinct values in a sample, so that it has seen most of those in the page; codes of
# at most this share of the bits; and a dictionary that a first take reads in at most 32 KiB.
_RARE = 1 / 16
_CODE_WORTH = 0.6
_MAX_NUMBERS = 4096
_WIDTHS = (1, 2, 4, 8)
# To test one value takes as long as thousands.
_FEW_VALUES = 4096
# Values of other pages are copied as those of one more come, up to so many bytes; above, the last page alone is kept.
_JOINED_NBYTES = 1 << 20
_BITS = {4: pa.uint32(), 8: pa.uint64()}


class Dictionary:
    """Child 0: num_rows codes; child 1: the values. The codes of null rows mean nothing."""

    name = "dictionary"
    shape: tuple[str, ...] = ()

    def encode(self, array: pa.Array, hints: Hints) -> Encoded | None:
        encoded = array
        if not pa.types.is_dictionary(array.type):
            encoded = _encode_if_repetitive(array) if is_variable(array.type) else _encode_numbers(array)
            if encoded is None:
                return None
        codes, values = encoded.indices.cast(CODE_TYPE), encoded.dictionary
        codes = codes.fill_null(0) if codes.null_count else codes
        children = (encode_array(codes, hints), encode_array(values, hints))
        return Encoded(self.name, len(array), children=children)

    def read(self, stack: Stack, kind: pa.DataType, runs: Runs) -> Reading[pa.Array]:
        return self._values(stack, kind, runs, read_node(stack.child(0, stack.num_rows), CODE_TYPE, runs))

    def choose(self, stack: Stack, kind: pa.DataType, runs: Runs, rows: Int64s) -> Reading[pa.Array]:
        """Only the codes of chosen rows are looked up."""
        if not stack.child(1).num_rows[runs.at[0]]:
            return taken((yield from self.read(stack, kind, runs)), pa.array(rows))
        codes = read_chosen(stack.child(0, stack.num_rows), CODE_TYPE, runs, rows)
        return (yield from self._values(stack, kind, runs, codes))

    def _values(self, stack: Stack, kind: pa.DataType, runs: Runs, codes: Reading[pa.Array]) -> Reading[pa.Array]:
        """The values of the codes that a read gives, of rows of runs or of some of one run."""
        as_dictionary = pa.types.is_dictionary(kind)
        value_type = kind.value_type if as_dictionary else kind
        if not as_dictionary and (pa.types.is_nested(kind) or pa.types.is_null(kind)):
            raise stack.corrupt(f"it cannot hold the type {kind}")
        loaded, missing = _loaded(stack, value_type, runs)
        if len(missing):
            codes, loaded = yield from together([codes, _load(stack, value_type, loaded, missing)])
        else:
            codes = yield from codes
        stack.require(codes.null_count == 0, "its codes have nulls")
        stack.require(as_dictionary or loaded.values.null_count == 0, "its values have nulls")
        if len(runs.at) == 1 and loaded.counts[runs.at[0]]:
            page = runs.at[0]
            values = loaded.values
            if len(loaded.first) > 1:
                values = values.slice(loaded.first[page], loaded.counts[page])
            highest = int(np.maximum.reduce(codes.to_numpy(), initial=0))
            stack.require(highest < len(values), "a code is past the last value")
            return _with_values(kind, codes, values)
        local = codes.to_numpy(zero_copy_only=False)
        if not as_dictionary and not runs.single and (loaded.counts[runs.at] > 0).all() and (runs.lengths > 0).all():
            return _values_of_runs(stack, loaded, runs, local)
        at, _ = runs.rows()
        counts = loaded.counts[at]
        if len(counts) and not counts.min():
            yield from _check_all_null(stack, runs, counts == 0)
            local = np.where(counts == 0, 0, local)
            counts = np.maximum(counts, 1)
        stack.require(bool((local < counts).all()), "a code is past the last value")
        if as_dictionary:
            return _dictionary_array(kind, loaded, at, local)
        return _values_at(kind, loaded, at, local)

    def judge(self, stack: Stack, kind: pa.DataType, runs: Runs, test: Sieve) -> Reading[Flags]:
        """Test each value of the page once, then look up or compare codes."""
        value_type = kind.value_type if pa.types.is_dictionary(kind) else kind
        loaded, missing = _loaded(stack, value_type, runs)
        if len(missing):
            loaded = yield from _load(stack, value_type, loaded, missing)
        page = runs.at[0]
        if not loaded.counts[page]:
            return test.of_values((yield from self.read(stack, kind, runs)))
        of_values = _tested(stack, loaded, int(page), test)
        passing = np.flatnonzero(of_values)
        if not len(passing):
            return np.zeros(runs.count, bool)
        low, high = int(passing[0]), int(passing[-1])

        def of_codes(codes: pa.Array) -> Flags:
            stack.require(codes.null_count == 0, "its codes have nulls")
            known = codes.to_numpy()
            stack.require(int(known.max(initial=0)) < len(of_values), "a code is past the last value")
            return of_values.take(known)

        between = (low, high) if high - low + 1 == len(passing) else None
        return (yield from read_judged(stack.child(0, stack.num_rows), CODE_TYPE, runs, Sieve(of_codes, between)))


def _with_values(kind: pa.DataType, codes: pa.Array, values: pa.Array) -> pa.Array:
    """Rows of one page. codes: uint32, in bounds."""
    if pa.types.is_dictionary(kind):
        # In bounds, so that codes of 32 bits are the same with a sign.
        same = kind.index_type.bit_width == CODE_TYPE.bit_width
        indices = codes.view(kind.index_type) if same else codes.cast(kind.index_type)
        return pa.DictionaryArray.from_arrays(indices, values, ordered=kind.ordered, safe=False)
    width = flat_width(kind)
    if width not in _WIDTHS:
        return _taken(kind, values, codes.to_numpy())
    stored = np.frombuffer(values.buffers()[1] or b"", f"<u{width}", len(values), values.offset * width)
    out = allocate(len(codes), stored.dtype)
    # In bounds already; "clip" is the mode that writes to `out` without a copy.
    np.take(stored, codes.to_numpy(), out=out, mode="clip")
    return flat_array(kind, out.view(np.uint8), len(out))


@dataclass(frozen=True, slots=True)
class _Loaded:
    """The values of those pages of a stack that were read so far, end to end.

    first: int64[p], where the values of each page begin, -1 while they are not here; counts: int64[p], how many.
    whole: the values of all pages are here.
    """

    values: pa.Array
    first: Int64s
    counts: Int64s
    whole: bool


def _loaded(stack: Stack, kind: pa.DataType, runs: Runs) -> tuple[_Loaded, Int64s]:
    """The values that are here, and the pages of runs whose values are not."""
    loaded = stack.once(
        "values", lambda: _Loaded(pa.nulls(0, kind), np.full(len(stack.nodes), -1), stack.child(1).num_rows, False)
    )
    if loaded.whole:
        return loaded, _NONE
    # Not np.unique, which took longer than all else of a take of 10,000 rows.
    touched = np.zeros(len(loaded.first), bool)
    touched[runs.at] = True
    return loaded, np.flatnonzero(touched & (loaded.first < 0))


def _load(stack: Stack, kind: pa.DataType, loaded: _Loaded, missing: Int64s) -> Reading[_Loaded]:
    """Read the values of pages, and keep them behind those that are here."""
    ends = loaded.counts[missing]
    fresh = yield from read_node(stack.child(1), kind, Runs(missing, np.zeros(len(missing), np.int64), ends))
    now: _Loaded = stack.once("values", lambda: loaded)
    if now is not loaded and now.values.nbytes <= _JOINED_NBYTES:
        # Pages that are read side by side were all asked for before one was here.
        loaded = now
    first = loaded.first.copy()
    first[missing] = len(loaded.values) + np.cumsum(ends) - ends
    values = concatenated([loaded.values, fresh]) if len(loaded.values) else fresh
    return stack.replace("values", _Loaded(values, first, loaded.counts, bool((first >= 0).all())))


def _tested(stack: Stack, loaded: _Loaded, page: int, test: Sieve) -> Flags:
    """Which values of a page pass. Few are tested with those of all pages that are here, and the answer is kept."""
    values, first, end = loaded.values, int(loaded.first[page]), int(loaded.first[page] + loaded.counts[page])
    if len(values) > _FEW_VALUES:
        return test.of_values(values.slice(first, end - first))
    kept: tuple[pa.Array | None, Sieve | None, Flags] = stack.once("tested", lambda: (None, None, np.zeros(0, bool)))
    if kept[0] is not values or kept[1] is not test:
        # What was tested before may be other values: pages that are read side by side begin with what was here then.
        kept = stack.replace("tested", (values, test, test.of_values(values)))
    return kept[2][first:end]


def _values_at(kind: pa.DataType, loaded: _Loaded, at: Int64s, local: np.ndarray) -> pa.Array:
    if not len(loaded.values):
        return null_array(len(local), kind)
    first = loaded.first[at]
    # The rows of a page without values are null, whatever is taken for them.
    first[loaded.counts[at] == 0] = 0
    return _taken(kind, loaded.values, first + local)


def _taken(kind: pa.DataType, values: pa.Array, numbers: np.ndarray) -> pa.Array:
    """Values by their numbers, which are in bounds."""
    if is_variable(kind) and len(numbers) >= len(values):
        # Arrow takes four times as long for short texts; of many values it makes fewer steps before it begins.
        return cells_by_number(kind, values, numbers.astype(np.uint32, copy=False))
    return pc.take(values, pa.array(numbers), boundscheck=False)


def _values_of_runs(stack: Stack, loaded: _Loaded, runs: Runs, local: np.ndarray) -> pa.Array:
    """The values of codes of runs, none empty, of pages that have values."""
    lengths = runs.lengths
    highest = np.maximum.reduceat(local, lengths.cumsum() - lengths)
    stack.require(bool((highest < loaded.counts[runs.at]).all()), "a code is past the last value")
    return _taken(loaded.values.type, loaded.values, loaded.first[runs.at].repeat(lengths) + local)


def _dictionary_array(kind: pa.DataType, loaded: _Loaded, at: Int64s, local: np.ndarray) -> pa.Array:
    """Rows as an array of a dictionary type: the values of their page, or those of all their pages joined."""
    pages = np.unique(at)
    arrays = []
    for page in pages:
        here = local if len(pages) == 1 else local[at == page]
        values = loaded.values.slice(loaded.first[page], loaded.counts[page])
        indices = pa.array(here).cast(kind.index_type) if len(values) else pa.nulls(len(here), kind.index_type)
        arrays.append(pa.DictionaryArray.from_arrays(indices, values, ordered=kind.ordered, safe=False))
    if len(arrays) == 1:
        return arrays[0]
    back = np.empty(len(at), np.int64)
    back[np.argsort(at, kind="stable")] = np.arange(len(at))
    return taken(joined(arrays), pa.array(back)) if arrays else pa.nulls(0, kind)


def _check_all_null(stack: Stack, runs: Runs, empty: np.ndarray) -> Reading[None]:
    """Rows of pages without values must be null."""
    stack.require(stack.validity is not None, "it has rows and no values")
    bitmap = yield from read_validity(stack, runs)
    bits = np.unpackbits(bitmap, count=len(empty), bitorder="little")
    stack.require(not bits[empty].any(), "it has a row that is not null and no values")


def _encode_if_repetitive(array: pa.Array) -> pa.DictionaryArray | None:
    if len(array) < _FEWEST_ROWS:
        return None
    # Runs from three places: a page sorted by the column would look constant from one.
    rows = min(len(array), _SAMPLE, _SAMPLE_NBYTES * len(array) // max(1, array.nbytes))
    third = max(_FEWEST_ROWS // 3, rows // 3)
    places = (0, (len(array) - third) // 2, len(array) - third)
    sample = pa.concat_arrays([array.slice(place, third) for place in places])
    distinct = len(sample.unique())
    if distinct > _DISTINCT * len(sample):
        return None
    encoded = array.dictionary_encode()
    fits = len(encoded.dictionary) <= min(_MAX_VALUES, _DISTINCT * len(array))
    return encoded if fits else None


def _ascending(values: np.ndarray) -> np.ndarray:
    """The different values. Not np.unique, which takes ten times as long where most values are."""
    ordered = np.sort(values, axis=None)
    return ordered[np.append(True, ordered[1:] != ordered[:-1])]


def _encode_numbers(array: pa.Array) -> pa.DictionaryArray | None:
    """Numbers of few distinct values that are far apart; told apart by their bits, so that -0.0 and NaNs survive."""
    width = flat_width(array.type)
    if len(array) < _FEWEST_ROWS or width not in (4, 8) or array.null_count == len(array):
        return None
    bits = array.view(_BITS[width])
    data = flat_bytes(bits)
    assert data is not None
    runs = sampled_runs(data.view(f"<i{width}"))
    # As a rule an eighth of them has more different values than all may have.
    if len(_ascending(runs[:, ::8])) > _RARE * runs.size:
        return None
    found = _ascending(runs)
    spread = 8 * width if pa.types.is_floating(array.type) else (int(found[-1]) - int(found[0])).bit_length()
    # Twice as many values as the sample has: it has missed some.
    if len(found) > _RARE * runs.size or (2 * len(found)).bit_length() > _CODE_WORTH * spread:
        return None
    encoded = bits.dictionary_encode()
    if len(encoded.dictionary) > _MAX_NUMBERS:
        return None
    return pa.DictionaryArray.from_arrays(encoded.indices, encoded.dictionary.view(array.type))
