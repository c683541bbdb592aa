"""Tests of lay_out_data.py on made-up files: `python3 -m unittest discover scripts`."""

import contextlib
import io
import json
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import lay_out_data


def paragraph(context, *questions):
    """A paragraph in SQuAD layout; a question is its text, its answer and the answer's start."""
    return {
        "context": context,
        "qas": [
            {"id": text, "question": text, "answers": [{"text": answer, "answer_start": start}]}
            for text, answer, start in questions
        ],
    }


RIVER = paragraph(
    "黑龍江長4,370公里。", ("多長？", "4,370公里", 4), ("哪條江？", "黑龍江", 0)
)
CITY = paragraph("彰化市在1959年淹水。", ("哪一年？", "1959年", 4))
ISLAND = paragraph("綠島位於台東東方。", ("島在哪裡？", "台東東方", 4))
MOON = paragraph("𝒜月球沒有水。", ("有水嗎？", "沒有水", 3))


def squad(*articles):
    return {"data": [{"title": "t", "paragraphs": list(each)} for each in articles]}


class DrcdTest(unittest.TestCase):
    def setUp(self):
        keys = [lay_out_data.key(each["context"]) for each in (CITY, RIVER, ISLAND)]
        subset = (keys[:2], keys[2:])
        self.outputs = lay_out_data.lay_out_drcd([RIVER, CITY, ISLAND], [MOON], subset)

    def test_splits_paragraphs_as_listed_and_in_that_order(self):
        contexts = {name: content["paragraphs"] for name, content in self.outputs.items()}
        self.assertEqual(contexts["drcd/train"], [CITY["context"], RIVER["context"]])
        self.assertEqual(contexts["drcd/dev"], [ISLAND["context"]])
        self.assertEqual(contexts["drcd/test"], [MOON["context"]])

    def test_every_answer_is_at_its_offsets(self):
        for name in ("drcd/train", "drcd/dev"):
            content = self.outputs[name]
            for question in content["questions"]:
                context = content["paragraphs"][question["paragraph_id"]]
                span = context[question["answer_start"] : question["answer_end"] + 1]
                self.assertEqual(span, question["answer_text"])

    def test_questions_are_shuffled_by_the_seed_and_numbered_from_zero(self):
        questions = self.outputs["drcd/train"]["questions"]
        self.assertEqual([question["id"] for question in questions], [0, 1, 2])
        texts = [question["question_text"] for question in questions]
        self.assertEqual(texts, ["多長？", "哪條江？", "哪一年？"])

    def test_test_questions_have_no_answers(self):
        (question,) = self.outputs["drcd/test"]["questions"]
        self.assertEqual(question["question_text"], "有水嗎？")
        for field in ("answer_text", "answer_start", "answer_end"):
            self.assertIsNone(question[field])

    def test_a_paragraph_that_is_not_there_is_refused(self):
        subset = ([lay_out_data.key(CITY["context"]), "0"], [])
        with self.assertRaisesRegex(lay_out_data.InputError, "1 of 2 paragraphs"):
            lay_out_data.lay_out_drcd([CITY], [MOON], subset)


class RecordTest(unittest.TestCase):
    def test_a_wrong_offset_is_corrected_to_the_first_occurrence(self):
        content = lay_out_data.course_layout([paragraph("甲乙丙乙", ("？", "乙", 0))], 0)
        record = content["questions"][0]
        self.assertEqual((record["answer_start"], record["answer_end"]), (1, 1))

    def test_an_answer_that_is_not_in_its_paragraph_is_refused(self):
        with self.assertRaisesRegex(lay_out_data.InputError, "not in its paragraph"):
            lay_out_data.course_layout([paragraph("甲乙", ("？", "丙", 0))], 0)


class CommandTest(unittest.TestCase):
    def run_command(self, folder, content, counts):
        source = Path(folder) / "source.json"
        source.write_text(json.dumps(content), encoding="utf-8")
        arguments = ["lay_out_data.py", "cmrc2018", "--train", str(source), "--out", folder]
        output = io.StringIO()
        with (
            mock.patch("sys.argv", arguments),
            mock.patch.dict(lay_out_data.COUNTS, {"cmrc2018/train": counts}),
            contextlib.redirect_stdout(output),
        ):
            lay_out_data.main()
        return output.getvalue()

    def test_writes_the_file_and_says_that_it_is_another(self):
        with tempfile.TemporaryDirectory() as folder:
            output = self.run_command(folder, squad([RIVER], [CITY]), (3, 2))
            written = json.loads((Path(folder) / "cmrc2018/train.json").read_text(encoding="utf-8"))
        self.assertEqual(len(written["questions"]), 3)
        self.assertIn("3 questions, not byte for byte the file", output)

    def test_other_counts_are_refused_and_nothing_is_written(self):
        with tempfile.TemporaryDirectory() as folder:
            with self.assertRaisesRegex(SystemExit, "expected 10142 on 2403"):
                self.run_command(folder, squad([RIVER]), (10142, 2403))
            self.assertFalse((Path(folder) / "cmrc2018").exists())

    def test_another_layout_is_refused(self):
        with tempfile.TemporaryDirectory() as folder:
            with self.assertRaisesRegex(SystemExit, "not in SQuAD layout"):
                self.run_command(folder, [{"context_text": "甲"}], (1, 1))


class SubsetTest(unittest.TestCase):
    def test_the_list_names_every_paragraph_once(self):
        train, dev = lay_out_data.read_subset(lay_out_data.ROOT / "scripts" / "drcd_subset.txt")
        self.assertEqual((len(train), len(dev), len({*train, *dev})), (852, 148, 1000))


if __name__ == "__main__":
    unittest.main()
