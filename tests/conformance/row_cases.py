"""Tables whose rows were deleted, changed or moved: how each is written, and what is in every version."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
from forge import Forge, bitmap, deletions, entry_of, lineage, packed, seal, tree
from vector_cases import TableCase, Version, write

from lance_like.dataset.inputs import as_stream
from lance_like.dataset.write import FileLimits, write_fragments
from lance_like.io.local import LocalStore
from lance_like.table.actions import Action, ChangeRows, NewColumns, NewFragment, Rewrite, RewrittenGroup
from lance_like.table.commit import commit
from lance_like.table.lineage import Runs, of_rows
from lance_like.table.manifest import Manifest
from lance_like.table.snapshot import latest_version, read_manifest

LETTERS = pa.table({"n": pa.array(range(8), pa.int32()), "s": ["a", "b", "c", None, "", "f", "g", "h"]})


def row_cases() -> Iterator[TableCase]:
    yield _deleted_inline()
    yield _deleted_apart()
    yield _updated()
    yield _lineage_apart()
    yield _lineage_by_hand()
    yield _compacted()


def _deleted_inline() -> TableCase:
    def build(folder: Path) -> None:
        ds = write(LETTERS, folder, max_rows_per_file=3)
        ds.delete("n = 1 or n = 6")
        ds.delete("n in (3, 4, 5) or n = 7")
        ds.delete("true")
        ds.insert(LETTERS[:1])

    covers = "rows deleted, more of them, a fragment that goes with its last row, all rows, one new one"
    left = [0, 2, 3, 4, 5, 7]
    versions = [
        Version(LETTERS, list(range(8))),
        Version(LETTERS.take(left), left),
        Version(LETTERS.take([0, 2]), [0, 2]),
        Version(LETTERS[:0], []),
        Version(LETTERS[:1], [8], [5], [5]),
    ]
    return TableCase("deleted_inline", covers, "table.md, Deleted rows", build, versions)


def _deleted_apart() -> TableCase:
    """Rows in five and in three containers; of the containers some hold runs, some bits, some arrays."""
    rows = (262_200, 134_010)
    first = [i for i in range(rows[0]) if i % 20_000]
    second = sorted({*range(65_500)} | {*range(65_536, 131_072)} - {70_000, 70_001} | {*range(131_072, 134_000)})

    def build(folder: Path) -> None:
        write(pa.table({"n": pa.array(range(sum(rows)), pa.int64())}), folder, max_rows_per_file=rows[0])
        forge = Forge(folder)
        fragments = forge.root["fragments"]["tail"]
        # Bits in three containers between two of runs, with places; then bits, runs and an array, without.
        bitmaps = [bitmap(first, with_runs=[0, 4]), bitmap(second, with_runs=[1])]
        for number, (fragment, gone) in enumerate(zip(fragments, (first, second), strict=True)):
            ref = forge.put(f"_meta/{number + 20:032x}.del", seal(b"LLDV", bitmaps[number]))
            fragment["deletions"] = {"rows": len(gone), "ref": ref}
        entry = entry_of(forge, {"level": 0, "fragments": fragments[:1]}, 0, fragments[:1])
        forge.root["fragments"] = {"parts": [entry], "tail": fragments[1:]}
        forge.root["live_rows"] = sum(rows) - len(first) - len(second)
        forge.publish()

    ids = [*range(0, rows[0], 20_000), *(rows[0] + i for i in sorted({*range(rows[1])} - {*second}))]
    covers = (
        "bitmaps in parts of their own, with places and without: arrays, bits and runs; below a part and in the root"
    )
    return TableCase("deleted_apart", covers, "table.md, Deleted rows", build, [Version(pa.table({"n": ids}), ids)])


class _Writer:
    """Commits changes of rows just so, whatever the package would choose."""

    def __init__(self, folder: Path) -> None:
        self.store = LocalStore(str(folder), durability="process")

    def commit(self, action: Callable[[Manifest], Action]) -> None:
        newest = latest_version(self.store)
        assert newest is not None
        base = read_manifest(self.store, newest)
        commit(self.store, base, action(base))

    def new(self, rows: pa.Table, lineage: Runs | None = None) -> NewFragment:
        """Rows in a fragment of their own. lineage: of rows that were there before."""
        (fragment,) = write_fragments(self.store, as_stream(rows), limits=FileLimits())
        return replace(fragment, lineage=lineage)


def _runs(ids: Sequence[int], created: Sequence[int], updated: Sequence[int]) -> Runs:
    return of_rows(np.array(ids), np.array(created), np.array(updated))


def _updated() -> TableCase:
    moved = pa.table({"n": pa.array([102, 105], pa.int32()), "s": ["c", "f"]})
    again = pa.table({"n": pa.array([202], pa.int32()), "s": ["c!"]})
    merged = pa.table({"n": pa.array([0, 9], pa.int32()), "s": ["A", "new"]})

    def build(folder: Path) -> None:
        write(LETTERS, folder, max_rows_per_file=4)
        writer = _Writer(folder)

        def move(
            removed: dict[int, list[int]], *new: NewFragment, kind: Literal["update", "merge_insert"] = "update"
        ) -> ChangeRows:
            rows = {key: np.array(offsets) for key, offsets in removed.items()}
            return ChangeRows(kind, rows, fragments=new, field_ids=(0, 1), changes=(0,), reads=(0,))

        def column(_: Manifest) -> ChangeRows:
            # Row 1 is deleted: what its cell holds means nothing.
            (file,) = writer.new(pa.table({"s": ["", "gone", "G", "h"]})).files
            return ChangeRows("update", columns={1: NewColumns((file,), (1,), np.array([2]))}, changes=(1,))

        writer.commit(lambda _: move({0: [2], 1: [1]}, writer.new(moved, _runs([2, 5], [1, 1], [0, 0]))))
        writer.commit(column)
        writer.commit(lambda _: move({2: [0]}, writer.new(again, _runs([2], [1], [0]))))
        first, second = writer.new(merged[:1], _runs([0], [1], [0])), writer.new(merged[1:])
        writer.commit(lambda _: move({0: [0]}, first, second, kind="merge_insert"))

    one, rest = [1] * 8, LETTERS.take([0, 1, 3, 4, 6, 7])
    second = pa.concat_tables([rest, moved])
    third = second.set_column(1, "s", pa.array(["a", "b", None, "", "G", "h", "c", "f"]))
    fourth = pa.concat_tables([third[:6], third[7:], again])
    versions = [
        Version(LETTERS, list(range(8)), one, one),
        Version(second, [0, 1, 3, 4, 6, 7, 2, 5], one, [1] * 6 + [2] * 2),
        Version(third, [0, 1, 3, 4, 6, 7, 2, 5], one, [1] * 4 + [3, 1, 2, 2]),
        Version(fourth, [0, 1, 3, 4, 6, 7, 5, 2], one, [1] * 4 + [3, 1, 2, 4]),
        Version(
            pa.concat_tables([fourth[1:], merged]),
            [1, 3, 4, 6, 7, 5, 2, 0, 8],
            [1] * 8 + [5],
            [1] * 3 + [3, 1, 2, 4, 5, 5],
        ),
    ]
    covers = "rows written anew, which keep their ids; a column written anew; a row that moves twice; a merge"
    return TableCase("updated", covers, "commit.md, Changes of rows", build, versions)


def _lineage_apart() -> TableCase:
    data = pa.table({"n": pa.array(range(120), pa.int16())})
    odd = pa.table({"n": pa.array(range(1001, 1121, 2), pa.int16())})

    def build(folder: Path) -> None:
        write(data, folder)
        writer = _Writer(folder)
        line = _runs(range(1, 120, 2), [1] * 60, [0] * 60)
        gone = {0: np.arange(1, 120, 2)}
        writer.commit(
            lambda _: ChangeRows("update", gone, fragments=(writer.new(odd, line),), field_ids=(0,), changes=(0,))
        )

    even = list(range(0, 120, 2))
    after = pa.concat_tables([data.take(even), odd])
    versions = [
        Version(data, list(range(120))),
        Version(after, [*even, *range(1, 120, 2)], [1] * 120, [1] * 60 + [2] * 60),
    ]
    covers = "every second row written anew: more ranges of row ids than stand in a manifest"
    return TableCase("lineage_apart", covers, "table.md, Lineage", build, versions)


def _lineage_by_hand() -> TableCase:
    data = pa.table({"n": pa.array(range(9), pa.int8())})
    far = 1 << 50

    def build(folder: Path) -> None:
        write(data, folder, max_rows_per_file=3)
        forge = Forge(folder)
        fragments = forge.root["fragments"]["tail"]
        # The steps are 70,000 and -4; 2^50; 5, 0 and 69,994, to the id of the deleted row of the first fragment.
        bodies = [
            lineage(packed([(140_000, 2), (7, 1)], 4, 1), packed([(1, 3)], 2, 2), packed([(9, 3)], 8, 8)),
            lineage(packed([(2 * far, 3)], 8, 2), packed([(1, 1), (300, 2)], 2, 4), packed([(300, 3)], 2, 1)),
            lineage(
                packed([(10, 1), (0, 1), (139_988, 1)], 4, 8), packed([(1, 3)], 1, 1), packed([(far, 1), (2, 2)], 8, 1)
            ),
        ]
        bounds = [69_998, 70_002], [far, far + 3], [5, 70_002]
        for number, fragment in enumerate(fragments):
            ref = forge.put(f"_meta/{number + 30:032x}.rows", seal(b"LLLN", bodies[number]))
            apart = {"ref": ref, "row_ids": bounds[number]}
            fragment |= {"row_ids": [], "created": [], "updated": [], "lineage": apart}
        fragments[0]["deletions"] = deletions([1])
        forge.root |= {"next_row_id": far + 3, "live_rows": 8}
        forge.root["fragments"] = {"parts": tree(forge, (1,)), "tail": []}
        forge.publish()

    live = Version(
        data.take([0, *range(2, 9)]),
        [70_000, 69_998, far, far + 1, far + 2, 5, 6, 70_001],
        [1, 1, 1, 300, 300, 1, 1, 1],
        [9, 9, 300, 300, 300, far, 2, 2],
    )
    covers = "lineage parts with numbers of 1, 2, 4 and 8 bytes, steps back and forth, versions far ahead; "
    covers += "a deleted row with the id of another"
    return TableCase("lineage_by_hand", covers, "table.md, Lineage", build, [live])


def _compacted() -> TableCase:
    first, second = LETTERS.take([0, 2, 4]), LETTERS.take([6, 7])

    def build(folder: Path) -> None:
        ds = write(LETTERS, folder, max_rows_per_file=2)
        ds.delete("n in (1, 3, 5)")
        ds.add_columns([pa.field("later", pa.bool_())])
        writer = _Writer(folder)

        def compact(base: Manifest) -> Rewrite:
            old = base.fragments
            groups = (
                RewrittenGroup(old[:3], (writer.new(first, _runs([0, 2, 4], [1] * 3, [1] * 3)),)),
                RewrittenGroup(old[3:], (writer.new(second, _runs([6, 7], [1] * 2, [1] * 2)),)),
            )
            return Rewrite(groups, (0, 1))

        writer.commit(compact)

    left = [0, 2, 4, 6, 7]
    deleted = LETTERS.take(left)
    wider = deleted.append_column("later", pa.nulls(5, pa.bool_()))
    versions = [
        Version(LETTERS, list(range(8))),
        Version(deleted, left),
        *(Version(wider, left, [1] * 5, [1] * 5) for _ in range(2)),
    ]
    covers = "the live rows of four fragments in two new ones, with their ids"
    return TableCase("compacted", covers, "commit.md, Compaction", build, versions)
