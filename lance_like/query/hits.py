"""Rows that indexes find for a condition: which they are, where they are, and what is still to be asked of them.

1. The parts of a condition that indexes answer (`indexed`) are asked one by one, those that are likely to leave few
   rows first; what they find is a set of ordinals of each segment, and sets of segments with the same rows are joined
   as such. Sets of others are joined as lists of row ids.
2. Rows that one of the indexes asked does not cover are all looked at again, in their fragments.
3. When the rows found are too many to be worth it, nothing is said, and the scan goes by statistics alone.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from pyroaring import BitMap

from lance_like._lazy import cached
from lance_like.index.base import FilterSearcher
from lance_like.index.questions import IsNull, Question
from lance_like.query.expr import Expr, all_of
from lance_like.query.indexed import AllOf, Answered, AnyOf, Ask, FilterIndex, Lookup, Tree, plan_lookup
from lance_like.query.names import Path
from lance_like.ranges import listed
from lance_like.table.fragment import Fragment
from lance_like.table.indices import RowRuns
from lance_like.table.manifest import Manifest
from lance_like.table.rowids import RowIdMap
from lance_like.typing_ import Int64s, Offsets

if TYPE_CHECKING:
    from lance_like.index.coverage import Coverage
    from lance_like.query.session import Session

# So few rows are asked the rest of a condition in less time than it takes to look into another index.
_FEW_ROWS = 64
# Rows that an index goes through in the time in which one row is asked the rest of a condition; and in that of asking
# any.
_FOUND_FOR_ASKED, _FOUND_ANYHOW = 5, 3000
# Of more rows than this share of the table, reading their pages takes less time than finding each.
_MOST_ROWS = 1 / 8
# The same where a condition takes longer to judge than a row to read: patterns, and what DuckDB evaluates.
_DEAR_COST, _MOST_DEAR_ROWS = 5, 1 / 2


class Rows:
    """A set of rows: ordinals of segments, by the row ids of these, or row ids alone."""

    __slots__ = ("_count", "_listed", "_spaces")

    def __init__(self, spaces: Mapping[RowRuns, BitMap], listed: Int64s | None = None) -> None:
        self._spaces, self._listed = spaces, listed
        self._count = sum(map(len, spaces.values())) if listed is None else len(listed)

    def __len__(self) -> int:
        return self._count

    @property
    def ids(self) -> Int64s:
        """int64[n] row ids, each once; ascending in what comes from one segment."""
        if self._listed is not None:
            return self._listed
        found = [runs.ids(_listed(ordinals)) for runs, ordinals in self._spaces.items() if ordinals]
        return found[0] if len(found) == 1 else np.concatenate([_NONE, *found])

    @property
    def run(self) -> tuple[int, int] | None:
        """The first of the row ids and the one after the last, where they are easily seen to follow one another."""
        if self._listed is not None or len(self._spaces) != 1 or not self._count:
            return None
        [(runs, ordinals)] = self._spaces.items()
        first = _first_of_run(ordinals)
        if first is None or len(runs.runs) != 1:
            return None
        first += int(runs.runs[0, 0])
        return first, first + self._count

    def ordinals_of(self, runs: RowRuns) -> BitMap | None:
        """The ordinals in a segment of these row ids; None where the set is not one of that segment alone."""
        return self._spaces[runs] if self._listed is None and self._spaces.keys() == {runs} else None

    def __and__(self, other: Rows) -> Rows:
        if self._listed is None and other._listed is None and self._spaces.keys() == other._spaces.keys():
            return Rows({runs: ordinals & other._spaces[runs] for runs, ordinals in self._spaces.items()})
        few, many = (self, other) if len(self) <= len(other) else (other, self)
        if many._listed is not None:
            return Rows({}, np.intersect1d(few.ids, many._listed, assume_unique=True))
        ids = np.sort(few.ids)
        return Rows({}, np.concatenate([_NONE, *(_within(ids, *space) for space in many._spaces.items())]))

    def __or__(self, other: Rows) -> Rows:
        if self._listed is None and other._listed is None and self._spaces.keys() == other._spaces.keys():
            return Rows({runs: ordinals | other._spaces[runs] for runs, ordinals in self._spaces.items()})
        return Rows({}, np.union1d(self.ids, other.ids))


_NONE = np.empty(0, np.int64)


def _listed(ordinals: BitMap) -> Int64s:
    first = _first_of_run(ordinals) if ordinals else None
    if first is not None:
        return np.arange(first, first + len(ordinals))
    return np.frombuffer(ordinals.to_array(), np.uint32).astype(np.int64)


def _first_of_run(ordinals: BitMap) -> int | None:
    """The first of ordinals that follow one another, at least one; None where some are left out."""
    first = ordinals.min()
    return first if first + len(ordinals) - 1 == ordinals.max() else None


def _within(ids: Int64s, runs: RowRuns, ordinals: BitMap) -> Int64s:
    """Those of some ids, ascending, that are of these ordinals."""
    found = runs.ordinals(ids)
    asked = array("I", found[found >= 0].astype(np.uint32).tobytes())
    return runs.ids(_listed(BitMap(asked) & ordinals))


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """The rows of one fragment that may pass.

    offsets: of live rows, ascending, all that may pass; None: nothing is known of the fragment.
    condition: what they are still to be asked; None: they all pass.
    """

    fragment: Fragment
    offsets: Offsets | None
    condition: Expr | None


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """What an index was asked, for `explain`. rows: that it found; covered, uncovered: live rows of the table."""

    ask: Ask
    rows: int
    covered: int
    uncovered: int

    def __str__(self) -> str:
        of = f"{self.covered:,} rows covered, {self.uncovered:,} not"
        return f"{self.ask}: {self.rows:,} found, {of}"


@dataclass(frozen=True, eq=False)
class Hits:
    """What indexes say of a condition.

    rows: found, where all indexes that were asked cover the table. residual: what those are still to be asked.
    live, fragments: where the rows of the version are.
    unknown: by fragment, int64[n] offsets of live rows that an index does not cover: they are asked the condition.
    """

    condition: Expr
    rows: Rows
    live: RowIdMap
    fragments: Sequence[Fragment]
    residual: Expr | None
    unknown: Mapping[int, tuple[Fragment, Int64s]]
    asked: Sequence[Asked] = field(default=(), repr=False)

    @property
    def count(self) -> int | None:
        """How many rows pass, when indexes alone tell."""
        alone = not self.unknown and (self.residual is None or len(self.rows) == 0)
        return len(self.rows) if alone else None

    @property
    def most(self) -> int:
        """How many rows are looked at, at most."""
        return len(self.rows) + sum(len(offsets) for _, offsets in self.unknown.values())

    def of(self, fragment: Fragment) -> Found | None:
        """The rows found in a fragment; None for none. Nothing is known of one that is not of the version."""
        known = self._by_id.get(fragment.id)
        if known is not None and known[0] is fragment:
            return known[1]
        return Found(fragment, None, self.condition)

    @cached
    def _by_id(self) -> dict[int, tuple[Fragment, Found | None]]:
        found = {one.fragment.id: one for one in self.found}
        return {fragment.id: (fragment, found.get(fragment.id)) for fragment in self.fragments}

    @cached
    def found(self) -> Sequence[Found]:
        """Where the rows are, by fragments in scan order; no rows of others pass.

        Cost: O(rows log ranges of row ids).
        """
        found = self._placed()
        if not self.unknown:
            return found
        by_id = {one.fragment.id: one for one in found}
        for number, (fragment, offsets) in self.unknown.items():
            if len(offsets) == fragment.live_rows:
                by_id[number] = Found(fragment, None, self.condition)
            else:
                known = by_id.get(number)
                both = offsets if known is None or known.offsets is None else np.union1d(offsets, listed(known.offsets))
                by_id[number] = Found(fragment, both, self.condition)
        if len(by_id) == 1:
            return list(by_id.values())
        return [by_id[fragment.id] for fragment in self.fragments if fragment.id in by_id]

    def _placed(self) -> list[Found]:
        run = self.rows.run
        place = None if run is None else self.live.find_run(*run)
        if run is not None and place is not None:
            index, first = place
            return [Found(self.fragments[index], range(first, first + run[1] - run[0]), self.residual)]
        index, offsets = self.live.find(self.rows.ids)
        fragments = self.fragments
        if len(index) == 0:
            return []
        if len(index) == 1 or len(fragments) == 1:
            ascend = len(index) == 1 or bool((offsets[1:] > offsets[:-1]).all())
            return [Found(fragments[int(index[0])], offsets if ascend else np.sort(offsets), self.residual)]
        places = index << 32 | offsets
        if (places[1:] <= places[:-1]).any():
            places = np.sort(places)
            index, offsets = places >> 32, places & 0xFFFFFFFF
        cuts = np.flatnonzero(np.diff(index)) + 1
        firsts = index[np.concatenate(([0], cuts))]
        return [
            Found(fragments[int(first)], rows, self.residual)
            for first, rows in zip(firsts, np.split(offsets, cuts), strict=True)
        ]


def lookup_of(session: Session, manifest: Manifest, condition: Expr) -> Lookup | None:
    """What to ask the indexes of a version about a bound condition. Cost: no I/O."""
    return session.lookups.get(condition, manifest.indices, make=lambda: _plan(session, manifest, condition))


def _plan(session: Session, manifest: Manifest, condition: Expr) -> Lookup | None:
    indices, schema = manifest.indices, manifest.schema

    def known(path: Path) -> Sequence[FilterIndex]:
        return session.filters.get(indices, schema, key=path, make=lambda: _filter_indexes(session, manifest, path))

    return plan_lookup(condition, known)


def _filter_indexes(session: Session, manifest: Manifest, path: Path) -> Sequence[FilterIndex]:
    """The indexes of a version that a filter on a column may ask."""
    schema = manifest.schema
    return [
        FilterIndex(entry.name, plugin, entry.value_type(schema), entry.params, entry.json)
        for entry, plugin in session.indexes.usable(manifest)
        if plugin.kind == "filter" and schema.path(entry.field_ids[0]) == path
    ]


def look_up(
    session: Session, manifest: Manifest, condition: Expr, lookup: Lookup, *, counting: bool = False, fast: bool = False
) -> Hits | None:
    """Ask indexes for the rows that pass a condition. Returns None where the scan is better off without them.

    counting: the rows are only counted. fast: rows that an index does not cover are left out.
    Cost: what the searchers read.
    """
    share = _MOST_DEAR_ROWS if lookup.cost >= _DEAR_COST else _MOST_ROWS
    most = int(share * manifest.live_rows)
    search = _Search(session, manifest, fast=fast, few=0 if counting else _FEW_ROWS)
    rows: Rows | None = None
    rest = list(lookup.rest)
    parts = lookup.answered
    for part in search.ranked(parts) if len(parts) > 1 else parts:
        if not search.pays(part, rows, most):
            rest.append(part.condition)
            continue
        found = search.rows(part.tree)
        rows = found if rows is None else rows & found
        search.use(part)
        if not part.exact:
            rest.append(part.condition)
    if rows is None:
        return None
    # The same object again, for what is made of it.
    residual = session.lookups.get(*rest, make=lambda: all_of(rest)) if rest else None
    tree = manifest.tree
    hits = Hits(condition, rows, tree.all_row_ids, tree.fragments, residual, search.unknown, search.asked)
    if counting and hits.count is not None:
        return hits
    return hits if len(rows) <= most else None


def count_of(session: Session, manifest: Manifest, lookup: Lookup, *, fast: bool) -> int | None:
    """How many rows pass, where one index alone tells and counts them without finding any; else None. fast: as above.

    Cost: what the searchers read to count.
    """
    [first, *others] = lookup.answered
    ask = first.tree
    if others or lookup.rest or not first.exact or not isinstance(ask, Ask) or ask.opposite:
        return None
    coverage = session.indexes.coverage(manifest, ask.index.name)
    if coverage.uncovered and not fast:
        return None
    counts: list[Callable[[Question], int]] = []
    for segment in coverage.segments:
        searcher = segment.searcher
        # Of a `TallyingSearcher` or a `CountingSearcher`.
        count = getattr(searcher, "tally", None) or getattr(searcher, "count", None)
        if count is None or segment.valid is not None:
            return None
        counts.append(count)
    return sum([count(ask.question) for count in counts])


class _Search:
    """One run of a lookup. unknown: as of `Hits`, of the parts used so far. few: rows for which no more is asked."""

    def __init__(self, session: Session, manifest: Manifest, *, fast: bool, few: int) -> None:
        self._session, self._manifest, self._fast, self._few = session, manifest, fast, few
        self.unknown: dict[int, tuple[Fragment, Int64s]] = {}
        self.asked: list[Asked] = []
        self._opened: dict[str, tuple[Coverage, Sequence[FilterSearcher]]] = {}

    def ranked(self, parts: Sequence[Answered]) -> Sequence[Answered]:
        """Parts whose indexes cover more come first, and those that find fewer rows."""
        return sorted(parts, key=lambda part: (self._more(part), self._work(part.tree)))

    def pays(self, part: Answered, rows: Rows | None, most: int) -> bool:
        """Whether finding the rows of a part takes less than it spares. rows: found so far. most: worth finding."""
        if rows is None:
            return self._work(part.tree) <= most
        if len(rows) <= self._few:
            return False
        return self._more(part) <= len(rows) and self._work(part.tree) <= _FOUND_FOR_ASKED * len(rows) + _FOUND_ANYHOW

    def _more(self, part: Answered) -> int:
        """How many rows would be looked at beside those found, since the indexes of a part do not cover them."""
        return sum(len(offsets) for fragment, offsets in self._uncovered(part) if fragment.id not in self.unknown)

    def _work(self, tree: Tree) -> int:
        """How many rows an index goes through to answer; 0 for one that joins sets that are ready."""
        if not isinstance(tree, Ask):
            return sum(self._work(child) for child in tree.sets)
        work = 0
        for searcher in self._open(tree)[1]:
            count = getattr(searcher, "count", None)  # of a `CountingSearcher`
            work += 0 if count is None else count(tree.question)
        return work

    def use(self, part: Answered) -> None:
        """Note the rows that the indexes of a part do not cover."""
        for fragment, offsets in self._uncovered(part):
            known = self.unknown.get(fragment.id)
            both = offsets if known is None else np.union1d(known[1], offsets)
            self.unknown[fragment.id] = fragment, both

    def rows(self, tree: Tree) -> Rows:
        """The rows of a tree, among those that all its indexes cover."""
        match tree:
            case Ask():
                return self._asked(tree)
            case AllOf(sets):
                found = self.rows(sets[0])
                for child in sets[1:]:
                    if len(found) == 0:
                        break
                    found = found & self.rows(child)
                return found
            case AnyOf(sets):
                found = Rows({}, _NONE)
                for place, child in enumerate(sets):
                    found = self.rows(child) if place == 0 else found | self.rows(child)
                return found

    def _asked(self, ask: Ask) -> Rows:
        coverage, searchers = self._open(ask)
        spaces: dict[RowRuns, BitMap] = {}
        for segment, searcher in zip(coverage.segments, searchers, strict=True):
            ordinals = searcher.rows(ask.question)
            if ask.opposite:
                nulls = BitMap() if isinstance(ask.question, IsNull) else searcher.rows(IsNull())
                ordinals = (ordinals | nulls).flip(0, segment.rows)
            ordinals = ordinals if segment.valid is None else ordinals & segment.valid
            runs = segment.segment.row_ids
            spaces[runs] = spaces[runs] | ordinals if runs in spaces else ordinals
        found = Rows(spaces)
        self.asked.append(Asked(ask, len(found), coverage.covered_rows, coverage.uncovered_rows))
        return found

    def _uncovered(self, part: Answered) -> Iterable[tuple[Fragment, Int64s]]:
        if self._fast:
            return ()
        return [one for ask in part.asks for one in self._open(ask)[0].uncovered]

    def _open(self, ask: Ask) -> tuple[Coverage, Sequence[FilterSearcher]]:
        """What the index of a question covers, and the searchers of its segments."""
        name = ask.index.name
        found = self._opened.get(name)
        if found is None:
            coverage = self._session.indexes.coverage(self._manifest, name)
            found = self._opened[name] = coverage, [segment.searcher for segment in coverage.segments]
        return found


__all__ = ["Asked", "Found", "Hits", "Rows", "count_of", "look_up", "lookup_of"]
