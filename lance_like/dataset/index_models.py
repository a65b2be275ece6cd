"""What vector indexes learn before rows are placed, as values: trained once, and given to builds in many processes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from lance_like.dataset.index_build import planned_entry, rows_of_fragments
from lance_like.dataset.index_source import source_of
from lance_like.errors import Corrupt, InvalidInput
from lance_like.file.api import LanceFileReader
from lance_like.file.push import LanceFileWriter
from lance_like.index.base import BuildOptions
from lance_like.index.coverage import Coverage
from lance_like.index.vector.quantize import Product
from lance_like.index.vector.searcher import IvfSearcher
from lance_like.index.vector.space import space_of
from lance_like.index.vector.train import Model, learn
from lance_like.index.vector.values import vector_type
from lance_like.table.rowids import RowIdMap

if TYPE_CHECKING:
    from lance_like.dataset.handle import LanceDataset

Place = str | os.PathLike[str]


@dataclass(frozen=True, eq=False)
class IvfModel:
    """The centroids of partitions: fixed-size lists, of float32 or, under hamming, of uint8.

    Under cosine their directions count.
    """

    centroids: pa.FixedSizeListArray
    distance_type: str

    @property
    def num_partitions(self) -> int:
        """How many."""
        return len(self.centroids)

    def save(self, uri: Place, *, storage_options: dict[str, str] | None = None) -> None:
        """Write them as a data file."""
        _save(uri, "centroids", self.centroids, {"distance_type": self.distance_type}, storage_options)

    @staticmethod
    def load(uri: Place, *, storage_options: dict[str, str] | None = None) -> IvfModel:
        """Read what `save` wrote. Raises NotFound, Corrupt for another file."""
        centroids, about = _load(uri, "centroids", ("distance_type",), storage_options)
        return IvfModel(centroids, about["distance_type"])


@dataclass(frozen=True, eq=False)
class PqModel:
    """The codebook of a product quantizer: for each of num_subvectors parts the vectors of its 2^num_bits numbers."""

    num_subvectors: int
    codebook: pa.FixedSizeListArray
    num_bits: int = 8

    @property
    def dimension(self) -> int:
        """The numbers of a vector, lengthened to equal parts."""
        return self.num_subvectors * len(self.codebook.values) // len(self.codebook)

    def save(self, uri: Place, *, storage_options: dict[str, str] | None = None) -> None:
        """Write it as a data file."""
        about = {"num_subvectors": str(self.num_subvectors), "num_bits": str(self.num_bits)}
        _save(uri, "codebook", self.codebook, about, storage_options)

    @staticmethod
    def load(uri: Place, *, storage_options: dict[str, str] | None = None) -> PqModel:
        """Read what `save` wrote. Raises NotFound, Corrupt for another file."""
        codebook, about = _load(uri, "codebook", ("num_subvectors", "num_bits"), storage_options)
        return PqModel(int(about["num_subvectors"]), codebook, int(about["num_bits"]))


class IndicesBuilder:
    """Trains what the segments of one vector index are to share.

    Give it to each `ds.create_index_uncommitted(..., fragment_ids=..., ivf_centroids=..., pq_codebook=...)`, and make
    their segments one index with `ds.commit_existing_index_segments`.
    """

    def __init__(self, dataset: LanceDataset, column: str) -> None:
        self.dataset, self.column = dataset, column

    @property
    def dimension(self) -> int:
        """The numbers of a vector. Raises NotFound, InvalidInput for a column without vectors."""
        return vector_type(self.dataset._manifest.schema.find(self.column).type).dimension

    def train_ivf(
        self,
        num_partitions: int | None = None,
        *,
        distance_type: str = "l2",
        accelerator: Any = None,
        sample_rate: int = 256,
        max_iters: int = 50,
        fragment_ids: Iterable[int] | None = None,
    ) -> IvfModel:
        """Find centroids. num_partitions: None: the root of the number of rows. distance_type: the metric of the index.

        sample_rate: rows of the sample for each, at least. max_iters: of k-means. fragment_ids: learn from these; None:
        all. accelerator: as in `create_index`. Raises NotFound, InvalidInput for a column without vectors.
        """
        rows = self._rows(fragment_ids)
        if num_partitions is None:
            num_partitions = max(1, round(int((rows.ends - rows.starts).sum()) ** 0.5))
        given = {"metric": distance_type, "num_partitions": num_partitions, "accelerator": accelerator}
        given |= {"sample_rate": sample_rate, "max_iters": max_iters}
        model, metric = self._learn("FLAT", given, rows)
        return _ivf_model(model.centroids, metric)

    def train_pq(
        self,
        ivf_model: IvfModel,
        num_subvectors: int | None = None,
        *,
        sample_rate: int = 256,
        max_iters: int = 50,
        num_bits: int = 8,
        fragment_ids: Iterable[int] | None = None,
    ) -> PqModel:
        """Find a codebook for an index of these centroids.

        num_subvectors: None: of 16 numbers each, or of 8, where these go into the dimension; else as `create_index`
        chooses, of whose longer codes a search needs fewer. The other options: as in `train_ivf`; max_iters is
        accepted, not needed. Raises as `train_ivf`.
        """
        if num_subvectors is None:
            fitting = [size for size in (16, 8) if self.dimension % size == 0]
            num_subvectors = self.dimension // fitting[0] if fitting else None
        given = {
            "metric": ivf_model.distance_type,
            "ivf_centroids": ivf_model.centroids,
            "num_sub_vectors": num_subvectors,
            "num_bits": num_bits,
            "sample_rate": sample_rate,
            "max_iters": max_iters,
        }
        model, _ = self._learn("PQ", given, self._rows(fragment_ids))
        assert isinstance(model.codes, Product)
        return PqModel(model.codes.parts, _lists(model.codes.codebook), model.codes.bits)

    def prepare_global_ivf_pq(
        self,
        num_partitions: int | None = None,
        num_subvectors: int | None = None,
        *,
        distance_type: str = "l2",
        accelerator: Any = None,
        sample_rate: int = 256,
        max_iters: int = 50,
        num_bits: int = 8,
        fragment_ids: Iterable[int] | None = None,
    ) -> dict[str, pa.FixedSizeListArray]:
        """Both: {"ivf_centroids", "pq_codebook"}, as options of a build. The options: as of the two methods above."""
        fragment_ids = None if fragment_ids is None else list(fragment_ids)
        shared: dict[str, Any] = {"sample_rate": sample_rate, "max_iters": max_iters, "fragment_ids": fragment_ids}
        ivf = self.train_ivf(num_partitions, distance_type=distance_type, accelerator=accelerator, **shared)
        pq = self.train_pq(ivf, num_subvectors, num_bits=num_bits, **shared)
        return {"ivf_centroids": ivf.centroids, "pq_codebook": pq.codebook}

    def _rows(self, fragment_ids: Iterable[int] | None) -> RowIdMap:
        manifest = self.dataset._manifest
        rows = manifest.tree.all_row_ids
        return rows if fragment_ids is None else rows_of_fragments(manifest, rows, set(fragment_ids))

    def _learn(self, codes: str, given: Mapping[str, Any], rows: RowIdMap) -> tuple[Model, str]:
        """What a build would learn of such rows, and the metric by its own name."""
        session, manifest = self.dataset._session, self.dataset._manifest
        entry = planned_entry(session, manifest, self.column, f"IVF_{codes}", None, given)
        source = source_of(session, manifest, entry, rows)
        metric = str(entry.params["metric"])
        options = BuildOptions(given=given)
        return learn(source, codes, space_of(source.type, metric), entry.params, options, graphs=False), metric


def ivf_model_of(coverage: Coverage) -> IvfModel:
    """The centroids of an index, of its largest segment. Raises InvalidInput for one without partitions, or rows."""
    largest = max(coverage.segments, key=lambda segment: segment.rows, default=None)
    searcher = None if largest is None else largest.searcher
    if not isinstance(searcher, IvfSearcher):
        raise InvalidInput(f"the index {coverage.entry.name!r} ({coverage.entry.kind}) has no centroids", kind="index")
    return _ivf_model(searcher.stored.centroids, str(coverage.entry.params["metric"]))


def _ivf_model(centroids: np.ndarray, metric: str) -> IvfModel:
    """Centroids as a model. centroids: float32 or uint8[p, d]."""
    return IvfModel(_lists(centroids), metric)


def _lists(rows: np.ndarray) -> pa.FixedSizeListArray:
    return pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), rows.shape[1])


def _save(uri: Place, name: str, rows: pa.Array, about: dict[str, str], options: dict[str, str] | None) -> None:
    schema = pa.schema([pa.field(name, rows.type)], about)
    with LanceFileWriter(uri, schema, storage_options=options) as writer:
        writer.write_batch(pa.record_batch([rows], schema))


def _load(
    uri: Place, name: str, about: tuple[str, ...], options: dict[str, str] | None
) -> tuple[pa.FixedSizeListArray, dict[str, str]]:
    """The lists of a file and what its schema says of them."""
    table = LanceFileReader(uri, storage_options=options).read_all().to_table()
    found = {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()}
    if table.schema.names != [name] or not set(about) <= set(found):
        raise Corrupt(f"the file holds no {name} with {', '.join(about)}", kind="structure", where=os.fspath(uri))
    rows = table.column(0).combine_chunks()
    if not isinstance(rows, pa.FixedSizeListArray):
        raise Corrupt(f"{name} is {rows.type}: expected fixed-size lists", kind="structure", where=os.fspath(uri))
    return rows, found


__all__ = ["IndicesBuilder", "IvfModel", "PqModel", "ivf_model_of"]
