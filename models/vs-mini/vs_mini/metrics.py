"""The measures, on vectors alone."""

import numpy as np


def nearest(queries: np.ndarray, gallery: np.ndarray, k: int, forbidden: np.ndarray | None = None) -> np.ndarray:
    """Numbers of the k most alike rows of the gallery, best first; `forbidden` [q, g] pairs are left out."""
    found = []
    for start in range(0, len(queries), 512):
        scores = queries[start:start + 512] @ gallery.T
        if forbidden is not None:
            scores[forbidden[start:start + 512]] = -np.inf
        part = np.argpartition(-scores, k - 1, axis=1)[:, :k]
        order = np.argsort(-np.take_along_axis(scores, part, 1), axis=1, kind="stable")
        found.append(np.take_along_axis(part, order, 1))
    return np.concatenate(found)


def precision(queries, query_labels, gallery, gallery_labels, k: int, forbidden=None) -> tuple[float, float]:
    """Precision at 1 and at k."""
    hits = gallery_labels[nearest(queries, gallery, k, forbidden)] == query_labels[:, None]
    return float(hits[:, 0].mean()), float(hits.mean())


def triplet_accuracy(vectors: np.ndarray, labels: np.ndarray, others: np.ndarray, other_labels: np.ndarray, forbidden=None) -> float:
    """Share of (anchor, positive, negative) with the negative farther: exact over all triplets of anchors
    `vectors` with positives and negatives from `others`."""
    total, right = 0, 0.0
    for i, (vector, label) in enumerate(zip(vectors, labels)):
        scores = others @ vector
        allowed = np.ones(len(others), bool) if forbidden is None else ~forbidden[i]
        positive = scores[(other_labels == label) & allowed]
        negative = np.sort(scores[(other_labels != label) & allowed])
        right += np.searchsorted(negative, positive, "left").mean() / len(negative)
        total += 1
    return right / total


def words_precision(texts: np.ndarray, pictures: np.ndarray, labels: np.ndarray, k: int = 10) -> np.ndarray:
    """Precision at k of each text's pictures; text i names label i."""
    return (labels[nearest(texts, pictures, k)] == np.arange(len(texts))[:, None]).mean(1)


def family_share(vectors: np.ndarray, families: np.ndarray, asked: np.ndarray, k: int = 5, least: int = 6) -> float:
    """Share of the k nearest others that are of a picture's own family, over the pictures `asked` of families of `least` or more."""
    rows = np.flatnonzero(asked & (np.bincount(families)[families] >= least))
    found = nearest(vectors[rows], vectors, k, rows[:, None] == np.arange(len(vectors))[None])
    return float((families[found] == families[rows][:, None]).mean())


def recall(texts: np.ndarray, pictures: np.ndarray, asked: np.ndarray, k: int = 9) -> float:
    """How often picture i is among the k nearest of text i, over those `asked`."""
    return float((nearest(texts, pictures, k) == np.arange(len(texts))[:, None]).any(1)[asked].mean())
