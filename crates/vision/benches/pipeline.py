#!/usr/bin/env python3
"""The same work as the `pipeline` benchmark, by Pillow and NumPy on one core, and the ratio of the two.

    pip install pillow numpy
    cargo bench -p vs_vision --bench pipeline --no-run
    python3 crates/vision/benches/pipeline.py target/release/deps/pipeline-*[!.d] --pictures DIR

Runs the benchmark binary given first, times the Python peer in between its stages' sizes and filters, and compares the
tensors. Exits with status 1 if they differ by more than the rounding of two resamplers.
"""

import argparse
import io
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image, features

MEAN = np.array([0.485, 0.456, 0.406], np.float32)
STD = np.array([0.229, 0.224, 0.225], np.float32)
ROUNDS = 5


def preprocess(file, side, resample, out):
    image = Image.open(io.BytesIO(file)).convert("RGB").resize((side, side), resample)
    tensor = np.asarray(image).astype(np.float32)
    tensor *= 1 / (255 * STD)
    tensor -= MEAN / STD
    np.copyto(out, tensor.transpose(2, 0, 1))


def microseconds(files, work):
    best = float("inf")
    for _ in range(ROUNDS):
        start = time.process_time()
        for file in files:
            work(file)
        best = min(best, time.process_time() - start)
    return best * 1e6 / len(files)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("binary", help="the compiled `pipeline` benchmark")
    parser.add_argument("--pictures", required=True, type=Path)
    parser.add_argument("--count", type=int, default=500)
    options = parser.parse_args()

    # As Rust's paths compare: by components.
    paths = sorted(options.pictures.rglob("*.jpg"), key=lambda path: path.parts)[: options.count]
    files = [path.read_bytes() for path in paths]
    print(f"{len(files)} pictures; Pillow {Image.__version__}, libjpeg-turbo {features.version('libjpeg_turbo')}, NumPy {np.__version__}")
    print(f"{'side':>5} {'filter':>9} {'Pillow us':>10} {'ours us':>8} {'ratio':>6}   largest and mean difference in levels")
    failed = False
    for side in (128, 160, 224):
        for name in ("bilinear", "bicubic", "lanczos"):
            with tempfile.NamedTemporaryFile() as dump:
                command = [options.binary, "--pictures", options.pictures, "--count", str(options.count)]
                command += ["--side", str(side), "--filter", name, "--dump", dump.name]
                text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
                tensors = np.fromfile(dump.name, "<f4").reshape(len(files), 3, side, side)
            ours = float(text.split("both")[1].split()[0])
            out = np.empty((3, side, side), np.float32)
            resample = Image.Resampling[name.upper()]
            pillow = microseconds(files, lambda file: preprocess(file, side, resample, out))
            largest = mean = 0.0
            for file, tensor in zip(files, tensors):
                preprocess(file, side, resample, out)
                difference = np.abs(tensor - out) * STD[:, None, None] * 255
                largest, mean = max(largest, difference.max()), mean + difference.mean() / len(files)
            failed |= largest > 3 or mean > 0.05
            print(f"{side:>5} {name:>9} {pillow:>10.0f} {ours:>8.0f} {pillow / ours:>6.2f}   {largest:.1f} {mean:.3f}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
