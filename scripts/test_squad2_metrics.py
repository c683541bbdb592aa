"""Tests of squad2_metrics.py: `python3 -m unittest discover scripts`."""

import json
import unittest

from lay_out_data import ROOT
from squad2_metrics import (
    Question,
    answers_at,
    answers_held_out,
    best_threshold,
    exact,
    f1,
    figures,
    read,
    segment_f1,
)

# What the published scripts return.
OFFICIAL = ROOT / "crates" / "metrics" / "tests" / "official"


def question(id, *references, article="t"):
    answers = [{"text": text, "answer_start": 0} for text in references]
    return Question(id, article, "？", "", answers)


def official(name):
    return json.loads((OFFICIAL / f"squad2-{name}.json").read_text(encoding="utf-8"))


class OfficialTest(unittest.TestCase):
    def setUp(self):
        self.questions = read(OFFICIAL / "squad2-data.json")
        self.predictions = official("predictions")
        self.probabilities = official("no-answer-probability")
        self.expected = official("expected")

    def test_figures_equal_those_of_the_script(self):
        found = figures(self.questions, self.predictions)
        found.pop("segment_f1")
        # No probability is above 1.
        expected = {name: self.expected["1.0"][name] for name in found}
        self.assertIn("NoAns_f1", expected)
        for name, value in expected.items():
            self.assertAlmostEqual(found[name], value, 9, name)

    def test_the_best_threshold_has_the_best_exact_match_of_all(self):
        def correct(threshold):
            answers = answers_at(threshold, self.predictions, self.probabilities)
            return sum(exact(each, answers[each.id]) for each in self.questions)

        best = best_threshold(self.questions, self.predictions, self.probabilities)
        others = [correct(each) for each in [-1, *self.probabilities.values()]]
        self.assertEqual(correct(best), max(others))
        self.assertLess(min(others), max(others))


class CmrcTest(unittest.TestCase):
    def test_segment_f1_is_cmrcs_where_answers_are_of_han_characters(self):
        count = 0
        for line in (OFFICIAL / "cmrc.jsonl").read_text(encoding="utf-8").splitlines():
            case = json.loads(line)
            texts = [case["prediction"], *case["references"]]
            if all("\u4e00" <= each <= "\u9fa5" for text in texts for each in text):
                found = segment_f1(question("a", *case["references"]), case["prediction"])
                self.assertAlmostEqual(found, case["f1"], 9, line)
                count += 1
        self.assertGreater(count, 50)

    def test_segments_cases(self):
        def check(answer, reference, expected):
            self.assertAlmostEqual(segment_f1(question("a", reference), answer), expected, 9)

        check("《Hello World》", "hello world", 1)
        check("3.50 年", "3.50", 2 / 3)
        check("", "年", 0)


class QuestionTest(unittest.TestCase):
    def test_an_empty_answer_is_right_where_there_is_none(self):
        for references, answer, expected in [
            ((), "", 1),
            ((), " The. ", 1),
            ((), "貓", 0),
            (("the",), "", 1),
            (("the", "cat"), "", 0),
        ]:
            with self.subTest(references=references, answer=answer):
                asked = question("a", *references)
                self.assertEqual(exact(asked, answer), expected)
                self.assertEqual(f1(asked, answer), expected)


class ThresholdTest(unittest.TestCase):
    def test_best_threshold_cases(self):
        right, wrong, without = question("a", "貓"), question("b", "狗"), question("c")
        spans = {"a": "貓", "b": "貓", "c": "貓"}

        def check(questions, odds, expected):
            self.assertEqual(best_threshold(questions, spans, odds), expected)

        check([right, wrong, without], {"a": -3.0, "b": 0.0, "c": 2.0}, -3.0)
        check([right, without], {"a": 5.0, "c": 6.0}, 5.0)
        # Taking everything back is best.
        check([wrong, without], {"b": -3.0, "c": -4.0}, -5.0)

    def test_every_part_is_answered_at_the_threshold_of_the_others(self):
        questions = [question("a", "貓", article="1"), question("b", article="2")]
        spans, odds = {"a": "貓", "b": "貓"}, {"a": 1.0, "b": 1.5}
        self.assertEqual(answers_at(1.0, spans, odds), {"a": "貓", "b": ""})
        # Without "b" its answer is given; without "a" none is.
        self.assertEqual(answers_held_out(questions, spans, odds, 2), {"a": "", "b": ""})

    def test_an_article_is_held_out_whole(self):
        questions = [question(str(index), "貓", article=str(index // 3)) for index in range(9)]
        spans = {each.id: "貓" for each in questions}
        # The questions of article 0 alone need a threshold of 4.
        odds = {each.id: 4.0 if each.article == "0" else 1.0 for each in questions}
        found = answers_held_out(questions, spans, odds, 3)
        self.assertEqual({id for id, text in found.items() if text == ""}, {"0", "1", "2"})


if __name__ == "__main__":
    unittest.main()
