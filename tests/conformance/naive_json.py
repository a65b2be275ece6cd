"""What the naive reader answers, as the JSON of expected.json (format_spec/vectors/README.md)."""

TEXT = ("string", "large_string", "string_view")
LISTS = ("list", "large_list", "list_view", "large_list_view", "fixed_size_list")
UNIONS = ("sparse_union", "dense_union")
FLOATS = ("float16", "float32", "float64")


def as_vector(kind, value):
    """Write a value of the naive reader as expected.json does (vectors/README.md). kind: its type in JSON."""
    name = kind if isinstance(kind, str) else kind["t"]
    if value is None or name == "bool" or name in TEXT:
        return value
    if name in ("extension", "dictionary", "run_end_encoded"):
        return as_vector(kind["storage" if name == "extension" else "value"], value)
    if name == "struct":
        cells = list(value.values()) if isinstance(value, dict) else [cell for _, cell in value]
        return [as_vector(f["type"], cell) for f, cell in zip(kind["fields"], cells, strict=True)]
    if name == "map":
        return [[as_vector(f["type"], x) for f, x in zip(kind["fields"], pair, strict=True)] for pair in value]
    if name in UNIONS:
        code, item = value
        return [code, as_vector(kind["fields"][kind["codes"].index(code)]["type"], item)]
    if name in LISTS:
        return [as_vector(kind["item"]["type"], item) for item in value]
    if name in FLOATS:
        return value.bits[::-1].hex()
    if isinstance(value, bytes):
        return value.hex()
    if name.startswith("decimal"):
        sign, digits, _ = value.as_tuple()
        return str((-1 if sign else 1) * int("".join(map(str, digits))))
    if name == "month_day_nano_interval":
        return [as_vector("int64", part) for part in value]
    return str(value) if abs(value) > 1 << 53 else value
