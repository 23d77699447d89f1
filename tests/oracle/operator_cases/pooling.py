"""Pooling windows and global pooling."""

from .suite import Suite, normal

# Name: opset, height, width, attributes; for both kinds of pooling.
WINDOWS = {
    "2x2": (8, 8, 10, {"kernel_shape": [2, 2], "strides": [2, 2]}),
    "2x2_no_stride": (11, 7, 7, {"kernel_shape": [2, 2]}),
    "3x3_stride": (10, 9, 9, {"kernel_shape": [3, 3], "strides": [2, 2]}),
    "3x3_padded": (7, 12, 12, {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}),
    "3x3_same": (12, 8, 9, {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}),
    "3x3_asymmetric": (11, 8, 8, {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [0, 0, 1, 1]}),
    "5x5_padded": (12, 9, 9, {"kernel_shape": [5, 5], "pads": [2, 2, 2, 2]}),
    "2x3_by_axis": (11, 9, 10, {"kernel_shape": [2, 3], "strides": [1, 2], "pads": [1, 0, 0, 1]}),
    "whole_image": (19, 7, 7, {"kernel_shape": [7, 7]}),
    "ceil": (10, 8, 8, {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}),
    "ceil_padded": (19, 10, 11, {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1] * 4, "ceil_mode": 1}),
    "ceil_exact": (11, 9, 9, {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}),
    "ceil_2x2": (12, 7, 9, {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1}),
    "same_upper": (11, 9, 10, {"kernel_shape": [3, 3], "strides": [2, 2], "auto_pad": "SAME_UPPER"}),
    "same_lower": (11, 9, 10, {"kernel_shape": [2, 2], "strides": [2, 2], "auto_pad": "SAME_LOWER"}),
    "auto_pad_valid": (12, 9, 10, {"kernel_shape": [3, 3], "strides": [2, 2], "auto_pad": "VALID"}),
}


def add_cases(suite: Suite):
    for index, (name, (opset, height, width, attributes)) in enumerate(WINDOWS.items()):
        values = {"x": normal(1 + index % 2, 3 + index % 5, height, width)}
        suite.operator(f"max_pool_{name}", opset, "MaxPool", values, **attributes)
        suite.operator(f"average_pool_{name}", opset, "AveragePool", values, **attributes)
        if "pads" in attributes:
            counted = attributes | {"count_include_pad": 1}
            suite.operator(f"average_pool_{name}_count_pad", opset, "AveragePool", values, **counted)
    image = {"x": normal(1, 6, 11, 12)}
    suite.operator("max_pool_dilated", 12, "MaxPool", image, kernel_shape=[3, 3], dilations=[2, 2])
    suite.operator(
        "max_pool_dilated_padded", 12, "MaxPool", image,
        kernel_shape=[3, 2], dilations=[2, 3], pads=[1, 1, 1, 1], strides=[2, 1],
    )
    suite.operator("average_pool_dilated", 19, "AveragePool", image, kernel_shape=[3, 3], dilations=[2, 2])
    suite.operator(
        "average_pool_dilated_padded", 19, "AveragePool", image,
        kernel_shape=[3, 3], dilations=[2, 1], pads=[1, 1, 1, 1], count_include_pad=1,
    )
    # All elements negative: padding must not win.
    values = {"x": lambda random: -1 - abs(normal(1, 3, 6, 6)(random))}
    suite.operator("max_pool_negative", 12, "MaxPool", values, kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    for op_type, name in (("GlobalAveragePool", "global_average_pool"), ("GlobalMaxPool", "global_max_pool")):
        for opset, shape in ((7, (1, 8, 7, 7)), (13, (2, 5, 3, 4)), (21, (1, 33, 1, 1))):
            dims = "x".join(map(str, shape))
            suite.operator(f"{name}_{dims}", opset, op_type, {"x": normal(*shape)})
