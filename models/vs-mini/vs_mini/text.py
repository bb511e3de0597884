"""The word side: a WordPiece tokenizer and a small network over its tokens.

The vocabulary is the words of the training phrases and of GloVe, plus pieces learned from them, so that
a known word is one token with a pretrained vector and an unknown one falls into pieces down to letters.
The network is a bag of tokens with context: a width-3 convolution sees neighbours ("long sleeve"), a
learned weight per token says how much it counts, and a two-layer perceptron maps the weighted mean into
the meaning space.
"""

import json
from collections import Counter

import numpy as np
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from torch import Tensor, nn

from . import config

PAD, UNK, END = "[PAD]", "[UNK]", "[END]"
WIDTH = 128
HIDDEN = 384


def normalise(text: str, pipeline=None) -> list[str]:
    """The words the tokenizer will see."""
    pipeline = pipeline or tokenizer_shell()
    return [word for word, _ in pipeline.pre_tokenizer.pre_tokenize_str(pipeline.normalizer.normalize_str(text))]


def tokenizer_shell() -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece({PAD: 0, UNK: 1, END: 2}, unk_token=UNK, max_input_chars_per_word=64))
    tokenizer.normalizer = normalizers.BertNormalizer(clean_text=True, handle_chinese_chars=True, strip_accents=True, lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer


def build_tokenizer(phrases: list[str], words: list[str], pieces: int = 3000) -> Tokenizer:
    """A WordPiece tokenizer whose vocabulary holds `words`, the words of `phrases`, and learned pieces of both."""
    shell = tokenizer_shell()
    seen = Counter(word for phrase in phrases for word in normalise(phrase, shell))
    whole = set(words) | {word for word, count in seen.items() if word.isascii()}
    learner = tokenizer_shell()
    trainer = trainers.WordPieceTrainer(vocab_size=pieces, special_tokens=[PAD, UNK, END], min_frequency=2, show_progress=False,
                                        limit_alphabet=100, continuing_subword_prefix="##",
                                        initial_alphabet=list("abcdefghijklmnopqrstuvwxyz0123456789"))
    learner.train_from_iterator(sorted(whole) * 2, trainer)
    letters = [c for c in "abcdefghijklmnopqrstuvwxyz0123456789"]
    learned = [piece for piece in learner.get_vocab() if piece not in (PAD, UNK, END)]
    tokens = [PAD, UNK, END] + sorted(set(learned) | set(letters) | {"##" + c for c in letters} | whole)
    tokenizer = tokenizer_shell()
    tokenizer.model = models.WordPiece({token: i for i, token in enumerate(tokens)}, unk_token=UNK, max_input_chars_per_word=64)
    tokenizer.add_special_tokens([PAD, UNK, END])
    # An empty text still has one token.
    tokenizer.post_processor = processors.TemplateProcessing(single=f"$A {END}", special_tokens=[(END, 2)])
    tokenizer.enable_truncation(config.MAX_TOKENS)
    tokenizer.enable_padding(pad_id=0, pad_token=PAD)
    return tokenizer


def encode(tokenizer: Tokenizer, phrases: list[str]) -> tuple[Tensor, Tensor]:
    """input_ids and attention_mask, [n, tokens]."""
    rows = tokenizer.encode_batch(phrases)
    return torch.tensor([row.ids for row in rows]), torch.tensor([row.attention_mask for row in rows])


class TextTower(nn.Module):
    """Token ids and mask [n, t] to unit vectors [n, MEANING]."""

    def __init__(self, vocabulary: int):
        super().__init__()
        self.embed = nn.Embedding(vocabulary, WIDTH)
        nn.init.normal_(self.embed.weight, std=0.3)
        self.context = nn.Conv1d(WIDTH, WIDTH, 3, padding=1)
        nn.init.normal_(self.context.weight, std=0.02)
        nn.init.zeros_(self.context.bias)
        self.weigh = nn.Sequential(nn.Linear(WIDTH, 64), nn.Tanh(), nn.Linear(64, 1))
        self.map = nn.Sequential(nn.Linear(WIDTH, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, config.MEANING))
        self.straight = nn.Linear(WIDTH, config.MEANING)
        self.drop = nn.Dropout(0.1)

    def start_from(self, tokenizer: Tokenizer, vectors: dict[str, np.ndarray]):
        """GloVe vectors fill the first dimensions of the tokens they know."""
        table = np.stack(list(vectors.values()))
        mean, scale = table.mean(0), table.std()
        with torch.no_grad():
            for token, index in tokenizer.get_vocab().items():
                if token in vectors:
                    vector = torch.from_numpy((vectors[token] - mean) / scale * 0.3)
                    self.embed.weight[index, : len(vector)] = vector
                    self.embed.weight[index, len(vector):] *= 0.3

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        mask = attention_mask.to(torch.float32).unsqueeze(-1)
        x = self.drop(self.embed(input_ids) * mask)
        x = (x + torch.relu(self.context(x.transpose(1, 2)).transpose(1, 2))) * mask
        weight = torch.exp(self.weigh(x).clamp(-8, 8)) * mask
        pooled = (x * weight).sum(1) / weight.sum(1).clamp_min(1e-6)
        y = self.map(pooled) + self.straight(pooled)
        return y / y.norm(dim=1, keepdim=True).clamp_min(1e-6)


def save(tokenizer: Tokenizer, path):
    """Written without indentation: it is compiled into a library."""
    path.write_text(json.dumps(json.loads(tokenizer.to_str()), ensure_ascii=False, separators=(",", ":")))
