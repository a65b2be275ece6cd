"""Measurements of this package beside its peers; README.md says how to run them and what each word means."""
