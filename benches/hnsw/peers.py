"""What differs between the peers: names in SQL, and how a vector travels."""

from dataclasses import dataclass

import numpy as np


@dataclass
class Peer:
    name: str
    extension: str
    method: str  # the index access method
    type: str
    element: str  # numpy's name of the element in the binary form
    header: list  # the binary form's fields before the elements
    ef_search: str
    smallest_ef: int  # below it the peer would answer with fewer rows than asked for
    version: str = ""

    @property
    def table(self):
        return self.name.replace("-", "_")

    def opclass(self, metric):
        return f"{self.type}_{metric}_ops"

    def stored(self, vectors):
        """The values that the peer keeps of these."""
        kept = vectors.astype(np.dtype(self.element).newbyteorder("="))
        assert np.isfinite(kept).all(), "values beyond what the type holds"
        return kept.astype(np.float32)

    def fields(self, vectors):
        return [*((name, ">i2" if size == 2 else ">i4") for name, size in self.header), ("elements", self.element, vectors.shape[1])]

    def encode(self, vectors):
        """Each vector in the binary form of the type."""
        out = np.zeros(len(vectors), self.fields(vectors))
        out["dims"], out["elements"] = vectors.shape[1], vectors
        return [row.tobytes() for row in out]

    def copy(self, vectors, first):
        """The vectors, numbered from `first`, as a piece of binary COPY."""
        fields = self.fields(vectors)
        length = np.dtype(fields).itemsize
        out = np.zeros(len(vectors), [("columns", ">i2"), ("id_size", ">i4"), ("id", ">i4"), ("size", ">i4"), *fields])
        out["columns"], out["id_size"], out["size"] = 2, 4, length
        out["id"] = np.arange(first, first + len(vectors))
        out["dims"], out["elements"] = vectors.shape[1], vectors
        return out.tobytes()


COPY_START = b"PGCOPY\n\xff\r\n\0" + bytes(8)
COPY_END = b"\xff\xff"

OPERATORS = {"l2": "<->", "cosine": "<=>"}

PEERS = {
    peer.name: peer
    for peer in (
        Peer("pgvector", "vector", "hnsw", "vector", ">f4", [("dims", 2), ("unused", 2)], "hnsw.ef_search", 10),
        Peer("pgvector-half", "vector", "hnsw", "halfvec", ">f2", [("dims", 2), ("unused", 2)], "hnsw.ef_search", 10),
        # Ours goes on where the beam ends, so a beam may be narrower than the answer is long.
        Peer("vs_hnsw", "visual_search", "vs_hnsw", "image_embedding", ">f2",
             [("dims", 2), ("flags", 2), ("tag", 4)], "vs_hnsw.ef_search", 2),
    )
}
