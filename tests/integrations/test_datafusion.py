"""DataFusion over a dataset: `register_dataset` reads fragments side by side with columns and filters pushed down."""

from __future__ import annotations

import pyarrow as pa
import pytest

import lance_like
from lance_like import LanceFragment
from lance_like.errors import InvalidInput

datafusion = pytest.importorskip("datafusion")


@pytest.fixture
def context():
    table = pa.table(
        {
            "i": range(1000),
            "t": [f"n{i}" for i in range(1000)],
            "f": [None if i % 7 == 0 else i / 3 for i in range(1000)],
            "s": [{"x": i % 5} for i in range(1000)],
            "d": pa.array(["a", "b"] * 500).dictionary_encode(),
        }
    )
    ds = lance_like.write_dataset(table, "memory://datafusion", mode="overwrite", max_rows_per_file=300)
    ds.delete("i = 7")
    made = datafusion.SessionContext()
    made.register_dataset("here", ds)
    made.from_arrow(table.filter(pa.compute.field("i") != 7), name="there")
    return made


QUERIES = [
    "select count(*), sum(i), min(t) from {} where i > 500",
    "select i, t from {} where t like 'n1%' and d = 'a' order by i limit 3",
    "select i from {} where i in (1, 2, 3) and s['x'] = 1",
    "select d, count(f) from {} where f is not null group by d order by d",
    "select a.i from {} a join {} b on a.i = b.i + 990 order by 1",
]


@pytest.mark.parametrize("query", QUERIES)
def test_answers_are_those_over_the_same_table_in_memory(query, context):
    here, there = (context.sql(query.replace("{}", name)).to_pydict() for name in ("here", "there"))
    assert list(here.values()) == list(there.values())


def test_filters_and_columns_reach_the_fragments(context, monkeypatch):
    asked = []
    real = LanceFragment.scanner

    def scanner(self, *schema, columns=None, filter=None, **options):
        asked.append((columns, filter is not None))
        return real(self, *schema, columns=columns, filter=filter, **options)

    monkeypatch.setattr(LanceFragment, "scanner", scanner)
    assert context.sql("select i from here where i = 999").to_pydict() == {"i": [999]}
    assert asked == [(["i"], True)], "the other fragments are excluded by their statistics"


def test_a_fragment_is_read_in_no_other_schema():
    ds = lance_like.write_dataset({"a": [1]}, "memory://datafusion-schema", mode="overwrite")
    [fragment] = ds.get_fragments()
    assert fragment.scanner(ds.schema).to_table()["a"].to_pylist() == [1]
    with pytest.raises(InvalidInput, match="schema of its dataset"):
        fragment.scanner(pa.schema([("a", pa.string())]))
