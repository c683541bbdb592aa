#!/usr/bin/env python3
"""Makes a data set with unanswerable questions, as SQuAD 2.0 has them, of answerable ones.

    python3 scripts/unanswerable_set.py --train data/drcd/train.json --dev data/drcd/dev.json \\
        --split data/cmrc2018/train.json --train-questions 3500 --dev-questions 1040 \\
        --out data/unanswerable

The inputs are in SQuAD layout or in the course layout, which scripts/lay_out_data.py writes.
Files of --train and of --dev are taken whole. Those of --split are shared out, an article at a
time: to dev until it has --dev-questions, then to train until it has --train-questions; of the
rest each gets half, as paragraphs without questions. The outputs are train.json and dev.json in
SQuAD 2.0's layout, with the paragraphs that questions are about.

A third of the questions of every file, sampled by --seed, moves to another paragraph that does
not answer them: of those of the same file and split, but of another article, whose text holds none
of the question's answers, the one with the highest BM25 score for the question (Robertson &
Zaragoza, 2009). Texts are compared by their letters and digits alone, in NFKC and lower case. BM25
has k1 = 1.2, b = 0.75 and an idf of ln(1 + (N - n + 0.5) / (n + 0.5)); terms are pairs of
neighbouring characters.

Articles are told apart by their titles. The course layout has none, so there every paragraph is an
article of its own. No paragraph and no title is in both outputs. Ids are kept; where two files of a
split have an id in common, all ids of the split begin with the name of their file.

The same inputs and arguments make the same files. Python's standard library is all it needs.
"""

import argparse
import hashlib
import json
import math
import random
import sys
import unicodedata
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from lay_out_data import InputError, locate

SHARE = 3  # one question of so many has no answer
K1 = 1.2
B = 0.75


@dataclass
class Question:
    id: str
    text: str
    # {"text", "answer_start"}; empty where the paragraph does not answer the question.
    answers: list


@dataclass
class Paragraph:
    file: str
    article: str
    text: str
    questions: list = field(default_factory=list)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, what in [
        ("train", "files for train.json"),
        ("dev", "files for dev.json"),
        ("split", "files to share out between the two"),
    ]:
        parser.add_argument(
            f"--{name}", type=Path, nargs="+", default=[], metavar="FILE", help=what
        )
    parser.add_argument("--train-questions", type=int, default=0, help="with those of --split")
    parser.add_argument("--dev-questions", type=int, default=0, help="with those of --split")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="the folder to write into")
    arguments = parser.parse_args()

    try:
        train, dev, both = (
            [paragraph for path in paths for paragraph in read(path)]
            for paths in (arguments.train, arguments.dev, arguments.split)
        )
        source = random.Random(arguments.seed)
        sizes = arguments.train_questions, arguments.dev_questions
        train, dev = share_out(train, dev, both, *sizes, source)
        check_disjoint(train, dev)
        outputs = {
            name: make_unanswerable(name, paragraphs, source)
            for name, paragraphs in [("train", train), ("dev", dev)]
        }
        for name, paragraphs in outputs.items():
            write(arguments.out / f"{name}.json", paragraphs)
    except (InputError, OSError) as error:
        sys.exit(f"error: {error}")


def read(path):
    """Returns the paragraphs of a file that have questions, in its order."""
    file = "/".join(path.with_suffix("").parts[-2:])
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
        layout = read_course if "questions" in content else read_squad
        paragraphs = layout(file, content)
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise InputError(
            f"{path}: neither in SQuAD layout nor in the course layout ({error!r}); expected "
            '{"data": [{"title", "paragraphs": [{"context", "qas"}]}]} or '
            '{"questions": […], "paragraphs": […]}'
        ) from error
    return [paragraph for paragraph in paragraphs if paragraph.questions]


def read_squad(file, content):
    paragraphs = []
    for index, article in enumerate(content["data"]):
        title = article.get("title") or f"{file}/{index}"
        for each in article["paragraphs"]:
            paragraphs.append(Paragraph(file, title, each["context"]))
            for question in each["qas"]:
                answers = [(one["text"], one["answer_start"]) for one in question["answers"]]
                add_question(paragraphs[-1], question["id"], question["question"], answers)
    return paragraphs


def read_course(file, content):
    texts = content["paragraphs"]
    paragraphs = [Paragraph(file, f"{file}/{index}", text) for index, text in enumerate(texts)]
    for question in content["questions"]:
        text = question["answer_text"]
        answers = [] if text is None else [(text, question["answer_start"])]
        paragraph = paragraphs[question["paragraph_id"]]
        add_question(paragraph, question["id"], question["question_text"], answers)
    return paragraphs


def add_question(paragraph, id, text, answers):
    if not answers:
        raise InputError(f"{paragraph.file}: question {id!r} has no answer; expected one or more")
    answers = [
        {"text": answer, "answer_start": locate(id, paragraph.text, answer, int(start))}
        for answer, start in answers
    ]
    paragraph.questions.append(Question(str(id), text, answers))


def count(paragraphs):
    return sum(len(paragraph.questions) for paragraph in paragraphs)


def share_out(train, dev, both, train_questions, dev_questions, source):
    """Returns the paragraphs of train and of dev, with articles of `both` in random order.

    What both have no use for is left without questions, for questions to move to."""
    articles = defaultdict(list)
    for paragraph in both:
        articles[paragraph.article].append(paragraph)
    articles = list(articles.values())
    source.shuffle(articles)
    for split, wanted in [(dev, dev_questions), (train, train_questions)]:
        while count(split) < wanted:
            if not articles:
                raise InputError(f"the files have too few questions: {count(split)} of {wanted}")
            split += articles.pop()
    for index, article in enumerate(articles):
        for paragraph in article:
            paragraph.questions.clear()
        (train, dev)[index % 2].extend(article)
    return train, dev


def check_disjoint(train, dev):
    for what, key in [
        ("paragraph", lambda paragraph: letters(paragraph.text)),
        ("title", lambda paragraph: paragraph.article),
    ]:
        common = {key(paragraph) for paragraph in train} & {key(paragraph) for paragraph in dev}
        if common:
            raise InputError(
                f"{len(common)} of the {what}s of train are in dev, too: {min(common)[:40]!r}; "
                "expected splits that have none in common"
            )


def letters(text):
    """The letters and digits of a text, for comparing: what the same words are written with."""
    text = unicodedata.normalize("NFKC", text).lower()
    return "".join(character for character in text if character.isalnum())


class Similarity:
    """BM25 scores of texts for a query."""

    def __init__(self, texts):
        counts = [self.terms(text) for text in texts]
        lengths = [sum(each.values()) for each in counts]
        mean = sum(lengths) / len(lengths)
        # Of every term, the texts that have it and what it adds to their scores.
        self.weights = defaultdict(list)
        for index, (terms, length) in enumerate(zip(counts, lengths)):
            damping = K1 * (1 - B + B * length / mean) if mean else K1
            for term, number in terms.items():
                self.weights[term].append((index, number * (K1 + 1) / (number + damping)))
        for term, texts_with in self.weights.items():
            rarity = (len(texts) - len(texts_with) + 0.5) / (len(texts_with) + 0.5)
            idf = math.log(1 + rarity)
            self.weights[term] = [(index, idf * weight) for index, weight in texts_with]
        self.size = len(texts)

    @staticmethod
    def terms(text):
        """Counts pairs of neighbouring characters of `letters`."""
        return Counter(map("".join, zip(text, text[1:])))

    def scores(self, query):
        scores = [0.0] * self.size
        for term, number in self.terms(query).items():
            for index, weight in self.weights.get(term, ()):
                scores[index] += number * weight
        return scores


def make_unanswerable(name, paragraphs, source):
    """Returns the paragraphs of a split with a third of every file's questions moved."""
    if count(paragraphs) == 0:
        raise InputError(f"{name}.json would have no questions; add files with --{name} or --split")
    files = defaultdict(list)
    for paragraph in paragraphs:
        files[paragraph.file].append(paragraph)
    made = [each for own in files.values() for each in move_questions(own, source)]
    ids = Counter(question.id for paragraph in made for question in paragraph.questions)
    if max(ids.values(), default=0) > 1:
        for paragraph in made:
            for question in paragraph.questions:
                question.id = f"{paragraph.file}/{question.id}"
    return made


def move_questions(paragraphs, source):
    """Returns paragraphs of one file with a third of their questions at another paragraph."""
    texts = [letters(paragraph.text) for paragraph in paragraphs]
    similarity = Similarity(texts)
    homes = [
        (index, question)
        for index, paragraph in enumerate(paragraphs)
        for question in paragraph.questions
    ]
    source.shuffle(homes)
    left = round(len(homes) / SHARE)
    for home, question in homes:
        if left == 0:
            break
        answers = [letters(answer["text"]) for answer in question.answers]
        scores = similarity.scores(letters(question.text))
        others = [
            (-scores[index], index)
            for index, paragraph in enumerate(paragraphs)
            if paragraph.article != paragraphs[home].article
            and not any(answer in texts[index] for answer in answers)
        ]
        if others:
            paragraphs[home].questions.remove(question)
            other = paragraphs[min(others)[1]]
            other.questions.append(Question(question.id, question.text, []))
            left -= 1
    if left:
        raise InputError(
            f"{paragraphs[0].file}: {left} questions find no paragraph that does not answer them; "
            "expected more paragraphs in a file and split"
        )
    return [paragraph for paragraph in paragraphs if paragraph.questions]


def squad2_layout(paragraphs):
    articles = defaultdict(list)
    for paragraph in paragraphs:
        articles[paragraph.article].append(
            {
                "context": paragraph.text,
                "qas": [
                    {
                        "id": question.id,
                        "question": question.text,
                        "answers": question.answers,
                        "is_impossible": not question.answers,
                    }
                    for question in paragraph.questions
                ],
            }
        )
    data = [{"title": title, "paragraphs": own} for title, own in articles.items()]
    return {"version": "v2.0", "data": data}


def write(path, paragraphs):
    content = squad2_layout(paragraphs)
    data = json.dumps(content, ensure_ascii=False, indent=0).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    questions = [question for paragraph in paragraphs for question in paragraph.questions]
    without = sum(not question.answers for question in questions)
    print(
        f"{path}: {len(questions)} questions, {without} of them without an answer, on "
        f"{len(paragraphs)} paragraphs; SHA-256 {hashlib.sha256(data).hexdigest()}"
    )


if __name__ == "__main__":
    main()
