"""Resizing of images, moves between space and depth."""

from .suite import Constant, Suite, floats, integers, normal

NEAREST = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
COORDINATES = ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric")


def _scales(rows: float, columns: float) -> Constant:
    return Constant(floats([1.0, 1.0, rows, columns]))


def add_cases(suite: Suite):
    x = {"x": normal(1, 3, 4, 5)}
    suite.operator("upsample_attribute_nearest", 7, "Upsample", x, scales=[1.0, 1.0, 2.0, 2.0], mode="nearest")
    suite.operator("upsample_nearest", 9, "Upsample", x | {"scales": _scales(2, 3)}, mode="nearest")
    suite.operator("upsample_linear", 9, "Upsample", x | {"scales": _scales(2, 2)}, mode="linear")
    suite.operator("resize_opset10_nearest", 10, "Resize", x | {"scales": _scales(2, 2)}, mode="nearest")
    suite.operator("resize_opset10_linear", 10, "Resize", x | {"scales": _scales(2, 2)}, mode="linear")
    for coordinates in COORDINATES:
        for name, scales in (("up", _scales(2, 2)), ("down", _scales(0.5, 0.6)), ("odd", _scales(1.5, 2.5))):
            values = x | {"roi": None, "scales": scales}
            suite.operator(f"resize_linear_{coordinates}_{name}", 13, "Resize", values,
                           mode="linear", coordinate_transformation_mode=coordinates)
    for rounding in NEAREST:
        for coordinates in ("half_pixel", "asymmetric"):
            values = x | {"roi": None, "scales": _scales(1.5, 2.0)}
            suite.operator(f"resize_nearest_{coordinates}_{rounding}", 13, "Resize", values, mode="nearest",
                           coordinate_transformation_mode=coordinates, nearest_mode=rounding)
    for opset in (11, 13, 18, 19):
        sizes = {"roi": None, "scales": None, "sizes": Constant(integers([1, 3, 9, 7]))}
        # Opset 11 requires region and scales; exporters then write empty tensors.
        if opset == 11:
            sizes |= {"roi": Constant(floats([])), "scales": Constant(floats([]))}
        suite.operator(f"resize_sizes_nearest_opset{opset}", opset, "Resize", x | sizes, mode="nearest",
                       coordinate_transformation_mode="asymmetric", nearest_mode="floor")
        suite.operator(f"resize_sizes_linear_opset{opset}", opset, "Resize", x | sizes, mode="linear",
                       coordinate_transformation_mode="half_pixel")
    suite.operator("resize_axes", 18, "Resize", x | {"roi": None, "scales": Constant(floats([2.0, 2.0]))},
                   mode="nearest", axes=[2, 3], coordinate_transformation_mode="asymmetric", nearest_mode="floor")
    suite.operator("depth_to_space", 13, "DepthToSpace", {"x": normal(1, 12, 3, 2)}, blocksize=2)
    suite.operator("depth_to_space_crd", 11, "DepthToSpace", {"x": normal(1, 8, 3, 2)}, blocksize=2, mode="CRD")
    suite.operator("space_to_depth", 13, "SpaceToDepth", {"x": normal(1, 3, 4, 6)}, blocksize=2)
