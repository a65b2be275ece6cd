"""Columns of images: where they lie (`ImageURIArray`), as files (`EncodedImageArray`), as pixels of one shape.

| array | stored as | made by |
|---|---|---|
| `ImageURIArray` | text | `from_uris` |
| `EncodedImageArray` | binary: PNG, JPEG, … | `ImageURIArray.read_uris`, `FixedShapeImageTensorArray.to_encoded` |
| `FixedShapeImageTensorArray` | fixed-size lists of pixels | `EncodedImageArray.to_tensor` |
"""

from __future__ import annotations

import io
import json
import math
import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any
from urllib.parse import urlparse
from urllib.request import urlopen

import numpy as np
import pyarrow as pa

from lance_like._lazy import need
from lance_like.errors import InvalidInput, StorageError


class ImageScalar(pa.ExtensionScalar):
    """One image."""

    def as_py(self, **options: Any) -> Any:
        """As its storage says it: a text, bytes or a list of numbers; None for a null."""
        return None if self.value is None else self.value.as_py(**options)


class ImageURIScalar(ImageScalar):
    """Where one image lies."""


class EncodedImageScalar(ImageScalar):
    """One image as a file."""


class FixedShapeImageTensorScalar(ImageScalar):
    """The pixels of one image."""


class ImageArray(pa.ExtensionArray):
    """What the arrays of images have in common."""

    @classmethod
    def from_array(cls, images: pa.Array | Iterable[str | os.PathLike[str] | None]) -> Any:
        """Make one of the arrays of images: of texts, of binary cells, of fixed-shape tensors; others are texts.

        Raises InvalidInput for an array of another type.
        """
        if isinstance(images, ImageArray):
            return images
        if isinstance(images, pa.FixedShapeTensorArray):
            kind = FixedShapeImageTensorType(images.type.value_type, images.type.shape)
            return pa.ExtensionArray.from_storage(kind, images.storage)
        if not isinstance(images, pa.Array) or _is_text(images.type):
            return ImageURIArray.from_uris(images)
        return pa.ExtensionArray.from_storage(EncodedImageType(images.type), images)


class ImageURIArray(ImageArray):
    """Where images lie: paths, or URIs of files, of http and of object stores."""

    @staticmethod
    def from_uris(uris: pa.Array | Iterable[str | os.PathLike[str] | None]) -> ImageURIArray:
        """Paths and URIs as they are; nothing is read. Raises InvalidInput for an array of no texts."""
        if not isinstance(uris, pa.Array):
            uris = pa.array([None if uri is None else os.fspath(uri) for uri in uris], pa.string())
        return pa.ExtensionArray.from_storage(ImageURIType(uris.type), uris)

    def read_uris(self, storage_type: pa.DataType | None = None) -> EncodedImageArray:
        """Read all images into memory; nulls stay nulls.

        storage_type: pa.binary() by default, pa.large_binary() for more than 2 GiB. Raises StorageError.
        """
        kind = EncodedImageType(storage_type or pa.binary())
        images = [None if uri is None else _read(uri) for uri in self.storage.to_pylist()]
        return pa.ExtensionArray.from_storage(kind, pa.array(images, kind.storage_type))


class EncodedImageArray(ImageArray):
    """Images as files, of any format."""

    def to_tensor(self, decoder: Callable[[pa.Array], Any] | None = None) -> FixedShapeImageTensorArray:
        """Decode images of one shape.

        decoder: makes of the binary array a numpy array [images, height, width, channels], or a
            pa.FixedShapeTensorArray; by default Pillow does.
        Raises InvalidInput for nulls and for images of several shapes, MissingDependency without Pillow.
        """
        if self.null_count:
            raise InvalidInput(f"{self.null_count:,} nulls are no images", kind="null")
        pixels = (decoder or _decoded)(self.storage)
        if not isinstance(pixels, pa.FixedShapeTensorArray):
            pixels = pa.FixedShapeTensorArray.from_numpy_ndarray(np.ascontiguousarray(pixels))
        return ImageArray.from_array(pixels)


class FixedShapeImageTensorArray(ImageArray):
    """Pixels of images of one shape."""

    def to_numpy(self, zero_copy_only: bool = False, **options: Any) -> np.ndarray:
        """The pixels: [images, *shape]. Raises InvalidInput for nulls."""
        if self.null_count:
            raise InvalidInput(f"{self.null_count:,} nulls have no pixels", kind="null")
        pixels = self.storage.flatten().to_numpy(zero_copy_only=False)
        return pixels.reshape(len(self), *self.type.shape)

    def to_encoded(
        self, encoder: Callable[[np.ndarray], Any] | None = None, storage_type: pa.DataType | None = None
    ) -> EncodedImageArray:
        """Encode them. encoder: makes of what `to_numpy` gives a binary array; by default Pillow makes PNG files.

        storage_type: as of `read_uris`. Raises as `to_numpy`; MissingDependency without Pillow.
        """
        kind = EncodedImageType(storage_type or pa.binary())
        files = pa.array((encoder or _encoded)(self.to_numpy()))
        return pa.ExtensionArray.from_storage(kind, files.cast(kind.storage_type))


class ImageURIType(pa.ExtensionType):
    """The type of `ImageURIArray`. storage_type: of texts."""

    def __init__(self, storage_type: pa.DataType | None = None) -> None:
        if storage_type is not None and not _is_text(storage_type):
            raise InvalidInput(f"places of images are texts, not {storage_type}", kind="type")
        super().__init__(storage_type or pa.string(), "lance.arrow.image_uri")

    def __arrow_ext_serialize__(self) -> bytes:
        return b""

    @classmethod
    def __arrow_ext_deserialize__(cls, storage_type: pa.DataType, serialized: bytes) -> ImageURIType:
        return cls(storage_type)

    def __arrow_ext_class__(self) -> type[ImageURIArray]:
        return ImageURIArray

    def __arrow_ext_scalar_class__(self) -> type[ImageURIScalar]:
        return ImageURIScalar


class EncodedImageType(pa.ExtensionType):
    """The type of `EncodedImageArray`. storage_type: of binary cells."""

    def __init__(self, storage_type: pa.DataType | None = None) -> None:
        if storage_type not in (None, pa.binary(), pa.large_binary(), pa.binary_view()):
            raise InvalidInput(f"encoded images are binary cells, not {storage_type}", kind="type")
        super().__init__(storage_type or pa.binary(), "lance.arrow.encoded_image")

    def __arrow_ext_serialize__(self) -> bytes:
        return b""

    @classmethod
    def __arrow_ext_deserialize__(cls, storage_type: pa.DataType, serialized: bytes) -> EncodedImageType:
        return cls(storage_type)

    def __arrow_ext_class__(self) -> type[EncodedImageArray]:
        return EncodedImageArray

    def __arrow_ext_scalar_class__(self) -> type[EncodedImageScalar]:
        return EncodedImageScalar


class FixedShapeImageTensorType(pa.ExtensionType):
    """The type of `FixedShapeImageTensorArray`. arrow_type: of a number. shape: of an image."""

    def __init__(self, arrow_type: pa.DataType, shape: Sequence[int]) -> None:
        self.arrow_type, self.shape = arrow_type, tuple(shape)
        super().__init__(pa.list_(arrow_type, math.prod(self.shape)), "lance.arrow.fixed_shape_image_tensor")

    def __arrow_ext_serialize__(self) -> bytes:
        return json.dumps({"shape": self.shape}).encode()

    @classmethod
    def __arrow_ext_deserialize__(
        cls, storage_type: pa.FixedSizeListType, serialized: bytes
    ) -> FixedShapeImageTensorType:
        return cls(storage_type.value_type, json.loads(serialized)["shape"])

    def __arrow_ext_class__(self) -> type[FixedShapeImageTensorArray]:
        return FixedShapeImageTensorArray

    def __arrow_ext_scalar_class__(self) -> type[FixedShapeImageTensorScalar]:
        return FixedShapeImageTensorScalar


def _is_text(kind: pa.DataType) -> bool:
    return kind in (pa.string(), pa.large_string(), pa.string_view())


def _read(uri: str) -> bytes:
    """The bytes of an image. Raises StorageError."""
    try:
        if urlparse(uri).scheme in ("http", "https"):
            with urlopen(uri) as answer:
                return answer.read()
        from pyarrow import fs  # loads the libraries of object stores

        place = uri if "://" in uri else os.path.abspath(uri)
        files, path = fs.FileSystem.from_uri(place)
        with files.open_input_stream(path) as source:
            return source.read()
    except (OSError, ValueError) as error:
        raise StorageError(f"the image cannot be read: {error}", kind="image", where=uri) from error


def _decoded(images: pa.Array) -> np.ndarray:
    """Pixels by Pillow: [images, height, width, channels]. Raises InvalidInput for several shapes."""
    pillow = need("PIL.Image")
    found = [np.asarray(pillow.open(io.BytesIO(image))) for image in images.to_pylist()]
    shapes = {image.shape for image in found}
    if len(shapes) != 1:
        raise InvalidInput(f"{len(found):,} images have {len(shapes):,} shapes: expected one", kind="image")
    return np.stack(found)


def _encoded(images: np.ndarray) -> pa.Array:
    """PNG files by Pillow."""
    pillow = need("PIL.Image")
    files: list[bytes] = []
    for image in images:
        file = io.BytesIO()
        pillow.fromarray(image).save(file, format="PNG")
        files.append(file.getvalue())
    return pa.array(files, pa.large_binary())


for _type in (ImageURIType(), EncodedImageType(), FixedShapeImageTensorType(pa.uint8(), (0,))):
    with suppress(pa.ArrowKeyError):  # another package has made it known
        pa.register_extension_type(_type)

__all__ = [
    "EncodedImageArray",
    "EncodedImageScalar",
    "EncodedImageType",
    "FixedShapeImageTensorArray",
    "FixedShapeImageTensorScalar",
    "FixedShapeImageTensorType",
    "ImageArray",
    "ImageScalar",
    "ImageURIArray",
    "ImageURIScalar",
    "ImageURIType",
]
