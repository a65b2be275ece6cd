"""Versions of a table: schema, fragments, manifests, changes, commits, history. Never opens a data file."""
