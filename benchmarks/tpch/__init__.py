"""TPC-H through DuckDB: `queries` holds the texts, `doors` what DuckDB reads from, `__main__` runs and compares."""
