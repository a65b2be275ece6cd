"""What all unit tests share: this folder on the import path, and examples that are the same in every run."""

from collections.abc import Iterator

import pytest
from hypothesis import settings
from loopback_s3 import S3Server, serving

settings.register_profile("fixed", derandomize=True, deadline=None)
settings.load_profile("fixed")


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    """An S3 server on the loopback interface."""
    with serving() as server:
        yield server
