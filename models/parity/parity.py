"""Compares this project's embeddings with the model families' own Python pipelines and prints a table.

    parity.py EMBED LIBRARY WORK DATA [FAMILY...]

EMBED is the program of crates/onnx/examples/embed.rs, LIBRARY the ONNX Runtime library, WORK a folder for models, DATA
the folder of photos. Fails if a family misses its targets.
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import numpy as np
import torch

import families
import pictures
import texts

EACH, MEDIAN = 0.9999, 0.99999
PHOTOS = 20


def embed(program, library, work, name, inputs):
    """What ours says: one object for each input."""
    command = [str(program), str(library), str(work), name, *inputs]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{name}: {done.stderr.strip()}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def cosines(ours, theirs):
    ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    if ours.shape != theirs.shape:
        raise SystemExit(f"shapes differ: {ours.shape} and {theirs.shape}")
    return (ours * theirs).sum(1) / np.linalg.norm(ours, axis=1) / np.linalg.norm(theirs, axis=1)


def apart(matrix):
    """The median cosine between the vectors of different inputs: how easily two vectors agree by chance."""
    unit = families.unit(np.asarray(matrix, np.float64))
    return float(np.median((unit @ unit.T)[np.triu_indices(len(unit), 1)]))


def hold(name, work, program, library, files, strings):
    """Makes a family's model and compares: for each side the cosines, the reference, and what there is to say."""
    folder = work / "models" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    torch.manual_seed(0)
    family = families.ALL[name](folder)
    sides = {}
    if family.images:
        theirs = family.images([pictures.opened(file) for file in files])
        ours = embed(program, library, work / "models", name, [str(file) for file in files])
        sides["image"] = (cosines([one["vector"] for one in ours], theirs), theirs, "")
    if family.texts:
        theirs = family.texts(strings)
        ours = embed(program, library, work / "models", name, [f"text:{one}" for one in strings])
        ids = family.ids(strings)
        # Where a text has no token at all, ours is told to be what the network gets: one of padding.
        same = [a["tokens"] == list(b) or (not b and len(a["tokens"]) == 1) for a, b in zip(ours, ids)]
        for at in [at for at, one in enumerate(same) if not one][:3]:
            print(f"{name}: {strings[at]!r}\n  ours   {ours[at]['tokens']}\n  theirs {ids[at]}", file=sys.stderr)
        found = cosines([one["vector"] for one in ours], theirs)
        sides["text"] = (found, theirs, f"{sum(same)} of {len(same)}")
    return sides


def main():
    program, library, work, data = map(pathlib.Path, sys.argv[1:5])
    wanted = sys.argv[5:] or list(families.ALL)
    torch.set_num_threads(1)
    photos = pictures.photos(data, PHOTOS)
    files = photos + pictures.odd(photos[0], work / "odd")
    strings = texts.texts()
    print("| family             | side  | dims | min       | median    | apart    | min (2)   | median (2) | apart (2) | token ids |")
    print("|--------------------|-------|------|-----------|-----------|----------|-----------|------------|-----------|-----------|")
    missed = []
    for name in wanted:
        families.LIVELY = False
        fresh = hold(name, work, program, library, files, strings)
        families.LIVELY = True
        lively = hold(name, work, program, library, files, strings)
        for side, (found, theirs, told) in fresh.items():
            more, others, told_again = lively[side]
            print(
                f"| {name:18} | {side:5} | {theirs.shape[1]:4} | {found.min():.7f} | {np.median(found):.7f} | {apart(theirs):8.5f} "
                f"| {more.min():.7f} | {np.median(more):10.7f} | {apart(others):9.5f} | {told:10}|",
                flush=True,
            )
            count = len(found)
            if found.min() < EACH or np.median(found) < MEDIAN or {told, told_again} - {"", f"{count} of {count}"}:
                missed.append(f"{name} {side}")
    if missed:
        raise SystemExit(f"missed (each cosine >= {EACH}, median >= {MEDIAN}, equal token ids): {', '.join(missed)}")


if __name__ == "__main__":
    main()
