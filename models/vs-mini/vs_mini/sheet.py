"""Shows what the shipped bundle finds: `python -m vs_mini.sheet sheet.png 'tiger face' 'red apple' "? a wild cat"`.

One line of pictures per question. A name asks with that emoji's picture, and it comes first; words after a question mark ask
with the words. Searched are all emoji and the clean pieces of clip art.
"""

import sys

import numpy as np
from PIL import Image, ImageDraw

from . import config, metrics, shards, sources, views
from .evaluate import Bundle

SIDE, SHOWN = 80, 12


def gallery(bundle: Bundle) -> tuple[list[sources.Item], np.ndarray, np.ndarray]:
    """The items, small pictures of them, and their embeddings."""
    items = list(sources.emoji()) + list(sources.clipart(shards.known_words()))
    pixels = [views.cached(f"{name}-{config.CACHE_SIZE}", None) for name in ("emoji", "clipart")]
    squares = [views.square(Image.fromarray(picture), bundle.size) for part in pixels for picture in part]
    return items, np.stack([views.square(Image.fromarray(square), SIDE) for square in squares]), bundle.squares(squares)


def main(path: str, questions: list[str]):
    bundle = Bundle()
    items, small, vectors = gallery(bundle)
    names = {item.phrases[0]: i for i, item in reversed(list(enumerate(items)))}
    canvas = Image.new("RGB", (SHOWN * SIDE, len(questions) * (SIDE + 14)), "white")
    draw = ImageDraw.Draw(canvas)
    for line, question in enumerate(questions):
        asked = bundle.words([question[1:].strip()]) if question.startswith("?") else vectors[[names[question]]]
        found = metrics.nearest(asked, vectors, SHOWN)[0]
        draw.text((2, line * (SIDE + 14)), question, fill="black")
        for column, i in enumerate(found):
            canvas.paste(Image.fromarray(small[i]), (column * SIDE, line * (SIDE + 14) + 14))
        print(question, "->", ", ".join(items[i].phrases[0] for i in found), flush=True)
    canvas.save(path)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
