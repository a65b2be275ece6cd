"""What a field's metadata asks for: which encodings its column gets, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from arrow_values import FLAT, NESTED, VARIABLE, Shape, make_array

from lance_like.encodings.base import Encoded, Hints
from lance_like.encodings.choice import NO_CHOICE, Choice, choice_of
from lance_like.encodings.registry import SMALL_NBYTES, candidates, encode_array, possible
from lance_like.errors import InvalidInput
from lance_like.file.carry import carry
from lance_like.file.choices import choices_of
from lance_like.file.columns import flatten
from lance_like.file.writer import FileWriter


def names_in(tree: Encoded) -> set[str]:
    return {tree.encoding}.union(*map(names_in, tree.children))


def nbytes_of(tree: Encoded) -> int:
    return sum(map(len, tree.buffers)) + sum(map(nbytes_of, tree.children))


def encoded(array: pa.Array, **choice: Any) -> Encoded:
    return encode_array(array, Hints(choice=Choice(**choice)))


def asked(kind: pa.DataType, metadata: dict[str, str]) -> Choice:
    """What a field of a type asks for."""
    (choice,) = choices_of(flatten([pa.field("c", kind, metadata=metadata)]))
    return choice


WORDS = pa.array([f"word {i % 7}" for i in range(2000)])
SMALL = pa.array(np.arange(2000) % 5)
RANDOM = pa.array(np.random.default_rng(0).random(500))
NUMBERED = pa.array([f"the number of this text is {i}, and it is not repeated" for i in range(2000)])


# -- what a choice does ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("array", [WORDS, NUMBERED, SMALL, RANDOM, pa.array([5] * 100)], ids=lambda a: str(a.type))
def test_plain_values_are_stored_as_they_are(array: pa.Array) -> None:
    assert encoded(array, encoding="plain").encoding in ("plain", "variable")


def test_plain_offsets_are_still_narrow() -> None:
    tree = encoded(pa.array([[i] * (i % 3) for i in range(500)], pa.list_(pa.int64())), encoding="plain")
    offsets, items = tree.children
    assert offsets.encoding != "plain"
    assert items.encoding == "plain"


@pytest.mark.parametrize("kind", [pa.bool_(), pa.null(), *FLAT, *VARIABLE, *NESTED], ids=str)
@pytest.mark.parametrize("encoding", ["plain", "compact"])
def test_every_type_can_be_plain_and_compact(kind: pa.DataType, encoding: str) -> None:
    array = carry(make_array(kind, 200, Shape("near", 0.2), np.random.default_rng(0)))
    assert encoded(array, encoding=encoding).num_rows == 200
    assert encoded(array.slice(0, 0), encoding=encoding).num_rows == 0


@pytest.mark.parametrize("array", [WORDS, SMALL, RANDOM, NUMBERED], ids=lambda a: str(a.type))
def test_compact_is_the_smallest_of_all_candidates(array: pa.Array) -> None:
    compact = nbytes_of(encoded(array, encoding="compact"))
    for name in candidates(array.type, ranged=False):
        assert compact <= nbytes_of(encoded(array, encoding=name))


def test_a_named_encoding_comes_before_all_others() -> None:
    assert encoded(SMALL).encoding != "narrow"
    assert encoded(SMALL, encoding="narrow").encoding == "narrow"
    assert encoded(WORDS, encoding="variable").encoding == "variable"


def test_a_page_that_a_named_encoding_declines_is_encoded_otherwise() -> None:
    assert encoded(NUMBERED, encoding="dictionary").encoding == encoded(NUMBERED).encoding
    assert encoded(pa.nulls(9, pa.int64()), encoding="narrow").is_null


def test_compression_is_left_out_or_insisted_on() -> None:
    assert encoded(NUMBERED).encoding == "zstd"
    assert encoded(NUMBERED, compression="none").encoding == "variable"
    assert encoded(WORDS).encoding == "dictionary"
    assert encoded(WORDS, compression="zstd").encoding == "zstd"
    noise = np.random.default_rng(0).bytes(100_000)
    for cells in ([noise[i : i + 100] for i in range(0, 100_000, 100)], [noise, b""], [b"a", b"b"]):
        assert encoded(pa.array(cells), compression="zstd").encoding == "zstd"
    lists = pa.ListArray.from_arrays(pa.array([0, 2000], pa.int32()), NUMBERED)
    assert "zstd" in names_in(encoded(lists))
    assert "zstd" not in names_in(encoded(lists, compression="none"))


@pytest.mark.parametrize("kind", [pa.float32(), pa.int32(), pa.timestamp("s")], ids=str)
def test_numbers_that_fill_at_most_two_blocks_are_encoded_by_their_range(kind: pa.DataType) -> None:
    few = SMALL_NBYTES * 8 // kind.bit_width
    runs = pa.array(np.repeat(np.arange(few) % 7 * 1000, 100)).cast(kind)
    assert encoded(runs.slice(0, few + 1)).encoding == "run_length"
    assert encoded(runs.slice(0, few)).encoding == ("plain" if pa.types.is_floating(kind) else "bitpack")
    assert encode_array(runs.slice(0, few), Hints(wide=True)).encoding in ("plain", "narrow")
    assert encoded(runs.slice(0, few), encoding="run_length").encoding == "run_length"
    assert encoded(runs.slice(0, 100)).encoding == "constant"


def test_a_higher_level_makes_smaller_pages() -> None:
    words = [f"the {i * 7919 % 1013} words of {i * i % 997} texts and {i % 11} more" for i in range(60_000)]
    sizes = [nbytes_of(encoded(pa.array(words), level=level)) for level in (-7, 3, 9)]
    assert sizes[0] > 1.05 * sizes[1] > 1.05**2 * sizes[2]


# -- what may be asked for ---------------------------------------------------------------------------------------


def test_a_field_without_keys_of_ours_asks_for_nothing() -> None:
    assert asked(pa.string(), {"PARQUET:field_id": "1"}) == NO_CHOICE
    assert choice_of(None, encodings=(), nested=False, where="c") == NO_CHOICE


def test_keys_of_ours_come_before_those_of_lance() -> None:
    lance = {"lance-encoding:compression": "zstd", "lance-encoding:compression-level": "7"}
    assert asked(pa.string(), lance) == Choice(None, "zstd", 7)
    assert asked(pa.string(), {**lance, "lance_like:compression": "none"}) == Choice(None, "none", 7)
    assert asked(pa.string(), {**lance, "lance_like:compression-level": "-1"}) == Choice(None, "zstd", -1)
    assert asked(pa.string(), {**lance, "lance_like:encoding": "plain"}).compression is None
    assert asked(pa.large_binary(), {"lance-encoding:blob": "true"}) == Choice(None, "none")


@pytest.mark.parametrize("value", ["fsst", "", "7"])
def test_what_only_lance_knows_changes_nothing(value: str) -> None:
    keys = ("compression", "structural-encoding", "rle-threshold")
    found = {f"lance-encoding:{key}": value for key in keys} | {"lance-encoding:compression-level": "high"}
    assert asked(pa.string(), found) == NO_CHOICE
    assert asked(pa.int64(), {"lance-encoding:compression": "zstd"}) == NO_CHOICE


def test_what_a_struct_asks_for_holds_for_its_fields() -> None:
    fields = [
        pa.field("a", pa.string()),
        pa.field("b", pa.int64(), metadata={"lance_like:encoding": "narrow"}),
        pa.field("t", pa.struct([pa.field("c", pa.string(), metadata={"k": "v"})])),
    ]
    top = pa.field("s", pa.struct(fields), metadata={"lance_like:encoding": "compact"})
    found = [choice.encoding for choice in choices_of(flatten([top, pa.field("x", pa.int8())]))]
    assert found == ["compact", "compact", "narrow", "compact", "compact", None]


@pytest.mark.parametrize(
    ("kind", "key", "value", "expected"),
    [
        (pa.int64(), "encoding", "zstd", "expected plain, compact"),
        (pa.int64(), "encoding", "bitpak", "bitpack"),
        (pa.string(), "encoding", "bitpack", "dictionary"),
        (pa.list_(pa.string()), "encoding", "dictionary", "expected plain, compact;"),
        (pa.struct([("x", pa.int8())]), "encoding", "narrow", "expected plain, compact;"),
        (pa.string(), "compression", "lz4", "expected zstd, none"),
        (pa.int64(), "compression", "zstd", "expected none"),
        (pa.string(), "compression-level", "23", "expected -7 to 22"),
        (pa.string(), "compression-level", "high", "expected -7 to 22"),
    ],
    ids=str,
)
def test_what_there_is_not_is_refused_with_its_place(kind: pa.DataType, key: str, value: str, expected: str) -> None:
    field = pa.field("c", kind, metadata={f"lance_like:{key}": value})
    with pytest.raises(InvalidInput, match=f"column 'c': .*lance_like:{key}.*{value}.*{expected}") as caught:
        FileWriter(pa.schema([field]))
    assert caught.value.kind == "encoding"


@pytest.mark.parametrize(("encoding", "compression"), [("plain", "zstd"), ("zstd", "none")])
def test_keys_that_exclude_each_other_are_refused(encoding: str, compression: str) -> None:
    with pytest.raises(InvalidInput, match="exclude"):
        asked(pa.string(), {"lance_like:encoding": encoding, "lance_like:compression": compression})


def test_every_candidate_may_be_named() -> None:
    for kind in (pa.bool_(), pa.null(), *FLAT, *VARIABLE):
        for name in possible(kind):
            assert asked(kind, {"lance_like:encoding": name}).encoding == name
