"""What the package writes, the naive reader reads: rows, row ids, statistics, versions and tags.

The package is used through its public names only; the answers come from the Arrow data that was written.
"""

import random
from decimal import Decimal
from pathlib import Path

import naive_reader as naive
import numpy as np
import pyarrow as pa
import pytest
from naive_encodings import Float
from naive_reader import NaiveError, list_tags, list_versions, read_table
from naive_types import (
    FLOATS,
    SIGNED,
    UNSIGNED,
)

import lance_like

# ---------------------------------------------------------------------------------------------- Arrow values


def as_naive(array: pa.Array | pa.ChunkedArray) -> list:
    """Turn an Arrow array into the values that the naive reader gives for it."""
    if isinstance(array, pa.ChunkedArray):
        return [value for chunk in array.chunks for value in as_naive(chunk)]
    kind, valid = array.type, array.is_valid().to_pylist()
    if isinstance(kind, pa.BaseExtensionType):
        return as_naive(array.storage)
    if pa.types.is_dictionary(kind):
        return as_naive(array.dictionary_decode())
    if pa.types.is_temporal(kind) and kind != pa.month_day_nano_interval():
        return array.cast(pa.int32() if kind.bit_width == 32 else pa.int64()).to_pylist()
    if pa.types.is_floating(kind):
        width = kind.bit_width // 8
        bits = array.view({2: pa.uint16(), 4: pa.uint32(), 8: pa.uint64()}[width])
        return [None if number is None else Float(number.to_bytes(width, "little")) for number in bits.to_pylist()]
    if pa.types.is_struct(kind):
        columns = [as_naive(array.field(i)) for i in range(kind.num_fields)]
        rows = zip(*columns, strict=True) if columns else ((),) * len(array)
        names = [kind.field(i).name for i in range(kind.num_fields)]
        return [dict(zip(names, row, strict=True)) if ok else None for row, ok in zip(rows, valid, strict=True)]
    if pa.types.is_nested(kind):
        rows = [as_naive(scalar.values) if ok else None for scalar, ok in zip(array, valid, strict=True)]
        is_map = pa.types.is_map(kind)
        return [[tuple(e.values()) for e in row] if is_map and row is not None else row for row in rows]
    if kind == pa.month_day_nano_interval():
        return [None if value is None else tuple(value) for value in array.to_pylist()]
    return array.to_pylist()


def exact(value):
    """Make values comparable by their bits: floats that are equal may still differ."""
    if isinstance(value, Float):
        return "bits", value.bits
    if isinstance(value, dict):
        return {name: exact(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [exact(item) for item in value]
    return type(value), value


def rows_of(table: pa.Table) -> list[dict]:
    columns = [as_naive(column) for column in table.columns]
    return [dict(zip(table.column_names, row, strict=True)) for row in zip(*columns, strict=True)]


def without_ids(rows: list[dict]) -> list[dict]:
    return [{name: value for name, value in row.items() if name != "_rowid"} for row in rows]


def assert_same(table: naive.Table, rows: list[dict]) -> None:
    assert exact(without_ids(table.rows)) == exact(rows)


def assert_agrees(uri: str, version: int | None = None) -> None:
    """Compare all rows of a version, and their row ids, with what the package reads."""
    ds = lance_like.dataset(uri) if version is None else lance_like.dataset(uri).checkout_version(version)
    found = ds.scanner(with_row_id=True).to_table()
    assert exact(read_table(uri, version).rows) == exact(rows_of(found))


# ---------------------------------------------------------------------------------------------- statistics


def bound_of(kind, data: bytes):
    """Turn the bytes of a bound into something ordered."""
    if kind.name in FLOATS:
        return float(Float(data))
    if kind.name in SIGNED or kind.name in UNSIGNED or kind.name.startswith("decimal"):
        return int.from_bytes(data, "little", signed=kind.name not in UNSIGNED)
    return data == b"\1" if kind.name == "bool" else data


def ordered(value):
    if isinstance(value, Decimal):
        sign, digits, _ = value.as_tuple()
        return (-1 if sign else 1) * int("".join(map(str, digits)))
    return value.encode() if isinstance(value, str) else value


def assert_zones_hold(file: naive.DataFile) -> None:
    """Check every zone of a file against its values."""
    for column in file.columns:
        kind, step = column.field.type.storage, column.zone_rows
        parts = [column.values[i : i + step] for i in range(0, file.num_rows, step)] + [column.values]
        for zone, values in zip(column.zones, parts, strict=True):
            nans = [v for v in values if isinstance(v, float) and v != v]
            there = [v for v in values if v is not None and not (isinstance(v, float) and v != v)]
            assert zone.nans == len(nans)
            assert zone.nulls == values.count(None) or (kind.name == "dictionary" and zone.nulls < values.count(None))
            cells = [ordered(v) for v in there]
            assert zone.minimum is None or bound_of(kind, zone.minimum) <= min(cells)
            assert zone.maximum is None or bound_of(kind, zone.maximum) >= max(cells)


def assert_stats_hold(table: naive.Table) -> None:
    """Check the statistics that fragments repeat against those of their files."""
    for fragment in table.fragments:
        for entry in fragment.body["files"]:
            file = table.files[entry["base"], entry["path"]]
            assert_zones_hold(file)
            for field_id, low, high, nulls, nans, flags in entry["stats"]:
                zone = file.columns[fragment.columns[field_id][1]].zones[-1]
                bounds = [None if b is None else b.hex() for b in (zone.minimum, zone.maximum)]
                assert [low, high, nulls, nans, flags] == [*bounds, zone.nulls, zone.nans, zone.flags]


# ---------------------------------------------------------------------------------------------- many types

RNG = random.Random(7)
UNITS = ("s", "ms", "us", "ns")
TEXTS = ("", "a", "zürich", "日本語", "🦆" * 12, "\uffff" * 11, "x" * 40, "a\0b", "\x7f")


def integer(bits: int, signed: bool = True):
    return lambda: RNG.getrandbits(RNG.choice((1, bits // 2, bits))) - (1 << (bits - 1) if signed else 0)


def small(bound: int):
    return lambda: RNG.randrange(-bound, bound)


def text() -> str:
    return RNG.choice(TEXTS) + str(RNG.randrange(5))


def cell() -> bytes:
    return RNG.randbytes(RNG.choice((0, 1, 3, 33, 60)))


def many(item, at_most: int = 4):
    return lambda: [item() for _ in range(RNG.randrange(at_most))]


def maybe(item):
    return lambda: None if RNG.random() < 0.2 else item()


INTEGERS = {f"{s}int{w}": (getattr(pa, f"{s}int{w}")(), integer(w, not s)) for s in ("", "u") for w in (8, 16, 32, 64)}
TEMPORAL = {
    "date32": (pa.date32(), small(1 << 20)),
    "date64": (pa.date64(), lambda: RNG.randrange(-9999, 9999) * 86_400_000),
    "time32": (pa.time32("ms"), lambda: RNG.randrange(86_400_000)),
    "time32_s": (pa.time32("s"), lambda: RNG.randrange(86_400)),
    "time64": (pa.time64("ns"), lambda: RNG.randrange(86_400_000_000_000)),
    "time64_us": (pa.time64("us"), lambda: RNG.randrange(86_400_000_000)),
    "interval": (
        pa.month_day_nano_interval(),
        lambda: (RNG.randrange(-9, 9), RNG.randrange(9), RNG.randrange(1 << 50)),
    ),
    **{f"timestamp_{u}": (pa.timestamp(u), small(1 << 62)) for u in UNITS},
    **{f"timestamp_tz_{u}": (pa.timestamp(u, tz="Europe/Berlin"), small(1 << 60)) for u in UNITS},
    **{f"duration_{u}": (pa.duration(u), small(1 << 40)) for u in UNITS},
}
NUMBERS = {
    "float16": (pa.float16(), lambda: np.float16(RNG.choice((0.0, -0.0, 1.5, -2.25, float("inf"), float("nan"))))),
    "float32": (pa.float32(), lambda: RNG.choice((0.0, -0.0, 1.5, RNG.uniform(-9, 9), float("-inf"), float("nan")))),
    "float64": (pa.float64(), lambda: RNG.choice((0.0, -0.0, 1e300, RNG.uniform(-9, 9), float("nan")))),
    "decimal32": (pa.decimal32(9, 2), lambda: Decimal(RNG.randrange(-(10**9), 10**9)).scaleb(-2)),
    "decimal64": (pa.decimal64(18, 0), lambda: Decimal(RNG.randrange(-(10**18), 10**18))),
    "decimal128": (pa.decimal128(20, -3), lambda: Decimal(RNG.randrange(-(10**9), 10**9)).scaleb(3)),
    "decimal256": (pa.decimal256(40, 5), lambda: Decimal(RNG.randrange(-(10**20), 10**20)).scaleb(-5)),
    "bool": (pa.bool_(), lambda: RNG.random() < 0.5),
    "null": (pa.null(), lambda: None),
}
VARIABLE = {
    "string": (pa.string(), text),
    "large_string": (pa.large_string(), text),
    "binary": (pa.binary(), cell),
    "large_binary": (pa.large_binary(), cell),
    "fixed_size_binary": (pa.binary(5), lambda: RNG.randbytes(5)),
    "fixed_size_binary_0": (pa.binary(0), lambda: b""),
    "dictionary": (pa.dictionary(pa.int8(), pa.string()), text),
    "dictionary_ordered": (pa.dictionary(pa.uint16(), pa.int64(), ordered=True), small(9)),
    "uuid": (pa.uuid(), lambda: RNG.randbytes(16)),
}
POINT = pa.struct([("x", pa.float32()), ("label", pa.string()), ("in", pa.struct([("deep", pa.int64())]))])


def point() -> dict:
    return {"x": maybe(lambda: 0.5)(), "label": maybe(text)(), "in": maybe(lambda: {"deep": maybe(small(99))()})()}


NESTED = {
    "list": (pa.list_(pa.int32()), many(maybe(small(9)))),
    "large_list": (pa.large_list(pa.string()), many(maybe(text))),
    "list_list": (pa.list_(pa.list_(pa.bool_())), many(maybe(many(maybe(lambda: True))))),
    "vector": (pa.list_(pa.float32(), 3), lambda: [0.5, -0.0, RNG.random()]),
    "vector_with_nulls": (pa.list_(pa.int16(), 2), lambda: [maybe(small(9))(), maybe(small(9))()]),
    "matrix": (pa.list_(pa.list_(pa.uint8(), 2), 2), lambda: [[1, 2], [3, RNG.randrange(200)]]),
    "texts": (pa.list_(pa.string(), 2), lambda: [text(), maybe(text)()]),
    "bools": (pa.list_(pa.bool_(), 3), lambda: [True, False, maybe(lambda: True)()]),
    "size_0": (pa.list_(pa.int8(), 0), list),
    "map": (pa.map_(pa.string(), pa.int8()), lambda: [(text(), maybe(small(9))()) for _ in range(RNG.randrange(3))]),
    "struct": (POINT, point),
    "struct_without_children": (pa.struct([]), dict),
    "list_of_structs": (pa.list_(POINT), many(maybe(point))),
    "struct_of_lists": (pa.struct([("l", pa.list_(pa.int8())), ("v", pa.list_(pa.int8(), 2))]),
                        lambda: {"l": maybe(many(small(9)))(), "v": maybe(lambda: [1, 2])()}),
}  # fmt: skip


def array_of(kind: pa.DataType, values: list) -> pa.Array:
    if pa.types.is_dictionary(kind):
        return pa.array(values, kind.value_type).dictionary_encode().cast(kind)
    if isinstance(kind, pa.BaseExtensionType):
        return pa.ExtensionArray.from_storage(kind, pa.array(values, kind.storage_type))
    return pa.array(values, kind)


def table_of(types: dict, rows: int) -> pa.Table:
    """Make a table with some, with no, and with only nulls in a column of each type, and one with few values."""
    columns = {}
    for name, (kind, value) in types.items():
        few = [value() for _ in range(3)]
        columns[name] = array_of(kind, [maybe(value)() for _ in range(rows)])
        columns[f"{name}_full"] = array_of(kind, [value() for _ in range(rows)])
        columns[f"{name}_null"] = array_of(kind, [None] * rows)
        columns[f"{name}_few"] = array_of(kind, [RNG.choice(few) for _ in range(rows)])
        columns[f"{name}_one"] = array_of(kind, [few[0]] * rows)
    return pa.table(columns)


@pytest.mark.parametrize("rows", [0, 1, 130])
@pytest.mark.parametrize("types", [INTEGERS, TEMPORAL, NUMBERS, VARIABLE, NESTED], ids=lambda t: "-".join(list(t)[:2]))
def test_every_type_reads_as_it_was_written(tmp_path, types, rows):
    data = table_of(types, rows)
    write(data, tmp_path / "t")
    found = read_table(tmp_path / "t")
    assert_same(found, rows_of(data))
    assert_stats_hold(found)


def write(data, uri: Path, **options):
    return lance_like.write_dataset(data, uri, durability="process", **options)


def test_the_schema_keeps_names_nullability_and_metadata(tmp_path):
    fields = [
        pa.field("", pa.int8(), nullable=False),
        pa.field("a.b", pa.list_(pa.field("element", pa.int8(), nullable=False, metadata={"of": "item"}))),
        pa.field("日本", pa.struct([pa.field("in", pa.string(), nullable=False, metadata={b"\xff": b""})])),
    ]
    schema = pa.schema(fields, metadata={"k": "v", b"\x80": b"\0"})
    write(pa.table([[1], [[2]], [{"in": "x"}]], schema=schema), tmp_path / "t")
    table = read_table(tmp_path / "t")
    assert table.metadata == [(b"k", b"v"), (b"\x80", b"\0")]
    assert [(f.id, f.parent, f.field.name, f.field.nullable) for f in table.fields] == [
        (0, -1, "", False),
        (1, -1, "a.b", True),
        (2, -1, "日本", True),
        (3, 2, "in", False),
    ]
    assert table.fields[3].field.metadata == ((b"\xff", b""),)
    item = {"name": "element", "type": "int8", "nullable": False, "metadata": [["b2Y=", "aXRlbQ=="]]}
    assert table.fields[1].json["type"] == {"t": "list", "item": item}


# ---------------------------------------------------------------------------------------------- many rows


@pytest.fixture(scope="module")
def long_table() -> pa.Table:
    rows = range(9_000)
    return pa.table(
        {
            "id": pa.array(rows, pa.int64()),
            "bits": pa.array([i * 7919 % 5 for i in rows], pa.int32()),
            "wide": pa.array([i * 2654435761 % (1 << 40) - (1 << 39) for i in rows], pa.int64()),
            "float": pa.array([None if i % 9 == 0 else i / 7 for i in rows], pa.float64()),
            "class": pa.array([f"class {i % 17}" for i in rows]),
            "text": pa.array([None if i % 11 == 0 else f"row {i} says {i * i} and then {i % 13}" * 2 for i in rows]),
            "flag": pa.array([i % 3 == 0 for i in rows]),
            "items": pa.array([[i, None][: i % 3] for i in rows], pa.list_(pa.int32())),
        }
    )


def test_long_columns_read_as_they_were_written(tmp_path, long_table):
    write(long_table, tmp_path / "t")
    table = read_table(tmp_path / "t")
    assert_same(table, rows_of(long_table))
    assert_stats_hold(table)
    (file,) = table.files.values()
    assert {e for c in file.columns for e in c.encodings} >= {"narrow", "bitpack", "dictionary", "zstd", "list"}
    assert {len(c.zones) for c in file.columns} == {3}


def test_rows_are_those_of_all_files_in_order(tmp_path, long_table):
    data = long_table.select(["id", "float", "class"])
    write(data, tmp_path / "t", max_rows_per_file=2_000)
    table = read_table(tmp_path / "t")
    assert [f.body["rows"] for f in table.fragments] == [2_000] * 4 + [1_000]
    assert [row["_rowid"] for row in table.rows] == list(range(9_000))
    assert_same(table, rows_of(data))


# ---------------------------------------------------------------------------------------------- versions

PEOPLE = pa.table(
    {
        "id": pa.array([1, 2, 3], pa.int32()),
        "who": pa.array(
            [{"name": "ann", "at": {"x": 1}}, None, {"name": None, "at": None}],
            pa.struct([("name", pa.string()), ("at", pa.struct([("x", pa.int8())]))]),
        ),
    }
)


def test_every_version_reads_as_it_was(tmp_path):
    uri = tmp_path / "t"
    ds = write(PEOPLE, uri)  # 1
    ds.add_columns([pa.field("note", pa.string()), pa.field("pos", pa.struct([("lat", pa.bool_())]))])  # 2
    bob = {"name": "bob", "at": {"x": None}}
    more = {"id": [4, 5], "who": [None, bob], "note": ["n", None], "pos": [None, {"lat": True}]}
    ds.insert(pa.table(more, schema=ds.schema))  # 3
    ds.add_columns({"twice": "id * 2"})  # 4
    ds.alter_columns({"path": "who.name", "name": "called"}, {"path": "id", "name": "key"})  # 5
    ds.drop_columns(["who.at"])  # 6
    ds.drop_columns(["note"])  # 7
    ds.add_columns([pa.field("note", pa.int64())])  # 8: the old name, another field
    ds.checkout_version(3).restore()  # 9
    lance_like.write_dataset(pa.table({"other": [b"x"]}), uri, mode="overwrite")  # 10

    first = rows_of(PEOPLE)
    wider = [{**row, "note": None, "pos": None} for row in first]
    appended = [*wider, *({name: column[i] for name, column in more.items()} for i in range(2))]
    twice = [{**row, "twice": row["id"] * 2} for row in appended]
    renamed = []
    for row in twice:
        who = row["who"] and {"called": row["who"]["name"], "at": row["who"]["at"]}
        renamed.append({"key": row["id"], **{name: row[name] for name in ("who", "note", "pos", "twice")}, "who": who})
    without_at = [{**row, "who": row["who"] and {"called": row["who"]["called"]}} for row in renamed]
    without_note = [{name: value for name, value in row.items() if name != "note"} for row in without_at]
    new_note = [{**row, "note": None} for row in without_note]
    history = [first, wider, appended, twice, renamed, without_at, without_note, new_note, appended, [{"other": b"x"}]]

    assert list_versions(uri) == list(range(1, 11))
    for version, rows in enumerate(history, 1):
        assert_same(read_table(uri, version), rows)
        assert_agrees(uri, version)
    assert [row["_rowid"] for row in read_table(uri, 9).rows] == [0, 1, 2, 3, 4]
    assert [row["_rowid"] for row in read_table(uri).rows] == [5]


def test_a_column_computed_later_lies_in_files_of_its_own(tmp_path):
    ds = write(PEOPLE, tmp_path / "t", max_rows_per_file=2)
    ds.add_columns({"half": "id / 2.0"})
    table = read_table(tmp_path / "t")
    assert [len(f.body["files"]) for f in table.fragments] == [2, 2]
    assert [row["half"] for row in table.rows] == [0.5, 1.0, 1.5]
    assert_agrees(tmp_path / "t")


def test_a_tag_names_the_version_that_it_was_set_to(tmp_path):
    ds = write(PEOPLE, tmp_path / "t")
    ds.insert(PEOPLE)
    ds.tags.create("first", 1)
    ds.tags.create("v.2_-", 2)
    ds.tags.create("moved", 1)
    ds.tags.update("moved", 2)
    ds.tags.create("gone", 1)
    ds.tags.delete("gone")
    assert list_tags(tmp_path / "t") == {"first": 1, "v.2_-": 2, "moved": 2}
    assert [len(read_table(tmp_path / "t", tag=tag).rows) for tag in ("first", "moved")] == [3, 6]
    with pytest.raises(NaiveError, match="NotFound tag"):
        read_table(tmp_path / "t", tag="gone")


def test_a_long_message_stands_in_a_transaction_part(tmp_path):
    message = "é" * 9_000
    write(PEOPLE, tmp_path / "t", commit_message=message, transaction_properties={"job": "nightly"})
    table = read_table(tmp_path / "t")
    assert list(table.root["transaction"]) == ["ref"]
    assert (table.transaction["message"], table.transaction["properties"]) == (message, {"job": "nightly"})


def test_many_fragments_stand_in_parts(tmp_path):
    data = pa.table({"id": range(67)})
    ds = write(data, tmp_path / "t", max_rows_per_file=1)
    ds.insert(pa.table({"id": range(67, 130)}))
    ds.insert(pa.table({"id": [130]}))
    ds.add_columns([pa.field("n", pa.bool_())])
    for version, rows in ((1, 67), (2, 130), (3, 131)):
        table = read_table(tmp_path / "t", version)
        assert [row["id"] for row in table.rows] == list(range(rows))
        assert table.root["fragments"]["parts"]
        assert len(table.root["fragments"]["tail"]) < rows / 2
    assert_agrees(tmp_path / "t")


@pytest.mark.parametrize("seed", range(6))
def test_rows_that_change_read_as_they_are(tmp_path, seed):
    random = np.random.default_rng(seed)
    rows = {i: i for i in range(400)}
    ds = write(pa.table({"k": list(rows), "v": list(rows)}), tmp_path / "t", max_rows_per_file=150)
    for step in range(8):
        divisor, rest = int(random.integers(2, 9)), int(random.integers(0, 2))
        chosen = [k for k in rows if k % divisor == rest]
        match random.integers(0, 4):
            case 0:
                ds.delete(f"k % {divisor} = {rest}")
                rows = {k: v for k, v in rows.items() if k not in chosen}
            case 1:
                ds.update({"v": f"v + {1000 * step}"}, f"k % {divisor} = {rest}")
                rows |= {k: rows[k] + 1000 * step for k in chosen}
            case 2:
                new = dict.fromkeys([*chosen[:50], *range(400 + 10 * step, 405 + 10 * step)], -step)
                merge = ds.merge_insert("k").when_matched_update_all().when_not_matched_insert_all()
                merge.execute(pa.table({"k": list(new), "v": list(new.values())}))
                rows |= new
            case _:
                ds.add_columns([pa.field(f"n{step}", pa.int8())])
        table = read_table(tmp_path / "t")
        assert {row["k"]: row["v"] for row in table.rows} == rows
        assert len(table.rows) == len(rows)
        assert_agrees(tmp_path / "t")
        found = ds.checkout_version(table.version).to_table(["_row_created_at_version", "_row_last_updated_at_version"])
        assert [column.to_pylist() for column in found.columns] == [table.created, table.updated]


def test_a_null_among_the_values_of_a_dictionary_type_is_null_to_a_filter(tmp_path):
    column = pa.DictionaryArray.from_arrays(pa.array([0, 1, 0, 1], pa.int8()), pa.array(["a", None]))
    ds = write(pa.table({"d": column}), tmp_path / "t")
    assert [row["d"] for row in read_table(tmp_path / "t").rows] == ["a", None, "a", None]
    assert ds.count_rows("d is null") == 2
