#!/usr/bin/env python3
"""Checks that the installed release of transformers and this project make the same tokens.

    python3 -m venv env && env/bin/pip install transformers numpy
    env/bin/python scripts/check_tokens.py

`cargo xtask ci` runs it with release 4.57 and with the newest one. It needs no torch: a thousand
texts go through the first stages of pipelines, with checkpoints of random weights, and through the
tokenizers that these stages leave, as transformers loads them.
"""

import itertools
import json
import os
import random
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import numpy
import transformers
from safetensors.numpy import load_file, save_file
from tokenizers import ByteLevelBPETokenizer
from transformers import AutoTokenizer

ROOT = Path(__file__).resolve().parent.parent
FIXTURES = ROOT / "crates" / "model" / "tests" / "fixtures"
PIECES = ROOT / "crates/checkpoint/tests/fixtures/sentencepiece/sentencepiece.bpe.model"
DEMO = ROOT / "data" / "demo"
TEXTS = 1000
QUESTION = "青嵐鎮在哪裡？"
KINDS = ("bert", "roberta", "xlm-roberta")

PIPELINE = """
device = "flex"

[checkpoint]
source = "{source}"
split_characters = {split_characters}

[data]
train = ["{demo}/train.json"]
test = ["{test}"]

[windows]
max_length = 48
max_question_length = 16
stride = 8
"""

# Words and characters that tokenizers treat differently.
CHINESE = "青嵐鎮位於縣北端海拔八百二十公尺国际龘𠮷𪚥"
KANA = "天空の城ラピュタとガンダムを見たｶﾞﾝﾀﾞﾑ゛"
WORDS = ["Tokyo", "résumé", "re\u0301sume\u0301", "naïve", "O'Neill", "ﬁancé", "ＡＢＣ", "İstanbul",
         "straße", "2,026", "3.14", "12%", "①", "㈱", "Ⅳ", "x²", "e-mail", "C++", "한국어", "русский"]
PUNCTUATION = "，。、！？；：「」『』《》（）【】…—～·“”‘’,.!?;:'\"()[]{}<>/\\|@#$%^&*_+=-`~￥€™"
SPACES = "\t\n\x0b\x0c\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008" \
         "\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
CONTROLS = [chr(code) for code in (*range(1, 9), *range(14, 32), *range(127, 160))]
CONTROLS += list("\u00ad\u200b\u200c\u200d\u200e\u2060\ufe0f\ufeff\ufffd\U000e0001")
EMOJI = ["😀", "👨‍👩‍👧", "🇹🇼", "1️⃣", "e\u0301\u0302"]
SPECIALS = ["[MASK]", "[SEP]", "[UNK]", "<mask>", "</s>", "<unk>", "##", "▁", "Ġ"]


def texts(count):
    """Texts of all of these, always the same."""
    source = random.Random(7)
    kinds = [
        lambda: "".join(source.choices(CHINESE, k=source.randint(1, 8))),
        lambda: "".join(source.choices(KANA, k=source.randint(1, 6))),
        lambda: source.choice(WORDS),
        lambda: str(source.randint(0, 99_999)),
        lambda: source.choice(PUNCTUATION),
        lambda: "".join(source.choices(SPACES, k=source.randint(1, 3))),
        lambda: source.choice(CONTROLS),
        lambda: source.choice(EMOJI),
        lambda: source.choice(SPECIALS),
    ]
    for _ in range(count):
        # The first is there so that no text is blank.
        parts = [kinds[0](), *(source.choice(kinds)() for _ in range(source.randint(0, 30)))]
        source.shuffle(parts)
        yield "".join(parts)


def lay_out(path):
    """Writes the test questions, one about every text."""
    paragraphs = list(texts(TEXTS))
    questions = [
        {"id": index, "paragraph_id": index, "question_text": QUESTION,
         "answer_text": None, "answer_start": None, "answer_end": None}
        for index in range(len(paragraphs))
    ]
    path.write_text(json.dumps({"questions": questions, "paragraphs": paragraphs}), "utf-8")


def save_tokenizer(directory, kind):
    """Saves a tokenizer for question answering, as people do; returns the size of its vocabulary."""
    with open(DEMO / "train.json", encoding="utf-8") as file:
        paragraphs = json.load(file)["paragraphs"]
    directory.mkdir()
    if kind == "bert":
        # With kana, which are no words of their own to BERT.
        characters = sorted(set("".join([*paragraphs, KANA, CHINESE])) - set(SPACES))
        letters = [f"##{c}" for c in "abcdefghijklmnopqrstuvwxyz0123456789"]
        vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *characters, *letters]
        (directory / "vocab.txt").write_text("\n".join(vocabulary) + "\n", "utf-8")
        transformers.BertTokenizerFast.from_pretrained(directory).save_pretrained(directory)
        return len(vocabulary)
    if kind == "roberta":
        pairs = ByteLevelBPETokenizer()
        specials = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
        pairs.train_from_iterator(paragraphs, vocab_size=1000, special_tokens=specials)
        pairs.save_model(str(directory))
        transformers.RobertaTokenizerFast.from_pretrained(directory).save_pretrained(directory)
        return pairs.get_vocab_size()
    # Its class needs another library: this project reads the pieces itself.
    (directory / PIECES.name).write_bytes(PIECES.read_bytes())
    return 1500


def save_weights(directory, kind, size):
    """Saves the weights of a tiny model with other embeddings, as many as there are tokens."""
    fixture = FIXTURES / f"tiny-{kind}"
    config = json.loads((fixture / "config.json").read_text("utf-8"))
    (directory / "config.json").write_text(json.dumps({**config, "vocab_size": size}), "utf-8")
    weights = load_file(fixture / "model.safetensors")
    (name,) = (name for name in weights if name.endswith(".word_embeddings.weight"))
    shape = (size, weights[name].shape[1])
    weights[name] = numpy.random.default_rng(1).standard_normal(shape, dtype=numpy.float32)
    save_file(weights, directory / "model.safetensors", metadata={"format": "pt"})


def xtask(directory, *arguments):
    """Runs a command of this project with all results below a folder."""
    done = subprocess.run(
        ["cargo", "xtask", *arguments], cwd=ROOT, capture_output=True, text=True,
        env={**os.environ, "SPANWISE_OUTPUT": str(directory)},
    )
    assert done.returncode == 0, done.stdout + done.stderr


def run(directory, source, split_characters):
    """Runs a pipeline up to its windows and returns the folder of the run."""
    test = directory / "test.json"
    if not test.exists():
        lay_out(test)
    name = f"{source.name}-{'split' if split_characters else 'whole'}"
    file = directory / f"{name}.toml"
    split_characters = json.dumps(split_characters)
    keys = {"source": source, "split_characters": split_characters, "demo": DEMO, "test": test}
    file.write_text(PIPELINE.format(**keys), "utf-8")
    for stage in ("data", "checkpoint", "windows"):
        xtask(directory, "stage", stage, file)
    return directory / "runs" / name


class TokensTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        cls.runs = {}
        for kind, split_characters in itertools.product(KINDS, (False, True)):
            source = cls.directory / kind
            if not source.exists():
                save_weights(source, kind, save_tokenizer(source, kind))
            cls.runs[kind, split_characters] = run(cls.directory, source, split_characters)

    def each(self, check):
        for (kind, split_characters), run in self.runs.items():
            with self.subTest(kind=kind, split_characters=split_characters):
                # The checkpoint's tokenizer goes unchanged into each model that is trained.
                with self.assertNoLogs("transformers", "WARNING"):
                    tokenizer = AutoTokenizer.from_pretrained(run / "checkpoint")

                def tokenized(text):
                    return tokenizer(
                        text, add_special_tokens=False, return_offsets_mapping=True, verbose=False
                    )

                check(kind, split_characters, run, tokenized)

    def test_tokens_are_the_same(self):
        def check(_, __, run, tokenized):
            with open(run / "data/test.paragraphs.jsonl", encoding="utf-8") as file:
                paragraphs = [json.loads(line)["text"] for line in file]
            self.assertEqual(paragraphs, list(texts(TEXTS)))
            windows = load_file(run / "windows/test.safetensors")
            ids, bounds = windows["paragraph_tokens"].tolist(), windows["paragraph_offsets"]
            for index, text in enumerate(paragraphs):
                found = tokenized(text)
                pairs = zip(found["input_ids"], found["offset_mapping"])
                # Tokens that cover no character are no answer's first or last.
                expected = [token for token, (start, end) in pairs if start < end]
                self.assertEqual(ids[bounds[index] : bounds[index + 1]], expected, ascii(text))

        self.each(check)

    def test_split_characters_are_tokens(self):
        text = "天空の城ラピュタと"

        def check(kind, split_characters, _, tokenized):
            pieces = {text[start:end] for start, end in tokenized(text)["offset_mapping"]}
            if split_characters:
                self.assertEqual(pieces - {""}, set(text))
            elif kind != "roberta":  # whose tokens are bytes
                self.assertIn("ラピュタ", "".join(max(pieces, key=len)))

        self.each(check)


if __name__ == "__main__":
    print(f"transformers {transformers.__version__}", file=sys.stderr)
    unittest.main()
