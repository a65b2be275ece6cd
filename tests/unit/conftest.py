"""What all unit tests share: this folder on the import path, and examples that are the same in every run."""

from hypothesis import settings

settings.register_profile("fixed", derandomize=True, deadline=None)
settings.load_profile("fixed")
