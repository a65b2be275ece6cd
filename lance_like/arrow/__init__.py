"""Types that Arrow has not, under pylance's names: bfloat16, and images as places, as files and as pixels.

Importing this package makes the types known to Arrow, so that tables are read with them.
"""

from __future__ import annotations

from lance_like.arrow.bfloat16 import BFloat16Array, BFloat16Scalar, BFloat16Type, bfloat16_array, cast
from lance_like.arrow.images import (
    EncodedImageArray,
    EncodedImageScalar,
    EncodedImageType,
    FixedShapeImageTensorArray,
    FixedShapeImageTensorScalar,
    FixedShapeImageTensorType,
    ImageArray,
    ImageScalar,
    ImageURIArray,
    ImageURIScalar,
    ImageURIType,
)

__all__ = [
    "BFloat16Array",
    "BFloat16Scalar",
    "BFloat16Type",
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
    "bfloat16_array",
    "cast",
]
