"""Writes networks of torchvision and timm as ONNX into a folder: export_zoo.py FOLDER [NAME ...].

Weights are random but seeded, and the statistics of batch normalisation are drawn too, so that folding them is no
identity; time does not depend on the values. Files that are there already stay. It takes torch, torchvision and timm:
`bench.py --export` installs them. Exit code 1 when a network can't be written; the others are."""

import argparse
import functools
import pathlib
import sys
import warnings

import timm
import torch
import torchvision

OPSET = 17
TORCHVISION = [
    "efficientnet_b0", "mnasnet1_0", "mobilenet_v2", "mobilenet_v3_large", "mobilenet_v3_small", "regnet_y_400mf",
    "resnet18", "resnet50", "resnext50_32x4d", "shufflenet_v2_x1_0", "squeezenet1_1",
]  # fmt: skip
TIMM = [
    "convnext_atto", "deit_tiny_patch16_224", "efficientformer_l1", "fastvit_t8", "ghostnet_100", "mixnet_s",
    "mobilenetv1_100", "mobilenetv4_conv_small", "mobilevit_xs", "nasnetalarge", "seresnext50_32x4d",
    "tf_efficientnet_lite0",
]  # fmt: skip
# Makers of the networks, by name.
MAKERS = {
    **{name: functools.partial(torchvision.models.get_model, name, weights=None) for name in TORCHVISION},
    **{name: functools.partial(timm.create_model, name, pretrained=False) for name in TIMM},
}


def network(name: str) -> tuple[torch.nn.Module, torch.Tensor]:
    """A network ready for inference, and a picture of its size."""
    torch.manual_seed(0)
    module = MAKERS[name]().eval()
    random = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for part in module.modules():
            if isinstance(part, torch.nn.modules.batchnorm._BatchNorm) and part.running_mean is not None:
                part.running_mean.normal_(0, 0.1, generator=random)
                part.running_var.uniform_(0.75, 1.25, generator=random)
    size = getattr(module, "default_cfg", None) or {"input_size": (3, 224, 224)}
    return module, torch.randn(1, *size["input_size"], generator=random)


def export(name: str, path: pathlib.Path):
    """Writes one network; the file appears whole or not at all."""
    module, picture = network(name)
    part = path.with_suffix(".part")
    names = {"input_names": ["input"], "output_names": ["output"]}
    torch.onnx.export(module, (picture,), str(part), dynamo=False, opset_version=OPSET, **names)
    part.rename(path)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("names", nargs="*", metavar="NAME", help="of " + ", ".join(MAKERS))
    options = parser.parse_args()
    if unknown := set(options.names) - set(MAKERS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    options.folder.mkdir(parents=True, exist_ok=True)
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    failed = False
    for name in options.names or MAKERS:
        path = options.folder / f"{name}.onnx"
        if path.exists():
            continue
        try:
            export(name, path)
            print(f"{path}: {path.stat().st_size >> 20} MiB", flush=True)
        except Exception as error:  # An exporter may fail in any way; the other networks go on.
            failed = True
            print(f"{name}: {type(error).__name__}: {str(error)[:300]}", file=sys.stderr, flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
