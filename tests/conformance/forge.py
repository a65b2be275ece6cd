"""Tables changed by hand: an object is taken apart, edited as JSON and sealed again with right checksums."""

import json
import struct
from collections.abc import Callable
from pathlib import Path

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


def tail(root: dict) -> dict:
    """Give the first fragment that stands in a root."""
    return root["fragments"]["tail"][0]


def file(root: dict) -> dict:
    return tail(root)["files"][0]


def entry_of(forge: Forge, body: dict, number: int, below: list[dict]) -> dict:
    """Write a part, and give its entry. below: the fragments below it."""
    rows = sum(f["rows"] for f in below)
    ids = [f["id"] for f in below]
    runs = [run for f in below for run in f["row_ids"]]
    return {
        "ref": forge.part(body, number),
        "level": body["level"],
        "fragments": len(below),
        "rows": rows,
        "live_rows": rows,
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
