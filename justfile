# One recipe per step of CI; `just` comes with the extra [dev] (the package rust-just).
python := ".venv/bin/python"

default: lint types layers test

# the unit, conformance and integration tests
test *options:
    {{python}} -m pytest {{options}}

# what the default run leaves out: slow tests, then every case instead of a sample
test-slow *options:
    {{python}} -m pytest -m slow {{options}}

test-exhaustive *options:
    {{python}} -m pytest -m exhaustive {{options}}

# half an hour of hostile files, guided by coverage (needs the extra [fuzz]; findings are left in the current folder)
fuzz seconds="1800":
    mkdir -p .fuzz
    {{python}} tests/fuzz/fuzz_reader.py -max_total_time={{seconds}} -timeout=10 -rss_limit_mb=2560 .fuzz

lint:
    {{python}} -m ruff check .
    {{python}} -m ruff format --check .

types:
    {{python}} -m pyright --pythonpath {{python}}

layers:
    .venv/bin/lint-imports

# the main job on real data
example:
    {{python}} examples/fetch_data.py
    {{python}} examples/01_main_job.py

bench *options:
    {{python}} -m benchmarks.run {{options}}

# write the test vectors of the spec anew (only when the bytes change)
vectors:
    {{python}} tests/conformance/make_vectors.py
