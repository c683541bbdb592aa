#!/usr/bin/env python3
"""Lays out DRCD and CMRC 2018 as the files that docs/results.md is measured on.

    python3 scripts/lay_out_data.py drcd --dev DRCD_dev.json --test DRCD_test.json
    python3 scripts/lay_out_data.py cmrc2018 --train cmrc2018_train.json

The inputs are the published files in SQuAD layout; docs/data.md says where they come from. The
outputs are in the course layout, under data/drcd/ and data/cmrc2018/.

DRCD's development set becomes train.json (3,004 questions) and dev.json (520): no article is in
both. Which paragraph goes where is listed in scripts/drcd_subset.txt. DRCD's test set becomes
test.json (3,493 questions) without its answers. CMRC 2018's training set becomes train.json
(10,142 questions). Within a file questions are shuffled by the seeds below and numbered from 0.

Counts are checked, and digests say whether the result is byte for byte the one that was measured.
Python's standard library is all it needs.
"""

import argparse
import hashlib
import json
import random
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# Seeds of the order of questions, by output file.
SEEDS = {"drcd/train": 1, "drcd/dev": 2, "drcd/test": 3, "cmrc2018/train": 4}

# Questions and paragraphs of every output file.
COUNTS = {
    "drcd/train": (3004, 852),
    "drcd/dev": (520, 148),
    "drcd/test": (3493, 1000),
    "cmrc2018/train": (10142, 2403),
}

# SHA-256 of the files that docs/results.md is measured on.
DIGESTS = {
    "drcd/train": "3701859ddadadfaccadcfe360ca3daea9ce6456061402db5e8657ab355f612c5",
    "drcd/dev": "6c6e93ec80496cb7312796522e8159183cd7e221d5d3770700db4a2697762857",
    "drcd/test": "6d59589159ba05cb076576fef3d12445aef687fa5bf6d863e5c64a068e72f8b9",
    "cmrc2018/train": "c5ab700cadb0a2b37195ac9dd3706a6e275ebe0342f38f9df013eaada2cf7bdc",
}


class InputError(Exception):
    """What is wrong with an input file, for its user."""


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    corpora = parser.add_subparsers(dest="corpus", required=True)
    drcd = corpora.add_parser("drcd", help="DRCD's dev and test files into train, dev and test")
    drcd.add_argument("--dev", type=Path, required=True, help="DRCD_dev.json")
    drcd.add_argument("--test", type=Path, required=True, help="DRCD_test.json")
    cmrc = corpora.add_parser("cmrc2018", help="CMRC 2018's training file into train")
    cmrc.add_argument("--train", type=Path, required=True, help="cmrc2018_train.json")
    for corpus in (drcd, cmrc):
        corpus.add_argument("--out", type=Path, default=ROOT / "data", help="default: data/")
    arguments = parser.parse_args()

    try:
        if arguments.corpus == "drcd":
            outputs = lay_out_drcd(read(arguments.dev), read(arguments.test))
        else:
            name = "cmrc2018/train"
            outputs = {name: course_layout(read(arguments.train), SEEDS[name])}
        for name, content in outputs.items():
            check_counts(name, content)
        for name, content in outputs.items():
            write(arguments.out, name, content)
    except (InputError, OSError) as error:
        sys.exit(f"error: {error}")


def lay_out_drcd(dev, test, subset=None):
    """Returns the three files of the subset by name."""
    train_keys, dev_keys = subset or read_subset(ROOT / "scripts" / "drcd_subset.txt")
    return {
        "drcd/train": course_layout(select(dev, train_keys), SEEDS["drcd/train"]),
        "drcd/dev": course_layout(select(dev, dev_keys), SEEDS["drcd/dev"]),
        "drcd/test": without_answers(course_layout(test, SEEDS["drcd/test"])),
    }


def read(path):
    """Returns the paragraphs of a file in SQuAD layout, in its order."""
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
        return [paragraph for article in content["data"] for paragraph in article["paragraphs"]]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path}: not in SQuAD layout ({error!r}); "
            'expected {"data": [{"paragraphs": [{"context", "qas"}]}]}'
        ) from error


def read_subset(path):
    """Returns the keys of the paragraphs of train and those of dev, each in their order."""
    keys = {"train": [], "dev": []}
    for line in path.read_text(encoding="ascii").splitlines():
        if line.startswith("["):
            section = keys[line.strip("[]")]
        elif line and not line.startswith("#"):
            section.extend(line.split())
    return keys["train"], keys["dev"]


def key(context):
    """A paragraph's name in the subset's list: the first 32 bits of SHA-256, white space aside."""
    return hashlib.sha256("".join(context.split()).encode()).hexdigest()[:8]


def select(paragraphs, keys):
    """Returns the paragraphs that `keys` names, in the order of `keys`."""
    by_key = {key(paragraph["context"]): paragraph for paragraph in paragraphs}
    missing = [each for each in keys if each not in by_key]
    if missing:
        raise InputError(
            f"{len(missing)} of {len(keys)} paragraphs of scripts/drcd_subset.txt are not in the "
            "file given as --dev; expected DRCD_dev.json of DRCD v1.3"
        )
    return [by_key[each] for each in keys]


def course_layout(paragraphs, seed):
    """Returns paragraphs and their questions in the course layout, the questions shuffled."""
    questions = [
        question_record(index, paragraph["context"], question)
        for index, paragraph in enumerate(paragraphs)
        for question in paragraph["qas"]
    ]
    random.Random(seed).shuffle(questions)
    return {
        "questions": [{"id": id, **question} for id, question in enumerate(questions)],
        "paragraphs": [paragraph["context"] for paragraph in paragraphs],
    }


def question_record(paragraph_id, context, question):
    """Returns a question with its first reference answer; `answer_end` is inclusive."""
    answer = question["answers"][0]
    text = answer["text"]
    start = locate(question["id"], context, text, int(answer["answer_start"]))
    return {
        "paragraph_id": paragraph_id,
        "question_text": question["question"],
        "answer_text": text,
        "answer_start": start,
        "answer_end": start + len(text) - 1,
    }


def locate(id, context, text, start):
    """Returns where an answer is: at its published offset, or else where it is first."""
    if context[start : start + len(text)] != text:
        start = context.find(text)
    if start < 0:
        raise InputError(f"question {id!r}: answer {text!r} is not in its paragraph")
    return start


def without_answers(content):
    """Returns the file with the answers taken away."""
    hidden = {"answer_text": None, "answer_start": None, "answer_end": None}
    return {**content, "questions": [{**question, **hidden} for question in content["questions"]]}


def check_counts(name, content):
    found = (len(content["questions"]), len(content["paragraphs"]))
    if found != COUNTS[name]:
        raise InputError(
            f"{name}.json would have {found[0]} questions on {found[1]} paragraphs; "
            f"expected {COUNTS[name][0]} on {COUNTS[name][1]}"
        )


def serialized(content):
    return json.dumps(content, ensure_ascii=False, indent=0).encode()


def write(out, name, content):
    path = out / f"{name}.json"
    data = serialized(content)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    same = hashlib.sha256(data).hexdigest() == DIGESTS[name]
    verdict = "the same file" if same else "not byte for byte the file"
    print(f"{path}: {len(content['questions'])} questions, {verdict} that results are measured on")


if __name__ == "__main__":
    main()
