"""Indexes: plug-ins that answer which rows match, beside the data and never in the place of it.

`base` says what a plug-in is, `registry` finds one by name, `files` is how it reads and writes; the rest are the
plug-ins themselves. None of them knows tables, versions or row ids: the rows of a segment are numbered from 0, and the
layers above say which of them are live and which row ids they have (format_spec/index/README.md).
"""
