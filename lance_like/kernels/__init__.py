"""Kernels: what is done to every row of a page, in one call (format_spec/decisions/0026-compiled-kernels.md).

The C files do it in one pass and without Python's lock. Where they could not be compiled, `plain.py` does the same in
some passes of numpy; its docstrings say what both do. They fill arrays that they are given, which are contiguous, and
raise ValueError where the arrays do not fit each other.
"""

from __future__ import annotations

try:
    from lance_like.kernels import native as _form
except ImportError:  # There was no compiler when the package was installed.
    from lance_like.kernels import plain as _form

COMPILED = _form.__name__.endswith(".native")

best = _form.best
compare = _form.compare
divide = _form.divide
fill = _form.fill
gather = _form.gather
group = _form.group
lay = _form.lay
learn = _form.learn
lines = _form.lines
marked = _form.marked
measure = _form.measure
overlap = _form.overlap
pack = _form.pack
parse = _form.parse
pick = _form.pick
places = _form.places
spell = _form.spell
spread = _form.spread
unblock = _form.unblock
unfold = _form.unfold
unpack = _form.unpack
widen = _form.widen
within = _form.within

__all__ = [
    "COMPILED",
    "best",
    "compare",
    "divide",
    "fill",
    "gather",
    "group",
    "lay",
    "learn",
    "lines",
    "marked",
    "measure",
    "overlap",
    "pack",
    "parse",
    "pick",
    "places",
    "spell",
    "spread",
    "unblock",
    "unfold",
    "unpack",
    "widen",
    "within",
]
