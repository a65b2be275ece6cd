"""Filters: words (`sql`, `arrow_expr`) to a tree (`expr`), rows that pass it (`evaluate`), zones to skip (`prune`)."""
