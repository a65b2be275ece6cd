from __future__ import annotations

import uuid

import pytest


@pytest.fixture
def uri() -> str:
    """A place in memory that no other test uses."""
    return f"memory://{uuid.uuid4().hex}"
