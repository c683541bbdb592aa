"""SQuAD 2.0's layout and metrics (Rajpurkar et al., 2018), as its script evaluate-v2.0.py has them.

A question without an answer is answered right by "". An answer is given where the null odds, the
score of no answer less that of the best span, are not above a threshold; `best_threshold` fits it.
Figures are percentages. Python's standard library is all it needs.
"""

import json
import re
import string
from collections import Counter, defaultdict
from dataclasses import dataclass

HAN = re.compile("([\u4e00-\u9fa5])")
# What CMRC 2018's script removes.
CMRC_PUNCTUATION = set("-:_*^/\\~`+=，。：？！“”；’《》·、「」（）－～『』")


@dataclass
class Question:
    id: str
    article: str
    text: str
    paragraph: str
    # {"text", "answer_start"}; empty where the paragraph does not answer the question.
    answers: list

    def references(self):
        """The references that do not normalise to nothing; "" where there is none."""
        texts = [answer["text"] for answer in self.answers if words(answer["text"])]
        return texts or [""]


def read(path):
    """Returns the questions of a file in SQuAD 2.0's layout."""
    return [
        Question(
            each["id"],
            article["title"],
            each["question"],
            paragraph["context"],
            [] if each.get("is_impossible") else each["answers"],
        )
        for article in json.loads(path.read_text(encoding="utf-8"))["data"]
        for paragraph in article["paragraphs"]
        for each in paragraph["qas"]
    ]


def words(text):
    text = "".join(each for each in text.lower() if each not in string.punctuation)
    return re.sub(r"\b(a|an|the)\b", " ", text).split()


def exact(question, answer):
    return float(any(words(answer) == words(each) for each in question.references()))


def f1(question, answer):
    return max(shared_words(words(answer), words(each)) for each in question.references())


def shared_words(found, expected):
    if not found or not expected:
        return float(found == expected)
    return f1_of_shared(sum((Counter(found) & Counter(expected)).values()), found, expected)


def f1_of_shared(shared, found, expected):
    if shared == 0:
        return 0.0
    precision, recall = shared / len(found), shared / len(expected)
    return 2 * precision * recall / (precision + recall)


def segment_f1(question, answer):
    """F1 over the longest common substring of segments, the best over the references: a Han
    character is a segment, and so is what white space cuts of the rest.

    CMRC 2018's script cuts the rest into words by NLTK's tokenizer, and knows no question without
    an answer: `cargo xtask evaluate --metric cmrc` prints its F1, of the others.
    """
    return max(shared_segments(answer, each) for each in question.references())


def shared_segments(answer, reference):
    found, expected = segments(answer), segments(reference)
    if not found or not expected:
        return float(found == expected)
    longest = 0
    before = [0] * (len(expected) + 1)
    for left in found:
        now = [0] + [before[at] + 1 if left == right else 0 for at, right in enumerate(expected)]
        longest = max(longest, *now)
        before = now
    return f1_of_shared(longest, found, expected)


def segments(text):
    text = "".join(each for each in text.lower().strip() if each not in CMRC_PUNCTUATION)
    return HAN.sub(r" \1 ", text).split()


def figures(questions, answers):
    """Returns what the script prints for answers by id, and `segment_f1`."""

    def mean(name, score, kept):
        scores = [score(each, answers[each.id]) for each in kept]
        return {name: 100 * sum(scores) / len(scores)} if scores else {}

    with_answer = [each for each in questions if each.answers]
    without = [each for each in questions if not each.answers]
    found = {}
    for prefix, kept in [("", questions), ("HasAns_", with_answer), ("NoAns_", without)]:
        found |= mean(f"{prefix}exact", exact, kept) | mean(f"{prefix}f1", f1, kept)
    return found | mean("segment_f1", segment_f1, questions)


def answers_at(threshold, best_spans, null_odds):
    """Returns the best spans by id, and "" where the null odds are above the threshold."""
    return {id: "" if null_odds[id] > threshold else text for id, text in best_spans.items()}


def best_threshold(questions, best_spans, null_odds):
    """Returns the threshold of the null odds with the best exact match, the lowest of equals."""
    questions = sorted(questions, key=lambda question: null_odds[question.id])
    # Below all null odds every answer is "", which is right where there is no answer.
    correct = highest = sum(not question.answers for question in questions)
    threshold = null_odds[questions[0].id] - 1
    for question in questions:
        correct += exact(question, best_spans[question.id]) - (not question.answers)
        if correct > highest:
            highest, threshold = correct, null_odds[question.id]
    return threshold


def answers_held_out(questions, best_spans, null_odds, parts=5):
    """Returns the answers of every part of the questions, at the threshold that is best on the
    other parts. No article is in two parts, which are of nearly the same size."""
    articles = defaultdict(list)
    for question in questions:
        articles[question.article].append(question)
    split = [[] for _ in range(parts)]
    for own in sorted(articles.values(), key=len, reverse=True):
        min(split, key=len).extend(own)
    answers = {}
    for part in split:
        held_out = {question.id for question in part}
        others = [question for question in questions if question.id not in held_out]
        threshold = best_threshold(others, best_spans, null_odds)
        spans = {id: best_spans[id] for id in held_out}
        answers |= answers_at(threshold, spans, null_odds)
    return answers
