"""SQL statements over datasets: `query` answers them, `statements` changes tables.

text -> statements -> names of tables, versions and table functions replaced -> DuckDB
"""
