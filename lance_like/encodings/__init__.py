"""How a page of one column becomes bytes, and how any of its rows come back (format_spec/encodings/)."""
