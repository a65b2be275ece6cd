"""Tables changed by hand: an object is taken apart, edited as JSON and sealed again with right checksums."""

import base64
import json
import struct
import zlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from naive_objects import DICTIONARY
from naive_reader import manifest_key, read_table, sum64


def seal(magic: bytes, body: bytes, version: int = 0) -> bytes:
    data = magic + struct.pack("<IQ", version, len(body)) + body
    return data + struct.pack("<Q", sum64(data))


def text(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


class Forge:
    """A table on disk whose newest root can be replaced."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.root = read_table(folder).root
        self.key = manifest_key(self.root["version"])

    def put(self, key: str, data: bytes) -> list:
        """Write an object, and give a reference to it."""
        path = self.folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return [key, len(data), f"{sum64(data):016x}"]

    def publish(self, body: bytes | None = None) -> None:
        self.put(self.key, seal(b"LLMF", text(self.root) if body is None else body))

    def part(self, body: dict, number: int) -> list:
        return self.put(f"_meta/{number:032x}.part", seal(b"LLPT", text(body)))

    def schema(self, edit: Callable[[bytearray], None]) -> None:
        data = bytearray((self.folder / self.root["schema"][0]).read_bytes()[16:-8])
        edit(data)
        self.root["schema"] = self.put(f"_meta/{7:032x}.schema", seal(b"LLSC", bytes(data)))

    def tag(self, name: str, /, **members: object) -> None:
        """Set a tag to the newest version. members: instead of the right ones."""
        about = {"name": name, "branch": None, "version": self.root["version"], "created_us": 1, "updated_us": 1}
        self.put(f"_refs/tags/{name}.tag", seal(b"LLTG", text(about | self._manifest() | members)))

    def branch(self, name: str, /, **members: object) -> None:
        """Begin a branch at the newest version. members: instead of the right ones."""
        line = f"{5:032x}"
        self.put(manifest_key(self.root["version"], f"_branches/{line}/"), (self.folder / self.key).read_bytes())
        about = {"name": name, "line": line, "parent": None, "version": self.root["version"], "ancestors": []}
        body = about | {"created_us": 1} | self._manifest() | members
        self.put(f"_refs/branches/{name.replace('/', '+')}.branch", seal(b"LLBR", text(body)))

    def _manifest(self) -> dict:
        data = (self.folder / self.key).read_bytes()
        return {"manifest": f"{sum64(data):016x}", "manifest_nbytes": len(data), "metadata": {}}


def bitmap(integers: Iterable[int], with_runs: Iterable[int] = ()) -> bytes:
    """A bitmap of deleted rows. with_runs: keys of the containers that hold runs."""
    lows: dict[int, list[int]] = {}
    for integer in sorted(integers):
        lows.setdefault(integer >> 16, []).append(integer & 0xFFFF)
    kinds = [key in set(with_runs) for key in lows]
    data = struct.pack("<II", 12346, len(lows))
    if any(kinds):
        flags = sum(1 << i for i, kind in enumerate(kinds) if kind)
        data = struct.pack("<HH", 12347, len(lows) - 1) + flags.to_bytes((len(lows) + 7) // 8, "little")
    data += b"".join(struct.pack("<HH", key, len(held) - 1) for key, held in lows.items())
    containers = [_container(held, kind) for held, kind in zip(lows.values(), kinds, strict=True)]
    if not any(kinds) or len(lows) >= 4:
        at = len(data) + 4 * len(lows)
        for container in containers:
            data += struct.pack("<I", at)
            at += len(container)
    return data + b"".join(containers)


def _container(lows: list[int], has_runs: bool) -> bytes:
    if has_runs:
        starts = [low for low, before in zip(lows, [-2, *lows], strict=False) if low != before + 1]
        ends = [low for low, after in zip(lows, [*lows[1:], 1 << 17], strict=True) if low + 1 != after]
        runs = [(start, end - start) for start, end in zip(starts, ends, strict=True)]
        return struct.pack("<H", len(runs)) + b"".join(struct.pack("<HH", *run) for run in runs)
    if len(lows) <= 4096:
        return struct.pack(f"<{len(lows)}H", *lows)
    return sum(1 << low for low in lows).to_bytes(8192, "little")


def deletions(integers: Iterable[int]) -> dict:
    """The member of a fragment some of whose rows are deleted."""
    offsets = list(integers)
    return {"rows": len(offsets), "data": base64.b64encode(bitmap(offsets)).decode()}


def packed(pairs: Sequence[tuple[int, int]], *widths: int) -> bytes:
    """An array of pairs as a lineage part has it."""
    columns = zip(zip(*pairs, strict=True), widths, strict=True) if pairs else ()
    data = [value.to_bytes(width, "little") for column, width in columns for value in column]
    return struct.pack("<IBB", len(pairs), *widths) + b"".join(data)


def lineage(*arrays: bytes, nbytes: int | None = None) -> bytes:
    """The body of a lineage part. nbytes: instead of the right length."""
    raw = b"".join(arrays)
    return struct.pack("<I", len(raw) if nbytes is None else nbytes) + zlib.compress(raw)


def packed_json(body: bytes, *, nbytes: int | None = None, dictionary: bytes = DICTIONARY) -> bytes:
    """The body of an object with packed JSON. nbytes: instead of the right length."""
    stream = zlib.compressobj(zdict=dictionary)
    return struct.pack("<I", len(body) if nbytes is None else nbytes) + stream.compress(body) + stream.flush()


def tail(root: dict) -> dict:
    """Give the first fragment that stands in a root."""
    return root["fragments"]["tail"][0]


def file(root: dict) -> dict:
    return tail(root)["files"][0]


def entry_of(forge: Forge, body: dict, number: int, below: list[dict]) -> dict:
    """Write a part, and give its entry. below: the fragments below it."""
    rows = sum(f["rows"] for f in below)
    deleted = sum(f["deletions"]["rows"] for f in below if f["deletions"])
    ids = [f["id"] for f in below]
    runs = [run for f in below for run in ([f["lineage"]["row_ids"]] if f["lineage"] else f["row_ids"])]
    return {
        "ref": forge.part(body, number),
        "level": body["level"],
        "fragments": len(below),
        "rows": rows,
        "live_rows": rows - deleted,
        "fragment_ids": [min(ids), max(ids) + 1],
        "row_ids": [min(start for start, _ in runs), max(end for _, end in runs)],
    }


def tree(forge: Forge, levels: tuple[int, ...]) -> list[dict]:
    """Put each fragment into a leaf, and all leaves below nodes of rising levels."""
    fragments = forge.root["fragments"]["tail"]
    entries = [entry_of(forge, {"level": 0, "fragments": [f]}, i, [f]) for i, f in enumerate(fragments)]
    for i, level in enumerate(levels):
        entries = [entry_of(forge, {"level": level, "parts": entries}, 100 + i, fragments)]
    return entries
