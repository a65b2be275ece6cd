"""The main job, end to end: write, append, query, take, train, add a column, spoil, roll back.

117,659 word senses of WordNet with text, numbers, lists, a vector column and binary cells. What they are and
why is said in `fetch_data.py`, which must have run before; this script uses no network. What is printed is
also asserted.

    python examples/01_main_job.py [FOLDER]      the table is kept in FOLDER; without it, it is thrown away
"""

from __future__ import annotations

import hashlib
import importlib.util
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from fetch_data import BATCH_ROWS, SYNSETS

import lance_like

HAVE_TORCH = importlib.util.find_spec("torch") is not None
HAVE_TQDM = importlib.util.find_spec("tqdm") is not None


@contextmanager
def step(title: str) -> Iterator[None]:
    """Print a title, and after the step how long it took."""
    print(f"\n== {title}", flush=True)
    started = time.perf_counter()
    yield
    print(f"   {time.perf_counter() - started:.2f} s", flush=True)


def open_bar(rows: int) -> AbstractContextManager:
    """A bar of tqdm, or None where it is not installed."""
    if not HAVE_TQDM:
        return nullcontext()
    from tqdm import tqdm

    return tqdm(total=rows, unit=" rows", unit_scale=True, ncols=80, file=sys.stdout)


@contextmanager
def progress_bar(rows: int) -> Iterator[Callable[[lance_like.WriteProgress], None]]:
    """A callback for `write_dataset` that moves a bar: tqdm's where installed, else one line of ours.

    Afterwards it has been told of every row.
    """
    reports: list[int] = []
    with open_bar(rows) as bar:

        def report(done: lance_like.WriteProgress) -> None:
            reports.append(done.rows)
            if bar is None:
                print(f"\r   {done.rows:,} of {rows:,} rows", end="", flush=True)
            else:
                bar.update(done.rows - bar.n)

        yield report
    if bar is None:
        print()
    assert reports == sorted(reports)
    assert reports[-1] == rows


def batches(table: pa.Table) -> pa.RecordBatchReader:
    """The table as a stream that is read once, as a job would get it from elsewhere."""
    return pa.RecordBatchReader.from_batches(table.schema, iter(table.to_batches(max_chunksize=BATCH_ROWS)))


def files_of(uri: str) -> dict[str, int]:
    """The files of a dataset and their sizes in bytes."""
    return {str(path): path.stat().st_size for path in Path(uri).rglob("*") if path.is_file()}


def hashes_of(files: Iterable[str]) -> dict[str, str]:
    """The sha256 of some files, by path."""
    return {path: hashlib.sha256(Path(path).read_bytes()).hexdigest() for path in files}


def fingerprint(ds: lance_like.LanceDataset) -> dict[str, str]:
    """A hash of the content of each column: every value of every row, in order."""
    found = {}
    for name in ds.schema.names:
        column = ds.to_table(columns=[name]).combine_chunks().to_batches()[0]
        found[name] = hashlib.sha256(column.serialize()).hexdigest()[:16]
    return found


def write(source: pa.Table, uri: str) -> lance_like.LanceDataset:
    """Nouns first, then the rest as a second commit."""
    nouns = source["kind"].index("verb").as_py()
    for mode, part in (("create", source.slice(0, nouns)), ("append", source.slice(nouns))):
        with progress_bar(part.num_rows) as progress:
            ds = lance_like.write_dataset(batches(part), uri, mode=mode, progress=progress)
        assert ds.count_rows() == (nouns if mode == "create" else source.num_rows)
    held = files_of(uri)
    print(f"   {ds.count_rows():,} rows in {len(ds.get_fragments())} fragments, version {ds.version}")
    print(f"   {sum(held.values()) / 1e6:.1f} MB in {len(held)} files; {source.nbytes / 1e6:.1f} MB as Arrow")
    assert sum(held.values()) < source.nbytes
    assert [entry["version"] for entry in ds.versions()] == [1, 2]
    assert ds.schema == source.schema
    return ds


def query(ds: lance_like.LanceDataset, source: pa.Table) -> None:
    """The dataset is a table of DuckDB; the same questions are put to the source."""
    by_class = """
        SELECT lexical_class, count(*) AS senses, avg(relations) AS relations, count(example) AS examples
        FROM {table} WHERE relations >= 10 AND kind IN ('noun', 'verb')
        GROUP BY ALL ORDER BY senses DESC, lexical_class
    """
    answer = duckdb.sql(by_class.format(table="ds"))
    print(answer.limit(4))
    assert answer.fetchall() == duckdb.sql(by_class.format(table="source")).fetchall()

    broader = """
        SELECT parent.words[1] AS broader, count(*) AS narrower
        FROM {table} AS child JOIN {table} AS parent ON child.broader = parent.id
        WHERE parent.lexical_class = 'noun.food' GROUP BY ALL ORDER BY narrower DESC, broader LIMIT 4
    """
    answer = duckdb.sql(broader.format(table="ds"))
    print(answer)
    assert answer.fetchall() == duckdb.sql(broader.format(table="source")).fetchall()

    # A coarse pass over the signatures (Hamming distance), then the exact angle for what is left.
    nearest = """
        WITH asked AS (SELECT vector, signature FROM {table} WHERE id = 102084071)
        SELECT words[1] AS word, round(array_inner_product({table}.vector, asked.vector), 3) AS score, gloss
        FROM {table}, asked
        WHERE bit_count(xor({table}.signature::BIT, asked.signature::BIT)) < 90
        ORDER BY score DESC, word LIMIT 5
    """
    answer = duckdb.sql(nearest.format(table="ds"))
    print(answer)
    rows = answer.fetchall()
    assert rows == duckdb.sql(nearest.format(table="source")).fetchall()
    assert rows[0][:2] == ("dog", 1.0)


def take(ds: lance_like.LanceDataset, source: pa.Table) -> None:
    """1,000 rows at random places, all columns, compared with the source cell by cell."""
    rows = np.random.default_rng(0).choice(ds.count_rows(), 1_000, replace=False)
    ds.take(rows[:1])
    started = time.perf_counter()
    found = ds.take(rows)
    took = time.perf_counter() - started
    assert found.equals(source.take(rows))
    count = f"{len(rows):,} random rows of {found.num_columns} columns"
    print(f"   {count} in {took * 1e3:.1f} ms, all as in the source")


def train(ds: lance_like.LanceDataset, source: pa.Table) -> None:
    """One epoch: learn the lexical class from the vector; every row is seen exactly once."""
    import torch
    from torch.utils.data import DataLoader

    torch.manual_seed(0)
    rows = lance_like.torch.LanceDataset(
        ds, columns=["id", "class_id", "vector"], batch_size=256, shuffle="global", seed=1
    )
    loader = DataLoader(rows, batch_size=None, num_workers=2)
    model = torch.nn.Linear(256, 45)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.03)
    seen, right = [], []
    for batch in loader:
        scores = model(batch["vector"])
        labels = batch["class_id"].long()
        # Each row is judged before the model learns from it.
        right.append((scores.argmax(dim=1) == labels).float().mean().item())
        seen.append(batch["id"])
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(scores, labels).backward()
        optimizer.step()
    ids = np.sort(torch.cat(seen).numpy())
    assert len(seen) == len(loader)
    assert np.array_equal(ids, np.sort(source["id"].to_numpy()))
    accuracy = float(np.mean(right[-100:]))
    print(f"   {len(ids):,} rows once each in {len(seen)} batches from 2 workers")
    print(f"   {accuracy:.0%} of the last 100 batches put in the right one of 45 classes")
    assert accuracy > 0.45  # the largest class holds 12 % of the rows


def add_column(ds: lance_like.LanceDataset, source: pa.Table, uri: str) -> None:
    """A new column writes its own files only: all others stay, byte for byte."""
    before = files_of(uri)
    hashes = hashes_of(before)
    ds.add_columns({"gloss_length": "length(gloss)"})
    after = files_of(uri)
    held = sum(before.values())
    written = sum(nbytes for path, nbytes in after.items() if path not in before)
    print(f"   {written:,} bytes written for a column of {ds.count_rows():,} rows; {held:,} were held")
    print(f"   that is {written / held:.2%}; the {len(before)} older files are unchanged")
    assert written < 0.01 * held
    assert hashes_of(before) == hashes
    lengths = ds.to_table(columns=["gloss_length"])["gloss_length"]
    assert lengths.cast(pa.int32()).equals(pc.utf8_length(source["gloss"]))
    # Who asks for the version before gets it without the column.
    assert lance_like.dataset(uri, version=ds.version - 1).schema == source.schema


def spoil(ds: lance_like.LanceDataset, uri: str) -> None:
    """A bad job: the glosses are replaced by upside-down ones, then 40,000 rows are appended again."""
    ds.add_columns({"bad_gloss": "upper(reverse(gloss))"})
    ds.drop_columns(["gloss"])
    ds.alter_columns({"path": "bad_gloss", "name": "gloss"})
    ds.insert(ds.to_table(limit=40_000))
    doubled = duckdb.sql("SELECT count(*) - count(DISTINCT id) FROM ds").fetchall()[0][0]
    print(f"   version {ds.version}: {doubled:,} rows are there twice; the first gloss reads")
    print(f"   {ds.head(1)['gloss'][0]}")
    assert doubled == 40_000
    # Who opens the table now gets the damage.
    assert lance_like.dataset(uri).version == ds.version


def roll_back(ds: lance_like.LanceDataset, uri: str, good: dict[str, str], files: dict[str, str]) -> None:
    """`restore` makes the tagged version the newest one again; nothing is copied, nothing is forgotten.

    good: the content hashes of the columns before the damage; files: those of the files.
    """
    spoiled = ds.version
    assert fingerprint(ds) != good
    before = files_of(uri)
    started = time.perf_counter()
    ds.checkout_version("good").restore()
    took = time.perf_counter() - started
    written = sum(nbytes for path, nbytes in files_of(uri).items() if path not in before)
    ds.checkout_latest()
    found = fingerprint(ds)
    assert found == good
    assert ds.version == spoiled + 1
    assert [entry["version"] for entry in ds.versions()] == list(range(1, ds.version + 1))
    assert lance_like.dataset(uri, version=spoiled).count_rows() == ds.count_rows() + 40_000
    print(f"   {took * 1e3:.1f} ms and {written:,} bytes; now version {ds.version} of {len(ds.versions())}")
    print(f"   the content hashes of all {len(found)} columns equal those before the damage:")
    print(f"   gloss {found['gloss']}, vector {found['vector']}, record {found['record']}")
    assert written < 100_000
    assert hashes_of(files) == files
    print(f"   the {len(files)} files from before it are unchanged, byte for byte")


def main() -> int:
    if not SYNSETS.exists():
        raise SystemExit(f"{SYNSETS} is missing: run examples/fetch_data.py first, with network")
    started = time.perf_counter()
    source = pa.ipc.open_file(pa.memory_map(str(SYNSETS))).read_all()
    with tempfile.TemporaryDirectory() as scratch:
        uri = sys.argv[1] if len(sys.argv) > 1 else f"{scratch}/synsets"
        with step("Write from a stream of batches, then append"):
            ds = write(source, uri)
        with step("Query in place with DuckDB"):
            query(ds, source)
        with step("Take 1,000 random rows"):
            take(ds, source)
        if HAVE_TORCH:
            with step("Feed one epoch to PyTorch"):
                train(ds, source)
        else:
            print("\n== PyTorch is not installed (pip install 'lance_like[torch]'): no epoch")
        with step("Add a column without rewriting"):
            add_column(ds, source, uri)
        with step("Tag this version"):
            ds.tags.create("good", ds.version)
            good, files = fingerprint(ds), hashes_of(files_of(uri))
            assert ds.tags.get_version("good") == ds.version
            print(f'   version {ds.version} is "good"')
        with step("Spoil the data"):
            spoil(ds, uri)
        with step("Roll back and prove it"):
            roll_back(ds, uri, good, files)
    took = time.perf_counter() - started
    print(f"\nAll steps done and checked in {took:.1f} s.")
    assert took < 120
    return 0


if __name__ == "__main__":
    sys.exit(main())
