"""The store in memory keeps the contract of stores."""

from __future__ import annotations

import pytest
from store_contract import StoreContract

from lance_like.io.memory import MemoryStore


class TestMemoryStore(StoreContract):
    @pytest.fixture
    def store(self) -> MemoryStore:
        return MemoryStore("test")

    def test_its_uri_names_it(self, store: MemoryStore) -> None:
        assert store.uri == "memory://test"
