"""What a segment learns before its rows are placed: centroids and codebooks, from a sample or from before."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lance_like.index.base import BuildOptions, IndexSource
from lance_like.index.vector.bits import nearest_bits
from lance_like.index.vector.door import alone, apart, cores, faiss, pointer, spread
from lance_like.index.vector.params import centroids_of, partitions_for
from lance_like.index.vector.quantize import CODEBOOK_RATE, Bits, Codes, Product, Scalar, given_codebook
from lance_like.index.vector.searcher import IvfSearcher
from lance_like.index.vector.space import Space
from lance_like.index.vector.stored import number, whole_of
from lance_like.typing_ import Int64s, Json

_SAMPLE_RATE, _ITERATIONS = 100, 10
# A codebook learns from so many vectors at most; more changed its errors by less than a percent.
_CODEBOOK_ROWS = 1 << 16
# Held out to measure recall.
_QUERIES = 128
# Centroids are taken over when they are so many times too many or too few.
_STRETCH = 3


@dataclass(frozen=True)
class Model:
    """centroids: float32[p, d] as placed, uint8 for hamming. codes: of the vectors; None for hamming.

    held_out: rows of the sample to measure with.
    """

    centroids: np.ndarray
    codes: Codes
    held_out: np.ndarray


def learn(
    source: IndexSource,
    kind: str,
    space: Space,
    params: Mapping[str, Json],
    options: BuildOptions,
    *,
    graphs: bool,
) -> Model:
    """Learn from a sample, or take over what the caller gives or the segment before has. kind, graphs: as `checked`."""
    random = np.random.default_rng(1)
    wanted = partitions_for(params, source.rows, graphs=graphs)
    prior = options.prior if isinstance(options.prior, IvfSearcher) else None
    count = min(source.rows, max(wanted * int(params.get("sample_rate") or _SAMPLE_RATE), _CODEBOOK_ROWS))
    width = space.held.dtype.itemsize * space.dimension + 8 * space.dimension
    count = min(count, max(1024, options.memory_nbytes // (4 * width)))
    if prior is not None:
        # What is new pays for what is new alone: its sample trains few centroids, if any.
        count = min(count, max(1024, source.rows // 4))
    chosen = np.sort(random.choice(source.rows, count, replace=False)) if source.rows else np.empty(0, np.int64)
    sample, _ = space.place(source.take(chosen))
    centroids = _centroids(sample, wanted, space, params, options, prior)
    held_out = sample[random.permutation(len(sample))[:_QUERIES]]
    codes = _codes(sample[:: -(-len(sample) // _CODEBOOK_ROWS) or 1], kind, space, params, options)
    return Model(centroids, codes, held_out)


def _centroids(
    sample: np.ndarray,
    wanted: int,
    space: Space,
    params: Mapping[str, Json],
    options: BuildOptions,
    prior: IvfSearcher | None,
) -> np.ndarray:
    given = options.given.get("ivf_centroids")
    if given is not None:
        return _packed(centroids_of(given, space.dimension), space)
    if prior is not None:
        before = prior.stored.centroids
        if wanted <= _STRETCH * len(before) and len(before) <= _STRETCH * wanted:
            return before
    if space.bits:
        learnt = _means(np.unpackbits(sample, axis=1).astype(np.float32), wanted, params, options)
        return np.packbits(learnt > 0.5, axis=1)
    return _means(sample, wanted, params, options)


def _packed(centroids: np.ndarray, space: Space) -> np.ndarray:
    return centroids.astype(np.uint8) if space.bits else np.ascontiguousarray(space.queries(centroids))


def _means(sample: np.ndarray, wanted: int, params: Mapping[str, Json], options: BuildOptions) -> np.ndarray:
    """k-means: float32[p, d] of as many centroids as wanted, or as there are vectors."""
    dimension = sample.shape[1]
    if wanted == 1 or len(sample) < 2:
        return sample[:].mean(axis=0, keepdims=True) if len(sample) else np.zeros((1, dimension), np.float32)
    rate = int(params.get("sample_rate") or _SAMPLE_RATE)

    def train() -> np.ndarray:
        means = faiss().Kmeans(
            dimension,
            min(wanted, len(sample)),
            niter=int(params.get("max_iters") or _ITERATIONS),
            max_points_per_centroid=rate,
            min_points_per_centroid=1,
            seed=1,
        )
        means.train(np.ascontiguousarray(sample))
        return means.centroids

    found = apart(train, options.threads)
    # Clusters that lost all their vectors while others were split may be anywhere.
    return found[np.isfinite(found).all(axis=1)]


def _codes(sample: np.ndarray, kind: str, space: Space, params: Mapping[str, Json], options: BuildOptions) -> Codes:
    if kind == "FLAT":
        return whole_of(space)
    if kind == "RQ":
        return Bits.trained(space.dimension)
    if not len(sample):
        sample = np.zeros((1, space.dimension), np.float32)
    if kind != "PQ":
        return Scalar.trained(sample)
    parts, bits = number(params, "num_sub_vectors"), number(params, "num_bits")
    given: Any = options.given.get("pq_codebook")
    if given is not None:
        return given_codebook(given, space.dimension, parts, bits)
    if isinstance(options.prior, IvfSearcher):
        return options.prior.stored.codes
    rate = int(params.get("sample_rate") or CODEBOOK_RATE)
    return apart(lambda: Product.trained(sample, parts, bits, rate), options.threads)


def nearest_centroids(vectors: np.ndarray, centroids: np.ndarray, space: Space) -> tuple[Int64s, np.ndarray]:
    """The partition of each vector, int64[n], and how far its centroid is, float32[n]: squared l2, or bits.

    Of one partition alone: 0.
    """
    out, far = np.zeros(len(vectors), np.int64), np.zeros(len(vectors), np.float32)
    if len(centroids) == 1 or not len(vectors):
        return out, far

    def assign(cut: tuple[int, int]) -> None:
        part = np.ascontiguousarray(vectors[cut[0] : cut[1]])
        if not len(part):
            return
        into, near = out[cut[0] : cut[1]], far[cut[0] : cut[1]]
        if space.bits:
            bits, numbers = nearest_bits(part, centroids, 1)
            into[:], near[:] = numbers[:, 0], bits[:, 0]
            return
        shape = (centroids.shape[1], len(part), len(centroids), 1)
        alone().knn_L2sqr(pointer(part), pointer(centroids), *shape, pointer(near), pointer(into))

    cuts = np.linspace(0, len(vectors), cores() + 1).astype(int)
    spread(assign, itertools.pairwise(cuts))
    return out, far


__all__ = ["Model", "learn", "nearest_centroids"]
