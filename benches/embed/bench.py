"""Times embed_images in PostgreSQL against Pillow and ONNX Runtime in Python processes, in turn.

usage: bench.py DSN MODEL_FOLDER PICTURE_FOLDER
"""

import io
import json
import multiprocessing
import os
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import onnxruntime
import psycopg
from PIL import Image, ImageOps

BATCH = 8
ROUNDS = 5
LIMIT = 1000
FILTERS = {
    "nearest": Image.NEAREST, "box": Image.BOX, "bilinear": Image.BILINEAR, "hamming": Image.HAMMING,
    "bicubic": Image.BICUBIC, "lanczos": Image.LANCZOS,
}


class Pipeline:
    """What an application does: decode, orient, composite on white, resize, scale, run, normalise."""

    def __init__(self, folder):
        self.image = json.loads((folder / "manifest.json").read_text())["image"]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(folder / self.image["file"], options, ["CPUExecutionProvider"])
        self.input = self.session.get_inputs()[0].name

    def prepare(self, data):
        spec = self.image["preprocess"]
        assert spec["resize"]["mode"] == "exact" and spec["channels"] == "rgb" and spec["layout"] == "nchw"
        picture = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
        if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
            picture = picture.convert("RGBA")
            picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
        picture = picture.convert("RGB")
        picture = picture.resize((spec["resize"]["width"], spec["resize"]["height"]), FILTERS[spec["filter"]])
        pixels = np.asarray(picture, np.float32) * np.float32(spec["scale"])
        pixels = (pixels - np.array(spec["mean"], np.float32)) / np.array(spec["std"], np.float32)
        return pixels.transpose(2, 0, 1)

    def embed(self, batch):
        tensor = np.ascontiguousarray(np.stack([self.prepare(data) for data in batch]))
        vectors = self.session.run([self.image["output"]], {self.input: tensor})[0]
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def batches(pictures):
    return [pictures[i : i + BATCH] for i in range(0, len(pictures), BATCH)]


def worker(pipe, folder, pictures):
    pipeline = Pipeline(folder)
    pipeline.embed(pictures[:BATCH])
    pipe.send("ready")
    while (task := pipe.recv()) != "stop":
        if task == "prepare":
            for batch in batches(pictures):
                np.ascontiguousarray(np.stack([pipeline.prepare(data) for data in batch]))
            pipe.send(None)
        else:
            pipe.send(np.concatenate([pipeline.embed(batch) for batch in batches(pictures)]))


class Python:
    """The peer: one process for each core, each with its share of the pictures."""

    def __init__(self, folder, pictures, processes):
        self.pipes = []
        share = -(-len(pictures) // processes)
        for i in range(processes):
            ours, theirs = multiprocessing.Pipe()
            part = pictures[i * share : (i + 1) * share]
            multiprocessing.Process(target=worker, args=(theirs, folder, part), daemon=True).start()
            self.pipes.append(ours)
        for pipe in self.pipes:
            pipe.recv()

    def run(self, task):
        start = time.perf_counter()
        for pipe in self.pipes:
            pipe.send(task)
        answers = [pipe.recv() for pipe in self.pipes]
        return time.perf_counter() - start, answers

    def stop(self):
        for pipe in self.pipes:
            pipe.send("stop")


class Postgres:
    """embed_images over the same batches."""

    def __init__(self, dsn, pictures, threads):
        self.connection = psycopg.connect(dsn, autocommit=True)
        run = self.connection.execute
        run("CREATE EXTENSION IF NOT EXISTS visual_search")
        run("LOAD 'visual_search'")
        run("CREATE TEMP TABLE pictures (id int, photo bytea)")
        with self.connection.cursor().copy("COPY pictures FROM STDIN (FORMAT binary)") as copy:
            copy.set_types(["int4", "bytea"])
            for row in enumerate(pictures):
                copy.write_row(row)
        run("CREATE TEMP TABLE batches AS SELECT array_agg(photo ORDER BY id) photos, min(id) AS first "
            f"FROM pictures GROUP BY id / {BATCH * threads}")
        run(f"SET visual_search.threads = {threads}")
        run("SET visual_search.cache_bytes = 0")
        self.embed()

    def embed(self):
        before = self.stats()
        start = time.perf_counter()
        rows = self.connection.execute("SELECT embed_images(photos)::text[] FROM batches ORDER BY first").fetchall()
        seconds = time.perf_counter() - start
        decode_ms, network_ms = (now - then for now, then in zip(self.stats(), before))
        return seconds, decode_ms / 1e3, network_ms / 1e3, rows

    def stats(self):
        return self.connection.execute("SELECT decode_ms, network_ms FROM visual_search.inference_stats()").fetchone()


def main():
    dsn, model, folder = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    suffixes = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"}
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in suffixes)[:LIMIT]
    pictures = [path.read_bytes() for path in files]
    cores = os.cpu_count()
    print(f"{len(pictures)} pictures from {folder}, {cores} cores, batches of {BATCH}, {ROUNDS} rounds")
    postgres = Postgres(dsn, pictures, cores)
    python = Python(model, pictures, cores)

    whole, decode = ([], []), ([], [])
    for _ in range(ROUNDS):
        seconds, decode_seconds, network_seconds, rows = postgres.embed()
        whole[0].append(seconds)
        decode[0].append(decode_seconds)
        decode[1].append(python.run("prepare")[0])
        seconds, answers = python.run("embed")
        whole[1].append(seconds)
    python.stop()

    ours = np.array([[float(x) for x in text.split("]")[0].strip("[").split(",")] for row in rows for text in row[0]])
    ours /= np.linalg.norm(ours, axis=1, keepdims=True)
    cosines = (ours * np.concatenate(answers)).sum(axis=1)
    print(f"cosine between both vectors of a picture: smallest {cosines.min():.6f}, median {np.median(cosines):.6f}")
    print(f"PostgreSQL spends {decode_seconds:.2f} s decoding and {network_seconds:.2f} s in the network")
    print(f"{'':24}{'PostgreSQL':>12}{'Python':>12}{'ratio':>8}    pictures per second, medians")
    for name, (a, b) in (("decode and preprocess", decode), ("all of embed_images", whole)):
        a, b = len(pictures) / statistics.median(a), len(pictures) / statistics.median(b)
        print(f"{name:24}{a:12.1f}{b:12.1f}{a / b:8.2f}")


if __name__ == "__main__":
    multiprocessing.set_start_method("spawn")
    main()
