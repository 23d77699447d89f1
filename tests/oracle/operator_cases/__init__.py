"""The operator cases, by the kind of operator. Each module's `add_cases` adds its cases to a `suite.Suite`."""

from . import (
    attention,
    blocks,
    convolution,
    elementwise,
    images,
    integers,
    matrices,
    pooling,
    positions,
    rearrangement,
    reduction,
    special_values,
)

MODULES = [
    convolution,
    matrices,
    pooling,
    reduction,
    elementwise,
    integers,
    positions,
    rearrangement,
    images,
    blocks,
    attention,
    special_values,
]
