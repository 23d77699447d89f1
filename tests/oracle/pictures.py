"""Turns pictures that scikit-image carries in its wheel into inputs of the trained networks of trained.py.

Out, into the given folder: for each picture a folder `efficientnet_lite0/NAME` or `text_direction/NAME` with
`input_0.npy` (f32, NCHW, normalised as the network was trained) and `inputs.json`; and for each network a
`classes.json`: the class that a human would give for each picture, where the network is right about it. And in
`photographs/` the pictures themselves, `NAME.png`, `NAME.jpg` and, smaller and progressive, `NAME_small.jpg`, with `NAME.npy`: what Pillow makes of the PNG as
networks trained on ImageNet are evaluated (shorter side to 256, centre of 224, mean and deviation of each channel).
"""

import argparse
import json
import math
import pathlib

import numpy
import PIL.Image
import skimage.data
import skimage.io
import skimage.transform

from values import write_values

# ImageNet classes by index; None where ImageNet has no class for what is seen.
OBJECTS = {
    "astronaut": None,
    "chelsea": 285,  # Egyptian cat
    "coffee": 967,  # espresso
    "motorcycle_left": 665,  # moped
    "rocket": 657,  # missile
}

# Lines of the scanned page `page.png`: first row, end row, first column, end column.
LINES = {
    "heading": (12, 34, 0, 200),
    "narrow": (48, 64, 0, 100),
    "middle": (66, 80, 0, 150),
    "right": (50, 64, 192, 384),
}
UPRIGHT, ROTATED = 0, 1


def picture(name: str) -> numpy.ndarray:
    """A picture of the wheel, by its file's stem; never fetched over the network."""
    folder = pathlib.Path(skimage.data.__file__).parent
    (path,) = (folder / f"{name}{suffix}" for suffix in (".png", ".jpg") if (folder / f"{name}{suffix}").is_file())
    return skimage.io.imread(path)


def resized(image: numpy.ndarray, height: int, width: int) -> numpy.ndarray:
    """Bilinear resize with smoothing against aliases; values stay in 0..255."""
    return skimage.transform.resize(image, (height, width), order=1, anti_aliasing=True, preserve_range=True)


def lite0_input(image: numpy.ndarray) -> numpy.ndarray:
    """The central square at 224x224, RGB, (x - 127) / 128: [1,3,224,224]."""
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = resized(image[top : top + side, left : left + side, :3], 224, 224)
    return ((square - 127) / 128).astype(numpy.float32).transpose(2, 0, 1)[numpy.newaxis]


def imagenet_input(image: PIL.Image.Image) -> numpy.ndarray:
    """As torchvision's `Resize(256)`, `CenterCrop(224)` and `Normalize` with ImageNet's numbers: [1,3,224,224]."""
    short = min(image.size)
    width, height = (256 * side // short for side in image.size)
    image = image.resize((width, height), PIL.Image.Resampling.BILINEAR)
    left, top = round((width - 224) / 2), round((height - 224) / 2)
    values = numpy.asarray(image.crop((left, top, left + 224, top + 224)), numpy.float32) / 255
    values = (values - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
    return values.astype(numpy.float32).transpose(2, 0, 1)[numpy.newaxis]


def text_direction_input(line: numpy.ndarray) -> numpy.ndarray:
    """A grey line of text at height 48, in -1..1, padded by zeros at the right: [1,3,48,192]."""
    height, width = line.shape
    scaled_width = min(192, math.ceil(48 * width / height))
    values = numpy.zeros((1, 3, 48, 192), numpy.float32)
    values[0, :, :, :scaled_width] = resized(line, 48, scaled_width) / 127.5 - 1
    return values


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=pathlib.Path, help="folder to write into; made when missing")
    output = parser.parse_args().output

    page = picture("page")
    directions = {}
    for name, (top, bottom, left, right) in LINES.items():
        line = page[top:bottom, left:right]
        for suffix, view, direction in (("upright", line, UPRIGHT), ("rotated", line[::-1, ::-1], ROTATED)):
            directions[f"{name}_{suffix}"] = direction
            folder = output / "text_direction" / f"{name}_{suffix}"
            write_values(folder, "input", {"x": text_direction_input(view)})
    for name in OBJECTS:
        write_values(output / "efficientnet_lite0" / name, "input", {"image": lite0_input(picture(name))})
        photograph = PIL.Image.fromarray(picture(name)[..., :3])
        (output / "photographs").mkdir(exist_ok=True)
        photograph.save(output / "photographs" / f"{name}.png")
        photograph.save(output / "photographs" / f"{name}.jpg", quality=95)
        photograph.resize((96, 64)).save(output / "photographs" / f"{name}_small.jpg", progressive=True)
        numpy.save(output / "photographs" / f"{name}.npy", imagenet_input(photograph))
    for network, classes in (("efficientnet_lite0", OBJECTS), ("text_direction", directions)):
        (output / network / "classes.json").write_text(json.dumps(classes, indent=1) + "\n")


if __name__ == "__main__":
    main()
