"""Convolutions in two dimensions."""

from .suite import Constant, Suite, normal, weights

OPSETS = (7, 9, 11, 13, 17, 21)

# Name: batch, input channels, output channels, groups, height, width, kernel, further attributes.
CONVOLUTIONS = {
    "1x1": (1, 8, 16, 1, 7, 9, (1, 1), {}),
    "1x1_one_pixel": (1, 16, 10, 1, 1, 1, (1, 1), {}),
    "1x1_odd_channels": (1, 13, 27, 1, 5, 7, (1, 1), {}),
    "1x1_one_output": (1, 24, 1, 1, 6, 6, (1, 1), {}),
    "1x1_one_input": (1, 1, 24, 1, 6, 6, (1, 1), {}),
    "1x1_wide": (1, 96, 136, 1, 4, 5, (1, 1), {}),
    "1x1_deep": (1, 320, 40, 1, 3, 3, (1, 1), {}),
    "1x1_batch": (2, 12, 20, 1, 7, 7, (1, 1), {}),
    "1x1_stride": (1, 8, 16, 1, 9, 8, (1, 1), {"strides": [2, 2]}),
    "1x1_padded": (1, 6, 8, 1, 4, 4, (1, 1), {"pads": [1, 0, 0, 2]}),
    "1x1_groups": (1, 12, 24, 3, 6, 5, (1, 1), {"group": 3}),
    "3x3_valid": (1, 8, 16, 1, 10, 9, (3, 3), {}),
    "3x3_same": (1, 16, 24, 1, 12, 12, (3, 3), {"pads": [1, 1, 1, 1]}),
    "3x3_stride": (1, 3, 32, 1, 17, 16, (3, 3), {"pads": [1, 1, 1, 1], "strides": [2, 2]}),
    "3x3_stride_by_axis": (1, 8, 8, 1, 12, 12, (3, 3), {"pads": [1, 1, 1, 1], "strides": [2, 1]}),
    "3x3_asymmetric": (1, 3, 16, 1, 16, 16, (3, 3), {"pads": [0, 0, 1, 1], "strides": [2, 2]}),
    "3x3_four_pads": (1, 4, 9, 1, 8, 8, (3, 3), {"pads": [2, 0, 1, 3]}),
    "3x3_odd_channels": (1, 5, 7, 1, 9, 11, (3, 3), {"pads": [1, 1, 1, 1]}),
    "3x3_batch": (2, 6, 10, 1, 8, 8, (3, 3), {"pads": [1, 1, 1, 1]}),
    "3x3_dilated": (1, 8, 8, 1, 14, 13, (3, 3), {"pads": [2, 2, 2, 2], "dilations": [2, 2]}),
    "3x3_dilated_by_axis": (1, 4, 8, 1, 14, 13, (3, 3), {"pads": [1, 3, 1, 3], "dilations": [1, 3]}),
    "3x3_dilated_stride": (1, 4, 8, 1, 15, 15, (3, 3), {"dilations": [2, 2], "strides": [2, 2]}),
    "3x3_padding_only": (1, 2, 4, 1, 1, 1, (3, 3), {"pads": [1, 1, 1, 1]}),
    "3x3_large_padding": (1, 2, 4, 1, 3, 2, (3, 3), {"pads": [3, 3, 3, 3]}),
    "3x3_groups": (1, 16, 32, 4, 9, 9, (3, 3), {"pads": [1, 1, 1, 1], "group": 4}),
    "3x3_groups_odd": (1, 15, 9, 3, 7, 7, (3, 3), {"pads": [1, 1, 1, 1], "group": 3}),
    "3x3_groups_stride_batch": (2, 8, 16, 2, 9, 9, (3, 3), {"pads": [1] * 4, "group": 2, "strides": [2, 2]}),
    "5x5_same": (1, 6, 8, 1, 11, 11, (5, 5), {"pads": [2, 2, 2, 2]}),
    "5x5_stride": (1, 6, 8, 1, 14, 14, (5, 5), {"pads": [1, 1, 2, 2], "strides": [2, 2]}),
    "7x7_same": (1, 4, 8, 1, 12, 12, (7, 7), {"pads": [3, 3, 3, 3]}),
    "7x7_stride": (1, 3, 16, 1, 21, 22, (7, 7), {"pads": [3, 3, 3, 3], "strides": [2, 2]}),
    "4x4_patches": (1, 3, 24, 1, 16, 16, (4, 4), {"strides": [4, 4]}),
    "2x2_even_kernel": (1, 5, 6, 1, 7, 7, (2, 2), {"pads": [0, 0, 1, 1]}),
    "1x3_flat": (1, 8, 8, 1, 9, 9, (1, 3), {"pads": [0, 1, 0, 1]}),
    "3x1_tall": (1, 8, 8, 1, 9, 9, (3, 1), {"pads": [1, 0, 1, 0]}),
    "1x7_flat": (1, 4, 8, 1, 6, 15, (1, 7), {"pads": [0, 3, 0, 3]}),
    "stride_skips": (1, 4, 4, 1, 13, 13, (2, 2), {"strides": [3, 3]}),
    "whole_image": (1, 8, 12, 1, 5, 6, (5, 6), {}),
    "depthwise_3x3": (1, 16, 16, 16, 12, 11, (3, 3), {"pads": [1, 1, 1, 1], "group": 16}),
    "depthwise_3x3_stride": (1, 24, 24, 24, 13, 14, (3, 3), {"pads": [1] * 4, "group": 24, "strides": [2, 2]}),
    "depthwise_3x3_asymmetric": (1, 8, 8, 8, 14, 14, (3, 3), {"pads": [0, 0, 1, 1], "group": 8, "strides": [2, 2]}),
    "depthwise_3x3_stride_by_axis": (1, 8, 8, 8, 12, 24, (3, 3), {"pads": [1] * 4, "group": 8, "strides": [2, 1]}),
    "depthwise_3x3_odd_channels": (1, 19, 19, 19, 8, 8, (3, 3), {"pads": [1, 1, 1, 1], "group": 19}),
    "depthwise_3x3_batch": (2, 12, 12, 12, 7, 7, (3, 3), {"pads": [1, 1, 1, 1], "group": 12}),
    "depthwise_3x3_dilated": (1, 8, 8, 8, 13, 13, (3, 3), {"pads": [2] * 4, "group": 8, "dilations": [2, 2]}),
    "depthwise_5x5": (1, 20, 20, 20, 10, 10, (5, 5), {"pads": [2, 2, 2, 2], "group": 20}),
    "depthwise_5x5_stride": (1, 16, 16, 16, 14, 14, (5, 5), {"pads": [1, 1, 2, 2], "group": 16, "strides": [2, 2]}),
    "depthwise_7x7": (1, 9, 9, 9, 11, 11, (7, 7), {"pads": [3, 3, 3, 3], "group": 9}),
    "depthwise_valid": (1, 8, 8, 8, 6, 6, (3, 3), {"group": 8}),
    "depthwise_multiplier": (1, 8, 16, 8, 9, 9, (3, 3), {"pads": [1, 1, 1, 1], "group": 8}),
    "depthwise_multiplier_odd": (1, 5, 15, 5, 8, 8, (3, 3), {"pads": [1] * 4, "group": 5, "strides": [2, 2]}),
    "depthwise_1x1": (1, 12, 12, 12, 5, 5, (1, 1), {"group": 12}),
    "same_upper": (1, 4, 6, 1, 10, 11, (3, 3), {"auto_pad": "SAME_UPPER"}),
    "same_upper_stride": (1, 4, 6, 1, 12, 13, (3, 3), {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    "same_upper_even": (1, 4, 6, 1, 9, 9, (4, 4), {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    "same_lower": (1, 4, 6, 1, 10, 11, (2, 4), {"auto_pad": "SAME_LOWER"}),
    "same_lower_stride": (1, 4, 6, 1, 12, 13, (5, 5), {"auto_pad": "SAME_LOWER", "strides": [2, 2]}),
    "same_upper_depthwise": (1, 8, 8, 8, 14, 14, (5, 5), {"auto_pad": "SAME_UPPER", "strides": [2, 2], "group": 8}),
    "auto_pad_valid": (1, 4, 6, 1, 10, 11, (3, 3), {"auto_pad": "VALID", "strides": [2, 2]}),
    "auto_pad_notset": (1, 4, 6, 1, 8, 8, (3, 3), {"auto_pad": "NOTSET", "pads": [1, 1, 1, 1]}),
}


def add_cases(suite: Suite):
    """Every convolution; with a bias and without in turn, over the opsets in turn."""
    for index, (name, description) in enumerate(CONVOLUTIONS.items()):
        batch, channels, filters, groups, height, width, kernel, attributes = description
        values = {"x": normal(batch, channels, height, width), "w": weights(filters, channels // groups, *kernel)}
        if index % 2:
            values["b"] = Constant(normal(filters))
        suite.operator(f"conv_{name}", OPSETS[index % len(OPSETS)], "Conv", values, **attributes)
    values = {"x": normal(1, 4, 6, 6), "w": weights(8, 4, 3, 3), "b": Constant(normal(8))}
    suite.operator("conv_kernel_shape_given", 11, "Conv", values, kernel_shape=[3, 3])
