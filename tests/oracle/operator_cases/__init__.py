"""The operator cases, by the kind of operator. Each module's `add_cases` adds its cases to a `suite.Suite`."""

from . import (
    attention,
    blocks,
    control,
    convolution,
    einsum,
    elementwise,
    images,
    integers,
    matrices,
    pooling,
    positions,
    quantization,
    rearrangement,
    reduction,
    sampling,
    special_values,
)

MODULES = [
    convolution,
    matrices,
    pooling,
    reduction,
    einsum,
    elementwise,
    integers,
    positions,
    rearrangement,
    images,
    blocks,
    control,
    quantization,
    sampling,
    attention,
    special_values,
]
