"""A detector's head: SSDLite (Sandler et al., MobileNetV2, 2018) on two feature maps, its boxes decoded and suppressed, and the
boxes that are left taken out."""

import numpy
from onnx import helper

from .suite import Constant, Suite, floats, integers, normal, weights

node = helper.make_node

# Channels and edge of each feature map; anchors of each position.
MAPS = ((24, 10), (40, 5))
ANCHORS, CLASSES = 4, 6


def _anchors():
    """Centres and sizes, `[boxes, 2]` each, as parts of the picture: row and column."""
    centres, sizes = [], []
    for number, (_, edge) in enumerate(MAPS):
        for row in range(edge):
            for column in range(edge):
                for anchor in range(ANCHORS):
                    centres.append(((row + 0.5) / edge, (column + 0.5) / edge))
                    scale, ratio = 0.2 + 0.25 * number, (1.0, 2.0, 0.5, 1.4)[anchor]
                    sizes.append((scale / ratio**0.5, scale * ratio**0.5))
    return numpy.array(centres, numpy.float32), numpy.array(sizes, numpy.float32)


def _branch(nodes, values, number, kind, outputs):
    """A depthwise and a pointwise convolution, and their result as a row for each box."""
    channels, edge = MAPS[number]
    stem = f"{kind}{number}"
    nodes += [
        node("Conv", [f"x{number}", f"{stem}_depthwise"], [f"{stem}_a"], group=channels, pads=[1, 1, 1, 1]),
        node("Clip", [f"{stem}_a", "zero", "six"], [f"{stem}_b"]),
        node("Conv", [f"{stem}_b", f"{stem}_pointwise", f"{stem}_bias"], [f"{stem}_c"]),
        node("Transpose", [f"{stem}_c"], [f"{stem}_d"], perm=[0, 2, 3, 1]),
        node("Reshape", [f"{stem}_d", f"{stem}_shape"], [stem]),
    ]
    values |= {
        f"{stem}_depthwise": weights(channels, 1, 3, 3),
        f"{stem}_pointwise": weights(ANCHORS * outputs, channels, 1, 1),
        f"{stem}_bias": Constant(normal(ANCHORS * outputs, scale=0.5)),
        f"{stem}_shape": Constant(integers([1, edge * edge * ANCHORS, outputs])),
    }


def add_cases(suite: Suite):
    nodes = []
    values = {f"x{number}": normal(1, channels, edge, edge, scale=2) for number, (channels, edge) in enumerate(MAPS)}
    values |= {"zero": Constant(floats(0.0)), "six": Constant(floats(6.0))}
    for number in range(len(MAPS)):
        _branch(nodes, values, number, "box", 4)
        _branch(nodes, values, number, "class", CLASSES)
    centres, sizes = _anchors()
    nodes += [
        node("Concat", ["box0", "box1"], ["deltas"], axis=1),
        node("Concat", ["class0", "class1"], ["logits"], axis=1),
        node("Softmax", ["logits"], ["probabilities"], axis=2),
        node("Transpose", ["probabilities"], ["all_scores"], perm=[0, 2, 1]),
        # The first class is the background.
        node("Slice", ["all_scores", "one", "end", "one"], ["scores"]),
        node("Split", ["deltas", "halves"], ["moves", "growths"], axis=2),
        node("Mul", ["moves", "tenth"], ["moves_scaled"]),
        node("Mul", ["moves_scaled", "sizes"], ["moves_sized"]),
        node("Add", ["moves_sized", "centres"], ["middle"]),
        node("Mul", ["growths", "fifth"], ["growths_scaled"]),
        node("Exp", ["growths_scaled"], ["factors"]),
        node("Mul", ["factors", "half_sizes"], ["reach"]),
        node("Sub", ["middle", "reach"], ["first"]),
        node("Add", ["middle", "reach"], ["last"]),
        node("Concat", ["first", "last"], ["boxes"], axis=2),
        node("NonMaxSuppression", ["boxes", "scores", "most", "overlap", "least"], ["selected"]),
        node("Slice", ["selected", "two", "three", "one"], ["column"]),
        node("Squeeze", ["column", "one"], ["numbers"]),
        node("Squeeze", ["boxes", "axis"], ["flat_boxes"]),
        node("Gather", ["flat_boxes", "numbers"], ["found"], axis=0),
    ]
    values |= {
        "centres": Constant(lambda _: centres),
        "sizes": Constant(lambda _: sizes),
        "half_sizes": Constant(lambda _: sizes / 2),
        "tenth": Constant(floats(0.1)),
        "fifth": Constant(floats(0.2)),
        "halves": Constant(integers([2, 2])),
        "axis": Constant(integers([0])),
        "one": Constant(integers([1])),
        "two": Constant(integers([2])),
        "three": Constant(integers([3])),
        "end": Constant(integers([CLASSES])),
        "most": Constant(integers([7])),
        "overlap": Constant(floats([0.4])),
        "least": Constant(floats([0.3])),
    }
    suite.graph("ssdlite_head", 13, nodes, values, ["selected", "found", "boxes", "scores"])
