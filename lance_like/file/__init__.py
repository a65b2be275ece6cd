"""One data file: columns as pages, found by fixed-width tables (format_spec/file.md)."""
