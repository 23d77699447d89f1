"""Draws a page of text for the networks that find and read text.

Out, into the given folder: `page.png`, black on white; `lines.json`, the text of its lines from top to bottom; and
`characters.json`, what each class of `text_recognition.onnx` stands for, from the model's metadata; class 0 is nothing.
"""

import argparse
import json
import pathlib

import onnx
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont

from trained import packaged_file

LINES = ["avocet reads 2026", "efficient networks", "Quick brown fox 123"]
SIZE = (640, 480)
FONT_SIZE = 40


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=pathlib.Path, help="folder to write into; made when missing")
    output = parser.parse_args().output
    output.mkdir(parents=True, exist_ok=True)
    page = PIL.Image.new("RGB", SIZE, "white")
    draw = PIL.ImageDraw.Draw(page)
    for number, line in enumerate(LINES):
        draw.text((40, 60 + 140 * number), line, fill="black", font=PIL.ImageFont.load_default(FONT_SIZE))
    page.save(output / "page.png")
    model = onnx.load(packaged_file("rapidocr", "models/PP-OCRv6_rec_small.onnx"), load_external_data=False)
    (characters,) = (entry.value for entry in model.metadata_props if entry.key == "character")
    # As the package decodes: nothing first, a space last.
    (output / "characters.json").write_text(json.dumps(["", *characters.splitlines(), " "]) + "\n")
    (output / "lines.json").write_text(json.dumps(LINES) + "\n")


if __name__ == "__main__":
    main()
