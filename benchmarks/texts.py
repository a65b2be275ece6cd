"""Full-text search: `python -m benchmarks.texts --rows 1000000`.

Short texts cut from the sources of Python's standard library; lower case, no
stemming, no stop words on any side. The ten best rows of queries of several shapes, as an Arrow table of the id and the
score; engines without a table answer with ids and scores as they give them. Handles are warm and take turns. The scores
of the first turn are compared where BM25 has the same form.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.datasets import make_texts
from benchmarks.searches import IndexPeer, Stored, ask, build, first_asked, merged
from benchmarks.tables.report import Samples, run_and_report

__all__ = ["PEERS", "load", "main", "make_table", "measure"]

K = 10
ASKED = 25
PLAIN = {"stem": False, "remove_stop_words": False, "ascii_folding": False, "with_position": True}
Query = tuple[str, tuple[str, ...]]
"""The shape, "or", "and" or "phrase", and its words."""


class LanceLike(IndexPeer):
    name = "lance_like"
    settings = ("INVERTED with positions, no stemming, no stop words", "BTREE on id for the filter")

    @staticmethod
    def library() -> Any:
        import lance_like

        return lance_like

    @staticmethod
    def queries() -> Any:
        from lance_like import query

        return query

    def store(self, path: Path, table: pa.Table) -> None:
        self.library().write_dataset(table, str(path), max_rows_per_file=len(table))

    def index(self, path: Path, table: pa.Table) -> None:
        handle = self.library().dataset(str(path))
        handle.create_scalar_index("text", "INVERTED", **PLAIN)
        handle.create_scalar_index("id", "BTREE")

    def open(self, path: Path) -> Any:
        return self.library().dataset(str(path))

    def question(self, query: Query, condition: str | None = None) -> Callable[[Any], Any]:
        """A function of a handle that asks a query."""
        asked = self.asked(query)
        return lambda handle: handle.to_table(
            columns=["id", "_score"], full_text_query=asked, limit=K, filter=condition, prefilter=True
        )

    def asked(self, query: Query) -> Any:
        shape, words = query
        known = self.queries()
        if shape == "phrase":
            return known.PhraseQuery(" ".join(words), "text")
        operator = known.FullTextOperator.AND if shape == "and" else known.FullTextOperator.OR
        return known.MatchQuery(" ".join(words), "text", operator=operator)

    def scores(self, answer: Any) -> list[float]:
        """The scores of an answer."""
        return answer["_score"].to_pylist()


class Pylance(LanceLike):
    name = "pylance"

    @staticmethod
    def library() -> Any:
        import lance

        return lance

    @staticmethod
    def queries() -> Any:
        import lance.query

        return lance.query


class LanceDb(Pylance):
    name = "lancedb"
    settings = ("its own FTS index with positions, no stemming, no stop words",)

    @staticmethod
    def queries() -> Any:
        import lancedb.query

        return lancedb.query

    def store(self, path: Path, table: pa.Table) -> None:
        import lancedb

        lancedb.connect(str(path)).create_table("t", table)

    def index(self, path: Path, table: pa.Table) -> None:
        handle = self.open(path)
        handle.create_fts_index("text", use_tantivy=False, **PLAIN)
        handle.create_scalar_index("id")

    def open(self, path: Path) -> Any:
        import lancedb

        return lancedb.connect(str(path)).open_table("t")

    def question(self, query: Query, condition: str | None = None) -> Callable[[Any], Any]:
        asked = self.asked(query)

        def answer(handle: Any) -> Any:
            search = handle.search(asked, query_type="fts").select(["id", "_score"]).limit(K)
            return (search if condition is None else search.where(condition, prefilter=True)).to_arrow()

        return answer


class Tantivy(IndexPeer):
    name = "tantivy"
    settings = ("one thread, positions, id stored; answers are no Arrow table; a filter is a range of a fast field",)

    def schema(self) -> Any:
        import tantivy

        builder = tantivy.SchemaBuilder()
        builder.add_text_field("text", stored=False, tokenizer_name="words", index_option="position")
        builder.add_integer_field("id", stored=True, indexed=True, fast=True)
        return builder.build()

    def store(self, path: Path, table: pa.Table) -> None:
        path.mkdir()

    def open(self, path: Path) -> Any:
        import tantivy

        index = tantivy.Index(self.schema(), str(path))
        words = tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.simple()).filter(tantivy.Filter.lowercase()).build()
        index.register_tokenizer("words", words)
        return index, index.searcher()

    def index(self, path: Path, table: pa.Table) -> None:
        import tantivy

        index, _ = self.open(path)
        writer = index.writer(heap_size=1 << 30, num_threads=1)
        for batch in table.to_batches(10_000):
            for number, text in zip(batch["id"].to_pylist(), batch["text"].to_pylist(), strict=True):
                writer.add_document(tantivy.Document(id=number, text=text))
        writer.commit()
        writer.wait_merging_threads()

    def question(self, query: Query, condition: str | None = None) -> Callable[[Any], Any]:
        shape, words = query
        text = f'"{" ".join(words)}"' if shape == "phrase" else f" {shape.upper()} ".join(words)
        if condition is not None:
            text = f"({text}) AND id:[0 TO {int(condition.rpartition(' ')[2]) - 1}]"

        def answer(handle: Any) -> Any:
            index, searcher = handle
            found = searcher.search(index.parse_query(text, ["text"]), K, count=False)
            return [(score, searcher.doc(address)["id"][0]) for score, address in found.hits]

        return answer

    def scores(self, answer: Any) -> list[float]:
        return [score for score, _ in answer]


class Bm25s(IndexPeer):
    name = "bm25s"
    settings = ("method lucene, k1 1.2, b 0.75; scores of all texts are made ahead; memory-mapped; OR only",)

    def store(self, path: Path, table: pa.Table) -> None:
        path.mkdir()

    def index(self, path: Path, table: pa.Table) -> None:
        import bm25s

        tokens = bm25s.tokenize(
            table["text"].to_pylist(), stopwords=None, token_pattern=r"(?u)[^\W_]+", show_progress=False
        )
        made = bm25s.BM25(k1=1.2, b=0.75, method="lucene")
        made.index(tokens, show_progress=False)
        made.save(str(path))

    def open(self, path: Path) -> Any:
        import bm25s

        return bm25s.BM25.load(str(path), mmap=True)

    def question(self, query: Query, condition: str | None = None) -> Callable[[Any], Any] | None:
        if query[0] != "or" or condition is not None:
            return None
        return lambda handle: handle.retrieve([list(query[1])], k=K, show_progress=False)

    def scores(self, answer: Any) -> list[float]:
        return answer[1][0].tolist()


PEERS: dict[str, Callable[[], Any]] = {peer.name: peer for peer in (LanceLike, Pylance, LanceDb, Tantivy, Bm25s)}


def make_table(rows: int, *, seed: int = 7) -> pa.Table:
    """Ids, and windows of 20 to 100 bytes over sources."""
    return pa.table({"id": np.arange(rows), "text": make_texts(rows, seed=seed)})


def queries_of(table: pa.Table, *, seed: int = 3) -> dict[str, list[Query]]:
    """Queries of each shape, 25 of each but for the one very common term."""
    rng = np.random.default_rng(seed)
    sample = table["text"].slice(0, 100_000).to_pylist()
    texts = ["".join(c if c.isalnum() else " " for c in text.lower()).split() for text in sample]
    counts = Counter(word for words in texts for word in set(words) if word.isascii())
    ranked = [word for word, _ in counts.most_common()]
    count = len(ranked)
    rare, middle, common = ranked[count // 10 : count // 3], ranked[100 : count // 10], ranked[:60]

    def some(*ranges: list[str]) -> tuple[str, ...]:
        return tuple(str(rng.choice(words)) for words in ranges)

    long = [words for words in texts if len(words) >= 4]

    def run(size: int) -> tuple[str, ...]:
        words = long[int(rng.integers(len(long)))]
        return tuple(words[1 : 1 + size])

    shapes: dict[str, Callable[[], Query]] = {
        "one rare term": lambda: ("or", some(rare)),
        "one middling term": lambda: ("or", some(middle)),
        "one common term": lambda: ("or", some(common)),
        "3 terms, OR": lambda: ("or", some(rare, middle, middle)),
        "4 terms, OR, one common": lambda: ("or", some(rare, middle, middle, common)),
        "2 terms, AND": lambda: ("and", run(2)),
        "phrase of 2": lambda: ("phrase", run(2)),
        "phrase of 3": lambda: ("phrase", run(3)),
    }
    found = {name: [make() for _ in range(ASKED)] for name, make in shapes.items()}
    return {"the most common term": [("or", (ranked[0],))], **found}


def measure(rows: int, folder: Path, peers: Sequence[Any], *, repeat: int) -> Samples:
    """Milliseconds of each shape to each peer."""
    samples: Samples = {}
    table = make_table(rows)
    stored = build(peers, table, folder, samples, "full text")
    asked = queries_of(table)
    first = _questions(peers, asked["3 terms, OR"])
    samples["open and 3 terms, OR, ms"] = first_asked(stored, first, max(repeat // 4, 3))
    handles = {one.peer.name: one.peer.open(one.path) for one in stored}
    for name, queries in asked.items():
        _compare(stored, handles, queries[0])
        merged(samples, name, ask(stored, handles, _questions(peers, queries), repeat))
    for share in (0.01, 0.1):
        condition = f"id < {round(rows * share)}"
        for name in ("one common term", "3 terms, OR"):
            found = ask(stored, handles, _questions(peers, asked[name], condition), repeat)
            merged(samples, f"{name}, {share:.0%} pass a filter", found)
    return samples


def _questions(
    peers: Sequence[Any], queries: Sequence[Query], condition: str | None = None
) -> dict[str, list[Callable[[Any], Any]]]:
    """Of the peers that have questions of this kind."""
    found = {peer.name: [peer.question(query, condition) for query in queries] for peer in peers}
    return {name: some for name, some in found.items() if None not in some}


def _compare(stored: Sequence[Stored], handles: dict[str, Any], query: Query) -> None:
    """Say how far the scores of the first query lie from ours; BM25 has forms, so a difference is no error."""
    answers: dict[str, list[float]] = {}
    for one in stored:
        peer: Any = one.peer
        question = peer.question(query)
        if question is not None:
            answers[peer.name] = peer.scores(question(handles[peer.name]))
    wanted = next(iter(answers.values()))
    apart = {
        name: max((abs(a / b - 1) for a, b in zip(scores, wanted, strict=False) if b), default=0.0)
        for name, scores in answers.items()
    }
    print(f"{query}: scores apart by {apart}", file=sys.stderr)


def load(name: str) -> Any:
    """A peer. Raises ImportError where its library is missing."""
    __import__({"pylance": "lance"}.get(name, name))
    return PEERS[name]()


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.texts", description="Full-text search.")
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--peers", default=",".join(PEERS))
    parser.add_argument("--repeat", type=int, default=50)
    parser.add_argument("--json", help="write every sample to this file")
    parsed = parser.parse_args(arguments)

    def run(folder: Path, peers: list[Any]) -> Samples:
        return measure(parsed.rows, folder, peers, repeat=parsed.repeat)

    about = f"{parsed.rows:,} texts of 20 to 100 bytes; {K} best rows; handles warm"
    run_and_report("texts", parsed.peers, run, load=load, target=parsed.json, about=about)
    return 0


if __name__ == "__main__":
    sys.exit(main())
