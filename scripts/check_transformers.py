#!/usr/bin/env python3
"""Checks that the installed release of transformers and this project read each other's files.

    python3 -m venv env && env/bin/pip install torch==2.9.0 transformers numpy
    env/bin/python scripts/check_transformers.py

`SPANWISE_TRANSFORMERS=1 cargo xtask ci` runs it with release 4.57 and with the newest one. Checkpoints
that transformers saves go through pipelines of seconds, in a temporary folder, and what comes out is
loaded again. Tokens are compared by check_tokens.py.
"""

import contextlib
import io
import itertools
import json
import re
import sys
import tempfile
import unittest
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import torch
import transformers
from safetensors.numpy import load_file
from transformers import AutoModelForMaskedLM, AutoModelForQuestionAnswering

import check_export
import check_tokens
import hf_reference
import hf_squad2_reference
import squad2_metrics
import unanswerable_set
from check_tokens import DEMO, FIXTURES, ROOT

MOST = 1e-5  # of the difference of two logits

# What `lay_out` writes into the pipeline file.
LENGTHS = SimpleNamespace(
    max_length=128, max_question_length=24, stride=64, max_answer_length=30
)
PIPELINE = """
seed = 1
device = "flex"

[checkpoint]
source = "{source}"
split_characters = {split_characters}

[data]
train = ["{demo}/train.json"]
dev = ["{demo}/dev.json"]
test = ["{test}"]
train_questions = 32

[windows]
max_length = {max_length}
max_question_length = {max_question_length}
stride = {stride}

[train]
epochs = 1
batch_size = 32
learning_rate = 1e-2

[predict]
precision = "fp32"

[answers]
max_answer_length = {max_answer_length}
"""


def snippet(text):
    """The lines of Python in a document."""
    (lines,) = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return lines


README_SNIPPET = snippet((ROOT / "README.md").read_text(encoding="utf-8"))
# The question and the paragraph in it.
ASKED = [json.loads(f"[{pair}]") for pair in re.findall(r"paragraph = (.*)", README_SNIPPET)][0]

def lay_out(path):
    """Writes the question in README as the only one of a split."""
    question = {"id": 0, "paragraph_id": 0, "question_text": ASKED[0],
                "answer_text": None, "answer_start": None, "answer_end": None}
    path.write_text(json.dumps({"questions": [question], "paragraphs": [ASKED[1]]}), "utf-8")


def save(directory, kind):
    """Saves a tiny checkpoint with a tokenizer for question answering, as people do."""
    size = check_tokens.save_tokenizer(directory, kind)
    config = transformers.AutoConfig.for_model(
        kind, vocab_size=size, hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
        intermediate_size=48, max_position_embeddings=514, initializer_range=0.2,
    )
    torch.manual_seed(1)
    AutoModelForQuestionAnswering.from_config(config).save_pretrained(directory)


def run(directory, source, split_characters):
    """Runs a pipeline on a checkpoint and returns the folder of the run."""
    test = directory / "test.json"
    if not test.exists():
        lay_out(test)
    name = f"{source.name}-{'split' if split_characters else 'whole'}"
    file = directory / f"{name}.toml"
    keys = {"source": source, "split_characters": json.dumps(split_characters), "demo": DEMO}
    file.write_text(PIPELINE.format(test=test, **keys, **vars(LENGTHS)), "utf-8")
    check_tokens.xtask(directory, "pipeline", file)
    return directory / "runs" / name


class SilentTest(unittest.TestCase):
    """A test in which transformers has nothing to complain about."""

    def setUp(self):
        self.enterContext(self.assertNoLogs("transformers", "WARNING"))


class FixturesTest(SilentTest):
    """The encoders whose logits the tests of this project know, and whose files it writes alike."""

    def each(self, masked, check):
        names = sorted(path.name for path in FIXTURES.glob("tiny-*"))
        names = [name for name in names if name.endswith("-masked") == masked]
        self.assertGreater(len(names), 6)
        for name in names:
            with self.subTest(checkpoint=name):
                expected = json.loads((FIXTURES / name / "expected.json").read_text("utf-8"))
                check(FIXTURES / name, expected)

    def load(self, directory, kind):
        model, info = kind.from_pretrained(directory, output_loading_info=True)
        for key in ("missing_keys", "unexpected_keys", "mismatched_keys"):
            self.assertFalse(info[key], key)
        return model

    @torch.inference_mode()
    def logits(self, model, row):
        ids, types = (torch.tensor([row[key]]) for key in ("ids", "token_types"))
        return model(input_ids=ids, token_type_ids=types)

    def compare(self, found, expected):
        self.assertLess((found - torch.tensor(expected)).abs().max().item(), MOST)

    def check_saved(self, model, directory):
        """What this release saves has the names and values that the fixture has."""
        with tempfile.TemporaryDirectory() as saved:
            model.save_pretrained(saved)
            found = load_file(Path(saved) / "model.safetensors")
        expected = load_file(directory / "model.safetensors")
        self.assertEqual(found.keys(), expected.keys())
        for name, values in expected.items():
            self.assertTrue((found[name] == values).all(), name)

    def test_logits_of_spans(self):
        def check(directory, expected):
            model = self.load(directory, AutoModelForQuestionAnswering)
            self.check_saved(model, directory)
            for case in expected["cases"]:
                for row, start, end in zip(case["rows"], case["start"], case["end"]):
                    found = self.logits(model, row)
                    self.compare(found.start_logits[0], start)
                    self.compare(found.end_logits[0], end)

        self.each(False, check)

    def test_logits_of_masked_tokens(self):
        def check(directory, expected):
            model = self.load(directory, AutoModelForMaskedLM)
            self.check_saved(model, directory)
            found = [self.logits(model, row).logits[0] for row in expected["rows"]]
            self.compare(torch.cat(found), expected["logits"])

        self.each(True, check)


class PipelinesTest(SilentTest):
    """What comes out of a pipeline on a checkpoint that this release has saved."""

    @classmethod
    def setUpClass(cls):
        cls.directory = Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        cls.runs = {}
        for kind, split_characters in itertools.product(check_tokens.KINDS, (False, True)):
            source = cls.directory / kind
            if not source.exists():
                save(source, kind)
            cls.runs[kind, split_characters] = run(cls.directory, source, split_characters)

    def each(self, check):
        for (kind, split_characters), run in self.runs.items():
            with self.subTest(kind=kind, split_characters=split_characters):
                check(run, *check_export.load(run / "train"))

    def test_answers_are_the_same(self):
        def check(run, model, tokenizer):
            reader = check_export.Reader(model, tokenizer, LENGTHS)
            same, count, *_ = check_export.compare(reader, run / "answers.jsonl", DEMO / "dev.json")
            self.assertEqual((same, count), (44, 44))

        self.each(check)

    def test_the_lines_of_readme_and_model_card_answer(self):
        def check(run, _, __):
            predictions = json.loads((run / "predictions.json").read_text("utf-8"))
            card = (run / "train/README.md").read_text("utf-8")
            for lines, directory in [
                (README_SNIPPET, "runs/demo/train"),
                (snippet(card), "path/to/this/directory"),
            ]:
                with tempfile.TemporaryDirectory() as home, contextlib.chdir(home):
                    Path(directory).parent.mkdir(parents=True)
                    Path(directory).symlink_to(run / "train")
                    out = io.StringIO()
                    with contextlib.redirect_stdout(out):
                        exec(compile(lines, directory, "exec"), {})
                self.assertEqual(out.getvalue(), predictions["0"] + "\n")

        self.each(check)

    def test_the_peer_of_the_benchmark_runs(self):
        checkpoint = str(self.runs["bert", True] / "checkpoint")
        out = str(self.directory / "peer.csv")
        for command, keys in [
            (["speed", "--batch=2", "--length=64", "--repeats=1"], {"train_step_s", "eval_step_s"}),
            (
                ["score", f"--data={DEMO}", f"--out={out}", "--epochs=0.2", "--length=128",
                 "--stride=64"],
                {"dev_exact_match", "train_s"},
            ),
        ]:
            arguments = ["hf_reference.py", *command, f"--checkpoint={checkpoint}"]
            printed = io.StringIO()
            with mock.patch.object(sys, "argv", arguments), contextlib.redirect_stdout(printed):
                hf_reference.main()
            self.assertLessEqual(keys, json.loads(printed.getvalue()).keys())
        self.assertEqual(len(Path(out).read_text("utf-8").splitlines()), 41)


class Squad2ReferenceTest(SilentTest):
    """The program whose answers and no answers ours are compared with."""

    @classmethod
    def setUpClass(cls):
        cls.directory = Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        save(cls.directory / "bert", "bert")

    def run_main(self, program, *arguments):
        printed = io.StringIO()
        with (
            mock.patch.object(sys, "argv", ["program", *map(str, arguments)]),
            contextlib.redirect_stdout(printed),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            program.main()
        return printed.getvalue().splitlines()

    def test_an_epoch_learns_from_windows_with_and_without_the_answer(self):
        args = SimpleNamespace(checkpoint=self.directory / "bert", length=36, device="cpu")
        texts = hf_reference.Texts(args)
        paragraph, answer = "甲" * 20 + "八百二十" + "乙" * 20, "八百二十"
        answers = [{"text": answer, "answer_start": paragraph.find(answer)}]

        def rows(answers):
            question = squad2_metrics.Question("a", "t", "海拔", paragraph, answers)
            found = hf_squad2_reference.examples(texts, [question])
            return hf_squad2_reference.epoch_rows(found), hf_squad2_reference.epoch_size(found)

        for _ in range(20):
            found, size = rows(answers)
            self.assertEqual((len(found), size), (2, 2))
            for question_ids, window_ids, start, end in found:
                row = texts.pad([(question_ids, window_ids)])["input_ids"][0]
                labelled = texts.tokenizer.convert_ids_to_tokens(row[start : end + 1])
                self.assertEqual("".join(labelled), answer if end else "[CLS]")
                self.assertEqual(len(window_ids), 31 if end else 20)
                window = "".join(texts.tokenizer.convert_ids_to_tokens(window_ids))
                self.assertEqual(answer in window, end > 0)
            found, size = rows([])
            self.assertEqual(([row[2:] for row in found], size), ([(0, 0)], 1))
        self.assertEqual(rows([{"text": paragraph, "answer_start": 0}]), ([], 0))

    def test_null_score_is_the_lowest_and_the_best_span_is_of_one_window(self):
        # The first token, the question and a separator; then two tokens of the paragraph.
        starts = torch.tensor([[2.0, 9, 9, 0, 1], [-1, 9, 9, 5, 0]])
        ends = torch.tensor([[2.0, 9, 9, 0, 3], [4, 9, 9, 0, 1]])
        null = hf_squad2_reference.null_entry(starts, ends)
        self.assertEqual(null, {"text": "", "start_logit": -1, "end_logit": 4})

        def check(max_answer, n_best_size, expected):
            args = SimpleNamespace(max_answer=max_answer, n_best_size=n_best_size)
            offsets = [[(0, 1), (1, 2)], [(1, 2), (2, 3)]]
            spans = hf_squad2_reference.span_entries(args, starts, ends, 3, offsets, "甲乙丙")
            found = [(each["text"], hf_squad2_reference.total(each)) for each in spans]
            self.assertEqual(found, expected)

        check(2, 20, [("乙丙", 6), ("乙", 5), ("甲乙", 3), ("丙", 1), ("甲", 0)])
        check(2, 2, [("乙丙", 6), ("乙", 5)])
        check(1, 20, [("乙", 5), ("丙", 1), ("甲", 0)])

    def test_trains_and_answers(self):
        data, out, again = (self.directory / name for name in ("data", "out", "again"))
        self.run_main(
            unanswerable_set, f"--train={DEMO}/train.json", f"--dev={DEMO}/dev.json",
            f"--out={data}",
        )
        files = [f"--train={data}/train.json", f"--dev={data}/dev.json", "--length=128"]
        lines = self.run_main(
            hf_squad2_reference, *files, f"--checkpoint={self.directory}/bert", f"--out={out}",
            "--epochs=1", "--lr=1e-3",
        )
        null, best, zero, fitted, _ = (json.loads(line) for line in lines)
        self.assertEqual((null["HasAns_exact"], null["NoAns_exact"]), (0, 100))
        self.assertEqual(best["NoAns_exact"], 0)
        for other in (null, best, zero):
            self.assertGreaterEqual(fitted["exact"], other["exact"])

        predictions, nbest, odds = (
            json.loads((out / f"{name}.json").read_bytes())
            for name in ("predictions", "nbest", "null_odds")
        )
        questions = squad2_metrics.read(data / "dev.json")
        ids = {question.id for question in questions}
        self.assertEqual((predictions.keys(), nbest.keys(), odds.keys()), (ids, ids, ids))
        for question in questions:
            texts = [entry["text"] for entry in nbest[question.id]]
            best = next(text for text in texts if text)
            self.assertIn(best, question.paragraph)
            taken_back = odds[question.id] > fitted["null_score_diff_threshold"]
            self.assertEqual(predictions[question.id], "" if taken_back else best)
            shares = [entry["probability"] for entry in nbest[question.id]]
            self.assertEqual(shares, sorted(shares, reverse=True))
            self.assertAlmostEqual(sum(shares), 1)

        # What it has saved answers in the same way.
        self.run_main(
            hf_squad2_reference, *files, f"--checkpoint={out}/model", f"--out={again}",
            "--epochs=0", "--null-score-diff-threshold=1.5",
        )
        for id, value in json.loads((again / "null_odds.json").read_bytes()).items():
            self.assertAlmostEqual(value, odds[id], 4)
        for id, answer in json.loads((again / "predictions.json").read_bytes()).items():
            self.assertEqual(answer == "", odds[id] > 1.5)


if __name__ == "__main__":
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(1)  # more cost more than they save on tiny models
    print(f"transformers {transformers.__version__}, torch {torch.__version__}", file=sys.stderr)
    unittest.main()
