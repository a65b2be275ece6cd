"""Scalar indexes answer as a naive search does: of some types here, of every type among the slow tests."""

import pyarrow as pa
import pytest

from lance_like.errors import InvalidInput
from lance_like.index.scalar.bitmap import Bitmap
from lance_like.index.scalar.bloomfilter import BloomFilter
from lance_like.index.scalar.btree import BTree
from lance_like.index.scalar.label_list import LabelList
from lance_like.index.scalar.ngram import Ngram
from lance_like.index.scalar.zonemap import ZoneMap
from lance_like.testing.indexes import IndexTests
from lance_like.testing.values import LIST_TYPES, ORDERED_TYPES, TEXT_TYPES

SOME_TYPES = (pa.float64(), pa.string())
NO_ORDER = (pa.list_(pa.int64()), pa.struct([("a", pa.int64())]), pa.null(), pa.month_day_nano_interval())
ZONES = {"rows_per_zone": 16}


class TestBTree(IndexTests):
    plugin = BTree()
    types = SOME_TYPES
    refused = NO_ORDER


class TestBitmap(IndexTests):
    plugin = Bitmap()
    types = SOME_TYPES
    refused = NO_ORDER


class TestLabelList(IndexTests):
    plugin = LabelList()
    types = LIST_TYPES[:2]
    refused = (pa.int64(), pa.list_(pa.list_(pa.int64())), pa.map_(pa.string(), pa.int64()))


class TestNgram(IndexTests):
    plugin = Ngram()
    types = (pa.string(),)
    refused = (pa.int64(), pa.binary())


class TestZoneMap(IndexTests):
    plugin = ZoneMap()
    types = SOME_TYPES
    refused = NO_ORDER
    given = ZONES


class TestBloomFilter(IndexTests):
    plugin = BloomFilter()
    types = SOME_TYPES
    refused = NO_ORDER
    given = ZONES


@pytest.mark.slow
class TestBTreeOfEveryType(TestBTree):
    types = ORDERED_TYPES


@pytest.mark.slow
class TestBitmapOfEveryType(TestBitmap):
    types = ORDERED_TYPES


@pytest.mark.slow
class TestLabelListOfEveryType(TestLabelList):
    types = LIST_TYPES


@pytest.mark.slow
class TestNgramOfEveryType(TestNgram):
    types = (*TEXT_TYPES, pa.dictionary(pa.int8(), pa.string()))


@pytest.mark.slow
class TestZoneMapOfEveryType(TestZoneMap):
    types = ORDERED_TYPES


@pytest.mark.slow
class TestBloomFilterOfEveryType(TestBloomFilter):
    types = ORDERED_TYPES


def test_a_bloom_filter_takes_the_share_of_wrong_answers() -> None:
    plugin = BloomFilter()
    made = plugin.params(pa.int64(), {"number_of_items": 100, "probability": 0.01})
    assert made == {"rows_per_zone": 100, "bits_per_value": 10}
    assert plugin.params(pa.int64(), {"probability": 0.001})["bits_per_value"] == 15
    for wrong in (0, 1.0, "0.5", 1e-30):
        with pytest.raises(InvalidInput, match=r"probability|bits_per_value"):
            plugin.params(pa.int64(), {"probability": wrong})
    with pytest.raises(InvalidInput, match="the same"):
        plugin.params(pa.int64(), {"number_of_items": 100, "rows_per_zone": 100})
