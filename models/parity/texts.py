"""The texts that tokenizers are compared on, and tokenizers trained on them in the style of CLIP, SigLIP and SigLIP 2.

The published tokenizers are downloads; what matters is that the same kind of file is read in the same way.
"""

import json

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

# The most entries of a vocabulary, where the letters do not take more; what reduce.py makes smaller.
VOCABULARY = 1500

PHRASES = [
    "a photo of a red striped shirt",
    "Two people wearing BLUE jeans, in the rain",
    "women's leather shoes, size 38½",
    "it's they're we've I'm you'll he'd don't",
    "café crème, naïve façade, Ångström, Straße, İstanbul, ŁÓDŹ",
    "cafe\u0301 cre\u0300me nai\u0308ve (decomposed)",
    "ένα κόκκινο φόρεμα· ΟΔΟΣ ΣΟΦΟΣ",
    "красное платье в полоску, ёлка, ПЁТР",
    "فستان أحمر طويل مع أكمام",
    "שמלה אדומה ארוכה עִבְרִית",
    "लाल धारीदार कमीज़",
    "เสื้อเชิ้ตลายทางสีแดง",
    "红色条纹衬衫和蓝色牛仔裤",
    "赤いストライプのシャツ、青いジーンズ",
    "빨간 줄무늬 셔츠와 파란 청바지",
    "কালো জুতা ও সাদা মোজা",
    "áo sơ mi sọc đỏ, quần bò xanh",
    "ქართული კაბა, Հայերեն զգեստ",
    "አማርኛ ቀሚስ",
    "👗👠 emoji 👩🏽‍🦰 flag 🇩🇪 keycap 1️⃣",
    "ﬁne ﬂour Ⅷ ℃ ½ ² ｆｕｌｌｗｉｄｔｈ ＡＢＣ",
    "price: $1,234.56 (−20 %) — “quoted” … #tag @user",
    "https://example.org/shop?id=42&q=red%20shirt",
    "snake_case camelCase kebab-case C++ C# .NET",
    "0123456789 3.14159 1e-9 0x1F",
]
EDGES = [
    "",
    " ",
    "\t\n  \r\n",
    "  spaces   inside  and\taround ",
    "a\u00a0b\u2003c\u200bd\ufeffe",
    "<|startoftext|> special <|endoftext|> tokens",
    "<s> </s> <pad> <unk> <bos> <eos> [CLS]",
    "▁ a metaspace ▁▁",
    "</w> suffix",
    "!!!???...",
    "\u0000nul\u0001control".replace("\u0000", ""),
    "\u202eright to left\u202c",
    "z" + "\u0301" * 20,
    "𝔣𝔯𝔞𝔨𝔱𝔲𝔯 𝟙𝟚𝟛",
    "supercalifragilisticexpialidocious" * 4,
    "word " * 120,
    "红" * 200,
    "👗" * 90,
    "x",
    "É",
    "Σ",
    "ß",
    "-",
    "'",
    "''s'S",
]


def texts():
    """200 strings: phrases in many scripts, shouted, in frames and in pairs, and edge cases."""
    found = list(EDGES) + list(PHRASES)
    found += [phrase.upper() for phrase in PHRASES]
    found += [f"a photo of {phrase}." for phrase in PHRASES]
    found += [f"  {phrase[:9]}\n{phrase[9:]}!?" for phrase in PHRASES]
    found += [phrase[::-1] for phrase in PHRASES]
    found += [f"{one} {other}" for one, other in zip(PHRASES, PHRASES[5:] + PHRASES[:5])]
    found += [f"{one[:12]}{other[-12:]}" for one, other in zip(PHRASES, PHRASES[7:] + PHRASES[:7])]
    assert len(found) == 200
    return found


def corpus():
    """What the small vocabularies are trained on: half of the phrases, so that the others have unknown words."""
    return [f"{phrase} {phrase.lower()}" for phrase in PHRASES[::2]] * 4 + PHRASES[:3]


def clip():
    """Byte-level BPE with `</w>`; gives vocabulary and merges for transformers' own class."""
    tokenizer = Tokenizer(models.BPE(continuing_subword_prefix="", end_of_word_suffix="</w>"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    words = Regex(r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(words, behavior="removed", invert=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])
    # As in the original, every byte is a token by itself and at the end of a word.
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, initial_alphabet=letters, end_of_word_suffix="</w>", show_progress=False
    )
    tokenizer.train_from_iterator(corpus(), trainer)
    import json

    trained = json.loads(tokenizer.to_str())["model"]
    vocabulary = dict(trained["vocab"])
    for token in [letter + "</w>" for letter in letters] + ["<|startoftext|>", "<|endoftext|>"]:
        vocabulary.setdefault(token, len(vocabulary))
    return vocabulary, [tuple(merge) for merge in trained["merges"]]


def siglip():
    """Unigram that drops punctuation and case, ends in `</s>` and pads with it."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([
        normalizers.NFKC(),
        normalizers.Lowercase(),
        normalizers.Replace(Regex(r"[!-/:-@\[-`{-~]"), ""),
        normalizers.Replace(Regex(r"\s+"), " "),
        normalizers.Strip(),
    ])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="always")
    trainer = trainers.UnigramTrainer(
        vocab_size=VOCABULARY, special_tokens=["<unk>", "</s>"], unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(corpus(), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return tokenizer


def siglip2():
    """BPE with byte fallback, as Gemma's; gives vocabulary and merges for transformers' own class."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Lowercase(), normalizers.Replace(" ", "▁")])
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"] + [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(vocab_size=VOCABULARY, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(corpus(), trainer)
    import json

    trained = json.loads(tokenizer.to_str())["model"]
    return trained["vocab"], [tuple(merge) for merge in trained["merges"]]


def bert():
    """WordPiece between `[CLS]` and `[SEP]`."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    trainer = trainers.WordPieceTrainer(vocab_size=VOCABULARY, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(corpus(), trainer)
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return tokenizer
