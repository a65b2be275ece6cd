"""What scalar indexes read, keep and spill: counted, not timed."""

import warnings

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from pyroaring import BitMap

from lance_like.errors import Corrupt
from lance_like.index.base import Segment
from lance_like.index.questions import Answer, HasAll, HasAny, IsNull, OneOf, Range, StartsWith
from lance_like.index.scalar import inverted, sorted_column
from lance_like.index.scalar.bitmap import Bitmap
from lance_like.index.scalar.bloomfilter import BloomFilter
from lance_like.index.scalar.btree import BTree
from lance_like.index.scalar.grouping import Grouping
from lance_like.index.scalar.label_list import LabelList
from lance_like.index.scalar.zonemap import ZoneMap
from lance_like.io.observe import CountingStore, counted
from lance_like.testing.indexes import build

ROWS = 200_000
IDS = pa.array(np.random.default_rng(0).permutation(ROWS))


def test_a_search_for_one_value_reads_the_fences_and_a_leaf():
    built = build(BTree(), IDS, {})
    store = CountingStore(built.store)
    searcher = built.open(store)
    with counted(store) as cold:
        assert searcher.rows(OneOf(IDS[5:6])) == BitMap([5])
    assert cold.rounds <= 3
    assert cold.bytes_read < 115_000
    with counted(store) as other:
        assert searcher.rows(OneOf(IDS[6:7])) == BitMap([6])
    assert other.rounds == 1
    assert other.bytes_read < 45_000
    with counted(store) as again:
        searcher.rows(OneOf(IDS[5:7]))
    assert again.rounds == 0


@pytest.mark.parametrize(
    "plugin", [BTree(), Bitmap(), BloomFilter(), LabelList(), ZoneMap()], ids=lambda plugin: plugin.name
)
def test_after_a_prewarm_nothing_is_read(plugin):
    values = pa.array([None if n % 9 == 0 else n % 50 for n in range(20_000)])
    if isinstance(plugin, LabelList):
        values = pa.array([None if n is None else [n] for n in values.to_pylist()])
    built = build(plugin, values, {})
    store = CountingStore(built.store)
    searcher = built.open(store)
    searcher.prewarm()
    seven = pa.array([7])
    with counted(store) as counts:
        searcher.rows(IsNull())
        searcher.rows(HasAny(seven) if isinstance(plugin, LabelList) else OneOf(seven))
    assert counts.rounds == 0


@pytest.mark.parametrize("plugin", [Bitmap(), LabelList()], ids=lambda plugin: plugin.name)
def test_rows_of_a_key_are_counted_without_a_set(plugin, monkeypatch):
    values = pa.array([n % 50 for n in range(20_000)])
    if isinstance(plugin, LabelList):
        values = pa.array([[n] for n in values.to_pylist()])
    searcher = build(plugin, values, {}).open()
    monkeypatch.setattr(inverted, "bitmaps_of", lambda *_: pytest.fail("sets of rows are made"))
    asked = HasAny if isinstance(plugin, LabelList) else OneOf
    assert searcher.tally(asked(pa.array([7]))) == 400
    assert searcher.tally(asked(pa.array([70]))) == 0


def test_few_leaves_are_read_in_one_round():
    built = build(BTree(), pc.add(IDS, 0), {})
    store = CountingStore(built.store)
    searcher = built.open(store)
    searcher.rows(OneOf(IDS[:1]))
    with counted(store) as counts:
        assert searcher.rows(OneOf(IDS[100:105])) == BitMap(range(100, 105))
    assert counts.rounds == 1


def test_many_values_are_looked_up_without_their_leaves():
    built = build(BTree(), IDS, {})
    store = CountingStore(built.store)
    searcher = built.open(store)
    searcher.rows(OneOf(IDS[:1]))
    kept = searcher.nbytes_cached
    with counted(store) as counts:
        assert searcher.rows(OneOf(IDS[100:150])) == BitMap(range(100, 150))
    assert counts.rounds <= 4, "pages, samples of leaves, rows between two samples, what belongs to the values"
    assert counts.bytes_read < 1_000_000
    assert searcher.nbytes_cached <= kept + 8 * ROWS // 32 + 8
    with counted(store) as again:
        assert searcher.rows(OneOf(IDS[100:149])) == BitMap(range(100, 149))
    assert again.rounds == 2, "samples are kept"


@pytest.mark.parametrize("kind", [pa.int64(), pa.string(), pa.float32()])
def test_many_values_are_found_wherever_and_however_often_they_stand(kind, monkeypatch):
    monkeypatch.setattr(sorted_column, "_FEW_LEAVES", 0)
    random = np.random.default_rng(2)
    counts = random.choice([1, 1, 1, 2, 3, 9000], 60)
    numbers = random.permutation(np.repeat(np.arange(0, 120, 2), counts))
    searcher = build(BTree(), pa.array(numbers).cast(kind), {}).open()
    for asked in (range(-3, 130), range(0, 120, 2), [1, 3], [0, 118], random.integers(0, 120, 7).tolist()):
        expected = BitMap(np.flatnonzero(np.isin(numbers, list(asked))).tolist())
        assert searcher.rows(OneOf(pa.array(asked).cast(kind))) == expected


def test_a_long_range_reads_ordinals_and_keeps_no_leaf_of_its_middle():
    built = build(BTree(), IDS, {})
    searcher = built.open()
    found = searcher.rows(Range(pa.scalar(1000), pa.scalar(150_000)))
    assert found == BitMap(np.flatnonzero((np.asarray(IDS) >= 1000) & (np.asarray(IDS) <= 150_000)))
    assert searcher.nbytes_cached < 3 * 8192 * 12


@pytest.mark.parametrize("start", [sorted_column.LEAF_ROWS - 1, sorted_column.LEAF_ROWS + 5])
def test_a_range_from_one_leaf_over_another_into_a_third_is_whole(start):
    built = build(BTree(), IDS, {})
    order = np.argsort(IDS.to_numpy())
    for end in (start + sorted_column.LEAF_ROWS + 2, start + 2 * sorted_column.LEAF_ROWS):
        asked = Range(pa.scalar(start), pa.scalar(end), high_included=False)
        assert built.open().rows(asked) == BitMap(order[start:end])


@pytest.mark.parametrize("plugin", [BTree(), Bitmap(), BloomFilter(), ZoneMap()], ids=lambda plugin: plugin.name)
@pytest.mark.parametrize(
    "bits",
    [
        np.array([0x7C01, 0xFE00, 0x7E00, 0xFC12, 0x3C00], np.uint16).view(np.float16),
        np.array([0x7F80_0001, 0xFFC0_0000, 0x7FC0_0000, 0xFF80_0123, 0x3F80_0000], np.uint32).view(np.float32),
        np.array([0x7FF << 52 | 1, 0xFFF8 << 48, 0x7FF8 << 48, 0xFFF << 52 | 9, 0x3FF << 52], np.uint64).view(float),
    ],
    ids=lambda bits: bits.dtype.name,
)
def test_every_nan_is_one_value_of_which_nobody_is_warned(plugin, bits):
    values = pa.array(bits)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        searcher = build(plugin, values, {}).open()
        found = [searcher.rows(OneOf(values[place : place + 1])) for place in range(5)]
    if plugin.answers(values.type, plugin.params(values.type, {}), OneOf(values[:1])) is Answer.EXACT:
        assert found == [BitMap(range(4))] * 4 + [BitMap([4])]
    else:
        assert all(rows == BitMap(range(5)) for rows in found)


def test_equal_values_may_fill_several_leaves():
    values = pa.array(np.repeat([3, 5, 9], [10_000, 30_000, 5]))
    searcher = build(BTree(), values, {}).open()
    assert len(searcher.rows(OneOf(pa.array([5])))) == 30_000
    assert len(searcher.rows(OneOf(pa.array([3, 9])))) == 10_005
    assert len(searcher.rows(Range(pa.scalar(3), pa.scalar(9), low_included=False, high_included=False))) == 30_000
    assert searcher.rows(Range(pa.scalar(9), pa.scalar(3))) == BitMap()


def test_leaves_and_lists_are_kept_in_bounded_memory(monkeypatch):
    monkeypatch.setattr(sorted_column, "LEAVES_NBYTES", 250_000)
    monkeypatch.setattr(inverted, "_LISTS_NBYTES", 10_000)
    for plugin, values in ((BTree(), IDS), (Bitmap(), pc.bit_wise_and(IDS, 1023))):
        searcher = build(plugin, values, {}).open()
        for i in range(0, 2000, 7):
            assert i in searcher.rows(OneOf(values[i : i + 1]))
        assert 0 < searcher.nbytes_cached < 300_000


def test_an_index_smaller_than_a_leaf_is_one_file():
    assert list(build(BTree(), IDS[:100], {}).bytes_of_files()) == ["values"]
    assert list(build(BTree(), pa.nulls(3, pa.int64()), {}).bytes_of_files()) == ["nulls"]


def test_files_are_smaller_than_plain_numbers():
    sizes = {
        plugin.name: sum(map(len, build(plugin, IDS, {}).bytes_of_files().values())) for plugin in (BTree(), Bitmap())
    }
    assert sizes["BTREE"] < 4 * ROWS
    few = build(Bitmap(), pc.bit_wise_and(IDS, 255), {}).bytes_of_files()
    assert sum(map(len, few.values())) < 1.4 * ROWS, "11 bits a row at most"


def test_a_bloom_filter_reads_one_block_of_all_zones():
    built = build(BloomFilter(), IDS, {"rows_per_zone": 1000})
    store = CountingStore(built.store)
    searcher = built.open(store)
    searcher.rows(OneOf(IDS[:1]))
    with counted(store) as counts:
        assert 77 in searcher.rows(OneOf(IDS[77:78]))
    assert counts.bytes_read <= 3 * 4096 + 200 * 32
    zones = [len(searcher.rows(OneOf(IDS[i : i + 1]))) // 1000 for i in range(0, ROWS, 1999)]
    assert np.mean(zones) < 1 + 200 * 0.03


@pytest.mark.parametrize("kind", [pa.int64(), pa.large_string(), pa.decimal128(25, 2)])
def test_groups_of_several_runs_are_those_of_one(kind):
    random = np.random.default_rng(1)
    numbers = pa.array(random.integers(-500, 500, 20_000))
    values = numbers.cast(kind)
    ordinals = np.arange(len(values), dtype=np.uint32)
    whole = Grouping(values.type, 1 << 30)
    small = Grouping(values.type, 1 << 17)
    for start in range(0, len(values), 1000):
        for group in (whole, small):
            group.add(values[start : start + 1000], ordinals[start : start + 1000])
    assert len(small._runs) > 3
    [expected] = whole.groups()
    parts = list(small.groups())
    assert len(parts) > 1
    assert pa.concat_arrays([part.keys.values(values.type) for part in parts]) == expected.keys.values(values.type)
    assert np.array_equal(np.concatenate([part.ordinals for part in parts]), expected.ordinals)
    assert max(len(part.ordinals) for part in parts) < len(values) / 2


def test_a_run_on_disk_is_removed(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    small = Grouping(pa.int64(), 1 << 12)
    small.add(IDS[:10_000], np.arange(10_000, dtype=np.uint32))
    assert list(tmp_path.iterdir())
    assert sum(len(part.ordinals) for part in small.groups()) == 10_000
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("count", [10, 100, 300, 1000])
def test_rows_with_several_of_many_labels_are_found_once(count):
    lists = pa.array([[row, row + 1] for row in range(30_000)], pa.list_(pa.int32()))
    searcher = build(LabelList(), lists, {}).open()
    asked = pa.array(range(5000, 5000 + count), pa.int32())
    assert searcher.rows(HasAny(asked)) == BitMap(range(4999, 5000 + count))


def test_a_list_without_all_labels_is_looked_up_no_further():
    built = build(LabelList(), pa.array([["a", "b"], ["b"], None, [], ["a", None]]), {})
    searcher = built.open()
    searcher.rows(HasAll(pa.array(["a"])))
    store = CountingStore(built.store)
    searcher = built.open(store)
    searcher.rows(HasAll(pa.array(["a"])))
    with counted(store) as counts:
        assert searcher.rows(HasAll(pa.array(["a", "no such label"]))) == BitMap()
    assert counts.rounds == 0


def test_prefixes_end_where_no_text_is_above_them():
    values = pa.array(["a", "a\U0010ffff", "a\U0010ffff\U0010ffff", "b", "\U0010ffff", "\U0010ffffz", None])
    searcher = build(BTree(), values, {}).open()
    assert searcher.rows(StartsWith("a\U0010ffff")) == BitMap([1, 2])
    assert searcher.rows(StartsWith("\U0010ffff")) == BitMap([4, 5])


def test_a_segment_that_records_other_rows_than_its_files_is_corrupt():
    built = build(BTree(), IDS[:1000], {})
    wrong = Segment(999, IDS.type, {}, built.detail, built.segment().files)
    with pytest.raises(Corrupt):
        BTree().open(wrong).rows(OneOf(IDS[:1]))
    with pytest.raises(Corrupt):
        BTree().open(Segment(1000, IDS.type, {}, {"nulls": 5000}, built.segment().files))
