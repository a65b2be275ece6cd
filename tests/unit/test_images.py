"""Images in Arrow: as places, as files, as pixels, and tables of them."""

from __future__ import annotations

import io
import pickle
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import lance_like
from lance_like.arrow import (
    EncodedImageArray,
    EncodedImageType,
    FixedShapeImageTensorType,
    ImageArray,
    ImageURIArray,
    ImageURIType,
)
from lance_like.errors import InvalidInput, StorageError

pillow = pytest.importorskip("PIL.Image")

PIXELS = np.random.default_rng(5).integers(0, 256, (4, 3, 2, 3), dtype=np.uint8)


def png(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    pillow.fromarray(image).save(file, format="PNG")
    return file.getvalue()


@pytest.fixture
def places(tmp_path: Path) -> list[str]:
    for number, image in enumerate(PIXELS):
        (tmp_path / f"{number}.png").write_bytes(png(image))
    return [str(tmp_path / f"{number}.png") for number in range(len(PIXELS))]


def test_places_become_files_and_files_pixels(places: list[str]) -> None:
    uris = ImageURIArray.from_uris([places[0], None, Path(places[1]).as_uri()])
    files = uris.read_uris()
    assert isinstance(files, EncodedImageArray)
    assert files.to_pylist() == [png(PIXELS[0]), None, png(PIXELS[1])]
    with pytest.raises(InvalidInput, match="null"):
        files.to_tensor()
    pixels = ImageURIArray.from_uris(places).read_uris(pa.large_binary()).to_tensor()
    assert pixels.type == FixedShapeImageTensorType(pa.uint8(), (3, 2, 3))
    assert np.array_equal(pixels.to_numpy(), PIXELS)
    assert np.array_equal(pixels.slice(1, 2).to_numpy(), PIXELS[1:3])
    again = pixels.to_encoded()
    assert again.type == EncodedImageType() and again.to_tensor() == pixels


def test_places_may_be_on_the_web(places: list[str], tmp_path: Path) -> None:
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        at = f"http://127.0.0.1:{server.server_port}"
        assert ImageURIArray.from_uris([f"{at}/2.png"]).read_uris().to_pylist() == [png(PIXELS[2])]
        with pytest.raises(StorageError, match="404"):
            ImageURIArray.from_uris([f"{at}/none.png"]).read_uris()
        server.shutdown()
    with pytest.raises(StorageError, match="none"):
        ImageURIArray.from_uris([str(tmp_path / "none.png")]).read_uris()


def test_decoders_and_encoders_may_be_the_callers() -> None:
    files = ImageArray.from_array(pa.array([b"\1\2", b"\3\4"]))

    def decode(cells: pa.Array) -> np.ndarray:
        return np.stack([np.frombuffer(cell, np.uint8).reshape(1, 2) for cell in cells.to_pylist()])

    pixels = files.to_tensor(decode)
    assert pixels.to_numpy().tolist() == [[[1, 2]], [[3, 4]]]
    assert pixels[1].as_py() == [3, 4]
    assert files.to_tensor(lambda cells: pa.FixedShapeTensorArray.from_numpy_ndarray(decode(cells))) == pixels
    assert pixels.to_encoded(lambda images: [image.tobytes() for image in images]) == files


def test_images_of_several_shapes_are_no_tensor() -> None:
    files = ImageArray.from_array(pa.array([png(PIXELS[0]), png(PIXELS[0][:1])]))
    with pytest.raises(InvalidInput, match="shapes"):
        files.to_tensor()


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        (["a.png", "b.png"], ImageURIType()),
        (pa.array(["a.png"], pa.large_string()), ImageURIType(pa.large_string())),
        (pa.array([b"1"], pa.large_binary()), EncodedImageType(pa.large_binary())),
        (pa.FixedShapeTensorArray.from_numpy_ndarray(PIXELS), FixedShapeImageTensorType(pa.uint8(), (3, 2, 3))),
    ],
)
def test_an_array_of_images_is_made_by_type(given: Any, kind: pa.DataType) -> None:
    images = ImageArray.from_array(given)
    assert images.type == kind
    assert ImageArray.from_array(images) is images
    assert pickle.loads(pickle.dumps(images)) == images


def test_other_types_are_no_images() -> None:
    for wrong in (pa.array([1]), pa.array([[1]])):
        with pytest.raises(InvalidInput):
            ImageArray.from_array(wrong)
    with pytest.raises(InvalidInput):
        ImageURIType(pa.binary())


def test_tables_of_images_are_read_as_they_were_written(places: list[str], tmp_path: Path) -> None:
    uris = ImageURIArray.from_uris(places)
    files = uris.read_uris()
    table = pa.table({"uri": uris, "file": files, "pixels": files.to_tensor()})
    dataset = lance_like.write_dataset(table, tmp_path / "t")
    assert dataset.to_table() == table
    taken = dataset.take([2])
    assert taken.schema.types == table.schema.types
    assert np.array_equal(taken["pixels"].chunk(0).to_numpy(), PIXELS[2:3])
