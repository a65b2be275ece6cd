"""The HTML that a notebook shows of a dataset."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pyarrow as pa
import pytest

import lance_like
from lance_like import LanceDataset
from lance_like.io.memory import MemoryStore
from lance_like.io.observe import CountingStore, counted
from lance_like.table.snapshot import read_manifest

PNG = b"\x89PNG\r\n\x1a\n" + bytes(200)


def written(columns, name: str) -> LanceDataset:
    return lance_like.write_dataset(columns, f"memory://preview-{name}", mode="overwrite")


def test_types_and_values_are_shown_and_markup_in_them_is_not_markup():
    shown = written({"<a>": [1, None], "t": ["<script>alert(1)</script>", "two\nlines"]}, "markup")._repr_html_()
    assert "&lt;a&gt;" in shown
    assert "int64" in shown
    assert "<script>" not in shown
    assert "&lt;script&gt;" in shown
    assert "two<br>lines" in shown
    assert "null" in shown


def test_long_text_is_cut_and_short_text_is_not():
    shown = written({"t": ["é" * 161, "é" * 160]}, "text")._repr_html_()
    assert "é" * 160 + "…" in shown
    assert "é" * 160 + "</td>" in shown
    assert "é" * 161 not in shown


def test_vectors_are_shown_by_their_beginning_and_length():
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(np.arange(768) / 8, pa.float32()), 768)
    shown = written({"v": vectors}, "vector")._repr_html_()
    assert "[0, 0.125, 0.25, 0.375, 0.5, … <small>(768)</small>]" in shown


@pytest.mark.parametrize("blob", [False, True])
def test_images_are_images_and_other_bytes_are_not(blob):
    field = lance_like.blob_field("b") if blob else pa.field("b", pa.binary())
    cells = [PNG, b"\x00\x01 no image", PNG + bytes(300 << 10)]
    shown = lance_like.write_dataset({"b": cells}, f"memory://image-{blob}", schema=pa.schema([field]))._repr_html_()
    assert shown.count("<img src='data:image/png;base64,") == 1
    assert "00 01 20 6e" in shown
    assert f"png image, {len(cells[2]):,} bytes" in shown


def test_images_in_structs_and_in_every_format():
    starts = [PNG, b"\xff\xd8\xff\xe0", b"GIF89a", b"RIFF1234WEBPVP8 ", b"RIFF1234WAVE"]
    shown = written({"s": [{"bytes": start, "path": None} for start in starts]}, "formats")._repr_html_()
    assert [shown.count(f"image/{kind};") for kind in ("png", "jpeg", "gif", "webp")] == [1, 1, 1, 1]


def test_rows_and_columns_that_are_left_out_are_counted():
    shown = written({f"column {i}": range(1234) for i in range(40)}, "many")._repr_html_()
    assert "1,234 rows, 40 columns, 10 of them not shown" in shown
    assert "… 1,224 more rows" in shown
    assert shown.count("<tr>") == 11


def test_an_empty_table_and_times_that_python_has_not():
    empty = lance_like.write_dataset(pa.table({"a": pa.array([], pa.int8())}), "memory://empty-preview")
    assert "0 rows" in empty._repr_html_()
    late = pa.array([2**60, None]).cast(pa.timestamp("s"))
    shown = written({"when": late, "day": [dt.date(2020, 1, 2), None]}, "late")._repr_html_()
    assert "2020-01-02" in shown


def test_a_table_that_cannot_be_read_says_so(tmp_path):
    lance_like.write_dataset({"a": range(10)}, tmp_path)
    for path in (tmp_path / "data").iterdir():
        path.unlink()
    shown = lance_like.dataset(tmp_path)._repr_html_()
    assert "10 rows" in shown
    assert "missing" in shown


def test_large_cells_are_not_read():
    store = CountingStore(MemoryStore.named("large-preview"))
    lance_like.write_dataset({"b": [np.random.default_rng(i).bytes(4 << 20) for i in range(10)]}, store.uri)
    ds = LanceDataset(store, read_manifest(store, 1))
    with counted(store) as counts:
        shown = ds._repr_html_()
    assert "4,194,304 bytes" in shown
    assert counts.bytes_read < 1 << 20
