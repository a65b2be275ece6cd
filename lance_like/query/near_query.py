"""What near rows are asked for: the options of `nearest`, read and checked; what is done for them is in `near`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lance_like._lazy import cached
from lance_like.errors import InvalidInput
from lance_like.index.vector.values import VectorType, vector_type
from lance_like.table.fields import Field
from lance_like.table.schema import Schema

_DEFAULT_K = 10


@dataclass(frozen=True, eq=False)
class NearQuery:
    """What near rows are asked for, but for the vectors that they are near to.

    index: the name of the index to use; None: any of the metric.
    probes: (least, most) partitions. refine: how many times k candidates are compared exactly; None: as the index says.
    within: half-open range of distances. covered: only rows that the index holds.
    segments: the uuids of those to ask of the index; None: all.
    """

    column: Field
    k: int
    metric: str | None = None
    index: str | None = None
    use_index: bool = True
    probes: tuple[int | None, int | None] = (None, None)
    ef: int | None = None
    refine: int | None = None
    within: tuple[float | None, float | None] = (None, None)
    threads: int | None = None
    covered: bool = False
    segments: Set[str] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    @cached
    def held(self) -> VectorType:
        """What the column holds. Raises WrongType for one of no vectors."""
        return vector_type(self.column.type)


class VectorSearchQuery:
    """A vector search as the filter of a text search: the arguments are the options of `nearest`."""

    def __init__(self, column: str, q: Any, k: int | None = None, metric: str | None = None, **options: Any) -> None:
        self.nearest = {"column": column, "q": q, "k": k, "metric": metric, **options}

    def __repr__(self) -> str:
        return f"VectorSearchQuery({self.nearest['column']!r}, k={self.nearest['k']!r})"


def query_of(
    schema: Schema,
    given: Mapping[str, Any],
    *,
    wanted: int | None,
    covered: bool,
    threads: int | None,
    segments: Set[str] | None,
) -> NearQuery:
    """Read the value of `nearest`. wanted: rows of the answer, k when it is not given; None: 10.

    Raises InvalidInput for an option that is unknown or cannot be, NotFound for a column.
    """
    unknown = sorted(map(str, set(given) - _OPTIONS))
    if unknown:
        raise InvalidInput(f"nearest: {unknown[0]!r} is not an option", hint=f"known: {', '.join(sorted(_OPTIONS))}")
    options = {name: value for name, value in given.items() if value is not None}
    found = schema.find(given["column"])
    k = _count(options, "k", 1)
    least, most = _count(options, "minimum_nprobes", 0), _count(options, "maximum_nprobes", 0)
    probes = _count(options, "nprobes", 1)
    least, most = probes if least is None else least, probes if most is None else most
    if least is not None and most is not None and least > most:
        raise InvalidInput(f"nearest: minimum_nprobes={least} is more than maximum_nprobes={most}")
    reach = _reach(options)
    parallel = _count(options, "query_parallelism", -1)
    if options.get("approx_mode", "normal") not in _APPROX_MODES:
        mode = options["approx_mode"]
        raise InvalidInput(f"nearest: approx_mode={mode!r:.80}: expected one of {', '.join(_APPROX_MODES)}")
    return NearQuery(
        found,
        k if k is not None else _DEFAULT_K if wanted is None else max(1, wanted),
        metric=options.get("metric"),
        index=options.get("index_name"),
        use_index=bool(options.get("use_index", True)),
        probes=(least, most),
        ef=_count(options, "ef", 1),
        refine=_count(options, "refine_factor", 1),
        within=_range(options.get("distance_range")),
        threads=parallel if parallel and parallel > 0 else threads,
        covered=covered,
        segments=segments,
        options={name: options[name] for name in ("approx_mode", "search_effort") if name in options}
        | ({} if reach is None else {"reach": reach}),
    )


_APPROX_MODES = ("fast", "normal", "accurate")
_OPTIONS = frozenset(
    {
        "approx_mode",
        "column",
        "distance_range",
        "ef",
        "index_name",
        "k",
        "maximum_nprobes",
        "metric",
        "minimum_nprobes",
        "nprobes",
        "q",
        "query_parallelism",
        "reach",
        "refine_factor",
        "search_effort",
        "use_index",
    }
)


def _count(options: Mapping[str, Any], name: str, low: int) -> int | None:
    value = options.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not hasattr(value, "__index__") or value.__index__() < low:
        raise InvalidInput(f"nearest: {name}={value!r:.80}: expected an integer of at least {low}")
    return value.__index__()


def _reach(options: Mapping[str, Any]) -> float | None:
    value = options.get("reach")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float | np.number) or not 0 <= value < np.inf:
        raise InvalidInput(f"nearest: reach={value!r:.80}: expected a finite number of at least 0")
    if "nprobes" in options:
        raise InvalidInput("nearest: nprobes says how many partitions, reach how near they are: expected one of them")
    return float(value)


def _range(given: Any) -> tuple[float | None, float | None]:
    if given is None:
        return None, None
    bounds = tuple(given) if isinstance(given, Sequence) else ()
    numbers = [bound for bound in bounds if bound is not None]
    if len(bounds) != 2 or not all(isinstance(bound, int | float | np.number) for bound in numbers):
        raise InvalidInput(f"nearest: distance_range={given!r:.80}: expected (least, below), None for no bound")
    low, high = (None if bound is None else float(bound) for bound in bounds)
    if any(bound is not None and np.isnan(bound) for bound in (low, high)):
        raise InvalidInput("nearest: distance_range has NaN for a bound", hint="None is no bound")
    return low, high


__all__ = ["NearQuery", "VectorSearchQuery", "query_of"]
