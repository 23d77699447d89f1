"""Elements at computed places, resizing in its rarer modes, and signals."""

import numpy

from .suite import Constant, Suite, floats, integers, normal, uniform


def add_cases(suite: Suite):
    _add_grids(suite)
    _add_regions(suite)
    _add_selections(suite)
    _add_resizes(suite)
    _add_signals(suite)


def _add_grids(suite: Suite):
    for mode in ("bilinear", "nearest", "bicubic"):
        for padding in ("zeros", "border", "reflection"):
            for aligned in (0, 1):
                values = {"x": normal(2, 3, 5, 6), "grid": uniform(-1.6, 1.6, 2, 4, 3, 2)}
                suite.operator(f"grid_sample_{mode}_{padding}_{aligned}", 16, "GridSample", values, mode=mode,
                               padding_mode=padding, align_corners=aligned)
    values = {"x": normal(1, 2, 3, 4, 5), "grid": uniform(-1.3, 1.3, 1, 2, 3, 4, 3)}
    suite.operator("grid_sample_of_volumes", 20, "GridSample", values, mode="linear", align_corners=1)
    for aligned in (0, 1):
        values = {"theta": normal(2, 2, 3), "size": Constant(integers([2, 3, 5, 4]))}
        suite.operator(f"affine_grid_{aligned}", 20, "AffineGrid", values, align_corners=aligned)


def _add_regions(suite: Suite):
    regions = floats([[0, 0, 6, 5], [1.5, 2, 9, 8], [-3, -2, 20, 20], [4, 4, 4, 4]])
    for mode in ("avg", "max"):
        for coordinates in ("half_pixel", "output_half_pixel"):
            values = {"x": normal(2, 3, 8, 9), "rois": regions, "images": integers([0, 1, 0, 1])}
            suite.operator(f"roi_align_{mode}_{coordinates}", 16, "RoiAlign", values, mode=mode, output_height=3,
                           output_width=2, sampling_ratio=2, spatial_scale=0.9,
                           coordinate_transformation_mode=coordinates)
    x = {"x": normal(1, 8, 20), "image": Constant(integers([6, 7])), "block": Constant(integers([2, 2]))}
    suite.operator("col2im", 18, "Col2Im", x, dilations=[1, 2], pads=[0, 1, 0, 1], strides=[1, 2])
    suite.operator("lrn", 13, "LRN", {"x": normal(2, 7, 3, 4)}, size=5, alpha=0.3, bias=1.5)
    for batch in (0, 1):
        values = {"x": normal(4, 4, 3), "lengths": integers([1, 4, 2, 3])}
        suite.operator(f"reverse_sequence_{batch}", 10, "ReverseSequence", values, batch_axis=batch,
                       time_axis=1 - batch)
    suite.operator("det", 11, "Det", {"x": normal(2, 5, 5)})
    suite.operator("max_pool_with_places", 12, "MaxPool", {"x": normal(2, 3, 7, 6)}, outputs=2,
                   kernel_shape=[3, 2], strides=[2, 1], pads=[1, 0, 1, 0])
    volume = {"x": normal(1, 4, 5, 6, 7)}
    suite.operator("conv_of_volumes", 11, "Conv", volume | {"w": Constant(normal(6, 2, 3, 2, 3))}, group=2,
                   pads=[1, 0, 1, 1, 1, 1], strides=[2, 1, 2], dilations=[1, 2, 1])
    suite.operator("conv_transpose_of_volumes", 11, "ConvTranspose",
                   volume | {"w": Constant(normal(4, 3, 2, 3, 2))}, strides=[2, 1, 2], pads=[1, 0, 0, 0, 1, 1],
                   output_padding=[1, 0, 1])
    for op_type in ("MaxPool", "AveragePool"):
        suite.operator(f"{op_type.lower()}_of_volumes", 19, op_type, volume, kernel_shape=[3, 2, 3],
                       strides=[1, 2, 2], pads=[1, 0, 1, 1, 1, 1])


def _add_selections(suite: Suite):
    """The number of rows is what ONNX Runtime selects: a case's model declares the shapes of its results."""
    corners = lambda random: numpy.concatenate([low := random.random((2, 30, 2)), low + random.random((2, 30, 2))], 2)
    boxes = lambda random: corners(random).astype(numpy.float32)
    swapped = lambda random: corners(random)[:, :, [2, 1, 0, 3]].astype(numpy.float32)
    scores = uniform(0, 1, 2, 3, 30)
    limits = {"most": Constant(integers(7)), "overlap": Constant(floats(0.4))}
    for name, values in (("corners", boxes), ("swapped_corners", swapped)):
        values = {"boxes": values, "scores": scores} | limits
        suite.operator(f"non_max_suppression_{name}", 11, "NonMaxSuppression", values)
    values = {"boxes": boxes, "scores": scores} | limits | {"least": Constant(floats(0.6))}
    suite.operator("non_max_suppression_centres", 10, "NonMaxSuppression", values, center_point_box=1)
    values = {"boxes": boxes, "scores": scores, "most": integers([4]), "overlap": floats([0.3]), "least": floats([0.7])}
    suite.operator("non_max_suppression_of_computed_limits", 11, "NonMaxSuppression", values)


def _add_resizes(suite: Suite):
    x = {"x": normal(1, 2, 6, 7), "roi": None}
    for coordinates in ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric"):
        for excluded in (0, 1):
            scales = {"scales": Constant(floats([1, 1, 1.5, 0.7]))}
            suite.operator(f"resize_cubic_{coordinates}_{excluded}", 13, "Resize", x | scales, mode="cubic",
                           coordinate_transformation_mode=coordinates, exclude_outside=excluded)
    for mode in ("linear", "cubic"):
        for name, sizes in (("down", [3, 2]), ("mixed", [9, 3])):
            values = x | {"scales": None, "sizes": Constant(integers([1, 2, *sizes]))}
            suite.operator(f"resize_antialias_{mode}_{name}", 18, "Resize", values, mode=mode, antialias=1)
    region = {"x": normal(1, 2, 6, 7), "roi": Constant(floats([0, 0, 0.2, 0.1, 1, 1, 0.8, 1.3]))}
    values = region | {"scales": None, "sizes": Constant(integers([1, 2, 4, 5]))}
    suite.operator("resize_of_a_region", 13, "Resize", values, mode="linear", extrapolation_value=7.5,
                   coordinate_transformation_mode="tf_crop_and_resize")


def _add_signals(suite: Suite):
    length = {"length": Constant(integers(9))}
    suite.operator("dft_real", 17, "DFT", {"x": normal(2, 7, 1)}, axis=1)
    suite.operator("dft_onesided_longer", 17, "DFT", {"x": normal(2, 7, 1)} | length, axis=1, onesided=1)
    suite.operator("dft_complex", 20, "DFT", {"x": normal(6, 3, 2), "length": None, "axis": Constant(integers(0))})
    suite.operator("dft_inverse", 20, "DFT", {"x": normal(2, 8, 2)}, inverse=1)
    values = {"x": normal(1, 64, 1), "step": Constant(integers(8)), "window": Constant(uniform(0, 1, 16))}
    suite.operator("stft", 17, "STFT", values, onesided=1)
    for window in ("Hann", "Hamming", "Blackman"):
        for periodic in (0, 1):
            values = {"size": Constant(integers(10))}
            suite.operator(f"{window.lower()}_window_{periodic}", 17, f"{window}Window", values, periodic=periodic)
    values = {"bins": 8, "length": 32, "rate": 8000}
    values = {key: Constant(integers(value)) for key, value in values.items()}
    values |= {"low": Constant(floats(100.0)), "high": Constant(floats(3500.0))}
    suite.operator("mel_weight_matrix", 17, "MelWeightMatrix", values)
    signs = numpy.float32([-7.5, 7.5, -1e9, 1e30, 0.3])
    values = {"a": lambda _: signs, "b": floats([2.0, -2.0, 0.7, 3.1, -0.1])}
    suite.operator("mod_float", 13, "Mod", values, fmod=1)
