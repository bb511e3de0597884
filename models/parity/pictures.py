"""The pictures that models are compared on: photos and the odd files that pipelines differ over."""

import io
import pathlib

import numpy as np
from PIL import Image, ImageOps


def photos(folder, count):
    """Photos spread evenly over the kinds, the same ones each time."""
    kinds = sorted(kind for kind in (folder / "validation").iterdir() if kind.is_dir())
    each = [sorted(kind.glob("*.jpg")) for kind in kinds]
    return [each[at % len(each)][at // len(each)] for at in range(count)]


def odd(photo, folder):
    """Files of one picture in the forms that are easily read wrongly. Written into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    picture = Image.open(photo).convert("RGB")
    small = picture.resize((150, 211))
    noise = np.random.default_rng(7)
    stripes = Image.fromarray(noise.integers(0, 256, (5000, 1, 3), dtype=np.uint8))
    alpha = small.copy()
    ramp = np.tile(np.linspace(0, 255, small.width).astype(np.uint8), (small.height, 1))
    alpha.putalpha(Image.fromarray(ramp))
    exif = Image.Exif()
    exif[0x0112] = 6
    writes = {
        "1x5000.png": lambda path: stripes.save(path),
        "5000x1.png": lambda path: stripes.transpose(Image.Transpose.ROTATE_90).save(path),
        "palette.png": lambda path: small.quantize(64).save(path),
        "rotated.jpg": lambda path: picture.transpose(Image.Transpose.ROTATE_90).save(path, exif=exif, quality=90),
        "alpha.png": lambda path: alpha.save(path),
        "grey.jpg": lambda path: picture.convert("L").save(path, quality=90),
        "tiny.png": lambda path: small.resize((5, 3)).save(path),
        "odd-sides.webp": lambda path: picture.resize((333, 251)).save(path, lossless=True),
    }
    for name, write in writes.items():
        write(folder / name)
    return [folder / name for name in writes]


def opened(path):
    """A picture as people see it: upright, on white. Family pipelines leave both to whoever opens the file."""
    picture = ImageOps.exif_transpose(Image.open(io.BytesIO(pathlib.Path(path).read_bytes())))
    if picture.mode in ("RGBA", "LA") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    return picture.convert("RGB")
