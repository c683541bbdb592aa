"""Tests of unanswerable_set.py on made-up files: `python3 -m unittest discover scripts`."""

import contextlib
import io
import json
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import unanswerable_set
from unanswerable_set import Paragraph, Question, Similarity, letters, move_questions


def squad(*articles):
    """A file in SQuAD layout; a question is its text and its answer, which is first there."""
    return {
        "data": [
            {
                "title": title,
                "paragraphs": [
                    {
                        "context": context,
                        "qas": [
                            {
                                "id": text,
                                "question": text,
                                "answers": [
                                    {"text": answer, "answer_start": context.find(answer)}
                                ],
                            }
                            for text, answer in questions
                        ],
                    }
                    for context, questions in paragraphs
                ],
            }
            for title, paragraphs in articles
        ]
    }


def rivers(first, last):
    """Articles of a paragraph with three questions each."""
    return squad(
        *(
            (
                f"河{index}",
                [
                    (
                        f"第{index}河全長{index + 300}公里，流入第{index}海，源自第{index}山。",
                        [
                            (f"第{index}河長幾公里？", str(index + 300)),
                            (f"第{index}河流入哪個海？", f"第{index}海"),
                            (f"第{index}河源自哪座山？", f"第{index}山"),
                        ],
                    )
                ],
            )
            for index in range(first, last)
        )
    )


def course(count):
    """A file in the course layout, one question a paragraph."""
    return {
        "paragraphs": [f"第{index}島在第{index}洋。" for index in range(count)],
        "questions": [
            {
                "id": index,
                "paragraph_id": index,
                "question_text": f"第{index}島在哪裡？",
                "answer_text": f"第{index}洋",
                "answer_start": len(f"第{index}島在"),
                "answer_end": len(f"第{index}島在第{index}洋") - 1,
            }
            for index in range(count)
        ],
    }


def questions(content):
    """The questions of a file, each with its article's title and its context."""
    return [
        (each, article["title"], paragraph["context"])
        for article in content["data"]
        for paragraph in article["paragraphs"]
        for each in paragraph["qas"]
    ]


class CommandTest(unittest.TestCase):
    def setUp(self):
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))

    def make(self, files, *arguments):
        """Runs the command on files, by their names, and returns the two outputs."""
        for name, content in files.items():
            (self.folder / name).write_text(json.dumps(content), encoding="utf-8")
        out = self.folder / "out"
        arguments = [str(self.folder / each) if each in files else each for each in arguments]
        command = ["unanswerable_set.py", *arguments, "--out", str(out)]
        with mock.patch("sys.argv", command), contextlib.redirect_stdout(io.StringIO()):
            unanswerable_set.main()
        return [json.loads((out / f"{name}.json").read_bytes()) for name in ("train", "dev")]

    def refused(self, problem, *arguments):
        with self.assertRaisesRegex(SystemExit, problem):
            self.make(*arguments)
        self.assertFalse((self.folder / "out").exists())

    def from_all_kinds(self, *arguments):
        files = {"a.json": rivers(0, 8), "b.json": rivers(8, 12), "c.json": course(40)}
        return self.make(
            files, "--train", "a.json", "--dev", "b.json", "--split", "c.json",
            "--train-questions", "39", "--dev-questions", "24", *arguments,
        )

    def test_a_third_of_every_files_questions_has_no_answer(self):
        for content, of_articles, of_course in zip(self.from_all_kinds(), (24, 12), (15, 12)):
            for whole, count in [("河", of_articles), ("島", of_course)]:
                own = [each for each, _, _ in questions(content) if whole in each["question"]]
                self.assertEqual(len(own), count)
                self.assertEqual(sum(each["is_impossible"] for each in own), count // 3)

    def test_answers_are_where_they_were_and_nowhere_else(self):
        answers = {
            each["question"]: each["answers"][0]["text"]
            for each, _, _ in questions(rivers(0, 12))
        } | {each["question_text"]: each["answer_text"] for each in course(40)["questions"]}
        for content in self.from_all_kinds():
            for each, title, context in questions(content):
                answer = answers[each["question"]]
                if each["is_impossible"]:
                    self.assertEqual(each["answers"], [])
                    self.assertNotIn(answer, context)
                    own = "".join(filter(str.isdigit, each["question"]))
                    self.assertNotIn(title, (f"河{own}", f"c/{own}"))
                else:
                    start = each["answers"][0]["answer_start"]
                    self.assertEqual(context[start : start + len(answer)], answer)

    def test_no_paragraph_and_no_question_is_in_both_outputs(self):
        train, dev = (questions(content) for content in self.from_all_kinds())
        for key in (lambda one: one[2], lambda one: one[1], lambda one: one[0]["question"]):
            self.assertEqual(set(map(key, train)) & set(map(key, dev)), set())

    def test_the_seed_decides_which_questions_move(self):
        files = {"a.json": rivers(0, 8), "b.json": rivers(8, 12)}
        seeds = [
            self.make(files, "--train", "a.json", "--dev", "b.json", "--seed", seed)
            for seed in "001"
        ]
        self.assertEqual(seeds[0], seeds[1])
        self.assertNotEqual(seeds[0], seeds[2])

    def test_ids_are_kept(self):
        files = {"a.json": rivers(0, 4), "b.json": course(8), "c.json": rivers(4, 8)}
        train, _ = self.make(files, "--train", "a.json", "b.json", "--dev", "c.json")
        expected = [each["id"] for each, _, _ in questions(files["a.json"])]
        expected += [str(each["id"]) for each in files["b.json"]["questions"]]
        self.assertCountEqual([each["id"] for each, _, _ in questions(train)], expected)

    def test_ids_that_two_files_share_begin_with_the_file(self):
        files = {"a.json": rivers(0, 4), "b.json": rivers(4, 8), "c.json": course(8)}
        files["b.json"]["data"][0]["paragraphs"][0]["qas"][0]["id"] = "第0河長幾公里？"
        train, _ = self.make(files, "--train", "a.json", "b.json", "--dev", "c.json")
        ids = {each["id"] for each, _, _ in questions(train)}
        self.assertEqual(len(ids), 24)
        folder = self.folder.name
        for name in ("a/第0河長幾公里？", "b/第0河長幾公里？", "a/第1河長幾公里？"):
            self.assertIn(f"{folder}/{name}", ids)

    def test_a_paragraph_in_both_splits_is_refused(self):
        files = {"a.json": rivers(0, 8), "b.json": rivers(7, 12)}
        self.refused("1 of the paragraphs of train", files, "--train", "a.json", "--dev", "b.json")

    def test_too_few_questions_are_refused(self):
        files = {"a.json": rivers(0, 8)}
        self.refused(
            "too few questions: 24 of 25", files, "--split", "a.json", "--dev-questions", "25"
        )

    def test_a_split_without_questions_is_refused(self):
        files = {"a.json": rivers(0, 8)}
        self.refused("dev.json would have no questions", files, "--train", "a.json")

    def test_a_question_without_answer_is_refused(self):
        content = course(8)
        content["questions"][3]["answer_text"] = None
        self.refused("question 3 has no answer", {"a.json": content}, "--train", "a.json")

    def test_another_layout_is_refused(self):
        files = {"a.json": [{"context_text": "甲"}]}
        self.refused("neither in SQuAD layout", files, "--train", "a.json")


class ShareOutTest(unittest.TestCase):
    def share_out(self, seed):
        """Shares out ten articles of two paragraphs, with a question each."""
        both = [Paragraph("f", str(index // 2), str(index)) for index in range(20)]
        for paragraph in both:
            paragraph.questions.append(Question(paragraph.text, "？", []))
        return unanswerable_set.share_out([], [], both, 5, 3, unanswerable_set.random.Random(seed))

    def test_articles_are_shared_out_whole_and_the_rest_without_questions(self):
        splits = self.share_out(0)
        self.assertEqual([unanswerable_set.count(split) for split in splits], [6, 4])
        articles = [{paragraph.article for paragraph in split} for split in splits]
        self.assertEqual(articles[0] & articles[1], set())
        # Three and two with questions, and of the five others three and two without.
        self.assertCountEqual(map(len, articles), [6, 4])
        self.assertEqual([len(split) for split in splits], [12, 8])

    def test_the_seed_decides(self):
        self.assertEqual(self.share_out(0), self.share_out(0))
        self.assertNotEqual(self.share_out(0), self.share_out(1))


class MoveTest(unittest.TestCase):
    def move(self, *texts):
        """Moves one of three questions of the first text, which all have one answer."""
        paragraphs = [Paragraph("f", str(index), text) for index, text in enumerate(texts)]
        paragraphs[0].questions = [
            Question(str(index), "黑龍江有多長？", [{"text": "4,370公里", "answer_start": 4}])
            for index in range(3)
        ]
        moved = move_questions(paragraphs, unanswerable_set.random.Random(0))
        (other,) = (each for each in moved if each.article != "0")
        return other.text

    def test_a_question_moves_to_the_most_similar_text_without_its_answer(self):
        own = "黑龍江長4,370公里。"
        self.assertEqual(self.move(own, "月球沒有水。", "黑龍江在北方。"), "黑龍江在北方。")
        # Written with other characters, the answer is there all the same.
        for same in ("黑龍江長４３７０公里。", "黑龍江長 4 370 公里。"):
            self.assertEqual(self.move(own, "月球沒有水。", same), "月球沒有水。")

    def test_where_all_texts_have_the_answer_the_file_is_refused(self):
        with self.assertRaisesRegex(unanswerable_set.InputError, "1 questions find no paragraph"):
            self.move("黑龍江長4,370公里。", "長4370公里。")

    def test_an_articles_own_paragraphs_are_passed_over(self):
        paragraphs = [Paragraph("f", article, text) for article, text in
                      [("a", "江長九里。"), ("a", "江在北方。"), ("b", "月球沒有水。")]]
        answer = [{"text": "九里", "answer_start": 2}]
        paragraphs[0].questions = [Question(str(index), "江多長？", answer) for index in range(3)]
        moved = move_questions(paragraphs, unanswerable_set.random.Random(0))
        self.assertEqual([each.text for each in moved], ["江長九里。", "月球沒有水。"])


class SimilarityTest(unittest.TestCase):
    def test_scores_cases(self):
        # Three texts of three pairs each, so that lengths do not count: one occurrence of a pair
        # that one text has scores ln(1 + 2.5 / 1.5), of one that two have ln(1 + 1.5 / 2.5).
        scores = Similarity(["甲乙丙丁", "甲乙戊己", "庚辛壬癸"]).scores("甲乙丙")
        for found, expected in zip(scores, (0.980829 + 0.470004, 0.470004, 0)):
            self.assertAlmostEqual(found, expected, 6)

    def test_a_long_text_scores_less_and_repetition_counts_less_each_time(self):
        short, long, twice = Similarity(["甲乙", "甲乙丙丁戊己", "甲乙甲乙"]).scores("甲乙")
        self.assertLess(long, short)
        self.assertLess(twice, 2 * short)


class LettersTest(unittest.TestCase):
    def test_letters_cases(self):
        for text, expected in [("4,370 公里。", "4370公里"), ("Ａbc①", "abc1"), ("、 ", "")]:
            self.assertEqual(letters(text), expected)


if __name__ == "__main__":
    unittest.main()
