#!/usr/bin/env python3
"""The work of this project on unanswerable questions done with PyTorch and transformers.

    python3 -m venv env && env/bin/pip install torch==2.9.0 'transformers>=5.3' numpy
    env/bin/python scripts/hf_squad2_reference.py --checkpoint DIR --train train.json \
        --dev dev.json --out DIR

Fine-tunes on a file in SQuAD 2.0's layout and answers another one. Windows to learn from are sampled
as this project does; the other rules are those of BERT's script for SQuAD 2.0:
https://github.com/google-research/bert/blob/eedf5716ce1268e56f0a50264a88cafad334ac61/run_squad.py

- An epoch learns from one window of every question, placed at random: one that holds the whole
  answer, or any where the question has none. For a quarter of the questions about paragraphs longer
  than a window it learns from one without the answer as well. Without an answer, start and end are
  at the first token.
- The null score of a question is the least sum of both logits of the first token over its windows.
- The best span is the one with the highest sum of start and end logit in one window, among spans of
  the paragraph of at most --max-answer characters.
- The null odds are the null score less that of the best span. The answer is "" where they are above
  --null-score-diff-threshold: a number, or "fit" for the one with the best exact match on dev.

It does without BERT's preference for the window in which a token has the most context, and answers
are slices of the paragraph.

DIR gets predictions.json, nbest.json (--n-best-size texts and "", as probabilities of one another),
null_odds.json and the model. Standard output gets a JSON line of figures for each of: "" to every
question, the best span to every question, the threshold 0, the one in use, and the ones that are
best on four fifths of dev, each on the last fifth.

With --epochs 0 it answers with the checkpoint as it is. Everything is seeded. The number of threads
is that of OMP_NUM_THREADS or --threads.
"""

import argparse
import json
import math
import random
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import torch

import squad2_metrics
from hf_reference import (
    QUESTION_TOKENS,
    Texts,
    add_computing_arguments,
    autocast,
    load_model,
    make_optimizer,
    make_scaler,
    take_step,
    window_around,
)

# One in so many questions about long paragraphs is learned from by a window without its answer.
WITHOUT_ANSWER = 4
# The least tokens of such a window.
SHORTEST_WITHOUT = 16


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--checkpoint", required=True)
    parser.add_argument("--train", type=Path, required=True)
    parser.add_argument("--dev", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--epochs", type=float, default=2)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--lr", type=float, default=1e-4)
    parser.add_argument("--length", type=int, default=384)
    parser.add_argument("--stride", type=int, default=128)
    parser.add_argument("--max-answer", type=int, default=40)
    parser.add_argument("--n-best-size", type=int, default=20)
    parser.add_argument(
        "--null-score-diff-threshold", type=threshold, default="fit", metavar="NUMBER|fit"
    )
    add_computing_arguments(parser)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int)
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    # Numbers close to 0 make some processors many times slower.
    torch.set_flush_denormal(True)
    random.seed(args.seed)
    model, texts = load_model(args), Texts(args)

    began = time.perf_counter()
    steps = fine_tune(args, model, texts, squad2_metrics.read(args.train))
    print(f"{steps} steps in {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
    args.out.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(args.out / "model")
    texts.tokenizer.save_pretrained(args.out / "model")

    questions = squad2_metrics.read(args.dev)
    best_spans, null_odds, nbest = answer_all(args, model, texts, questions)
    found = report(args, questions, best_spans, null_odds)
    for name, content in [("predictions", found), ("nbest", nbest), ("null_odds", null_odds)]:
        text = json.dumps(content, ensure_ascii=False, indent=4)
        (args.out / f"{name}.json").write_text(text + "\n", encoding="utf-8")


def threshold(text):
    return text if text == "fit" else float(text)


@dataclass
class Example:
    """A question to learn from, in tokens."""

    question_ids: list
    paragraph_ids: list
    # The first and the last token of the paragraph that have characters of the answer.
    answer: tuple | None
    # The most tokens of the paragraph in a window.
    room: int

    def row(self, first, last, answer=None):
        """The ids of the question and of a window, and the positions of start and end."""
        base = len(self.question_ids) + 2 - first
        start, end = (token + base for token in answer) if answer else (0, 0)
        window = self.paragraph_ids[first : min(last, first + self.room)]
        return self.question_ids, window, start, end

    def sampled_row(self):
        """A window that holds the whole answer, or any where there is none."""
        count = len(self.paragraph_ids)
        if self.answer:
            first = window_around(*self.answer, count, self.room)
        else:
            first = random.randint(0, max(0, count - self.room))
        return self.row(first, count, self.answer)

    def sides(self):
        """What stands before and after the answer, where it is long enough to teach something."""
        first, last = self.answer
        sides = [(0, first), (last + 1, len(self.paragraph_ids))]
        return [side for side in sides if side[1] - side[0] >= SHORTEST_WITHOUT]

    def row_without_answer(self):
        sides = self.sides()
        [(low, high)] = random.choices(sides, weights=[high - low for low, high in sides])
        return self.row(random.randint(low, max(low, high - self.room)), high)

    def has_row_without_answer(self):
        return bool(self.answer and len(self.paragraph_ids) > self.room and self.sides())


def examples(texts, questions):
    """Returns the questions to learn from. Those whose answer no window holds are left out."""
    found = []
    for question in questions:
        question_ids = question_tokens(texts, question)
        paragraph_ids, _ = texts.tokens(question.paragraph)
        answer, room = answer_tokens(texts, question), texts.room(question_ids)
        if not question.answers or (answer and answer[1] - answer[0] < room):
            found.append(Example(question_ids, paragraph_ids, answer, room))
    return found


def epoch_size(questions):
    long = sum(example.has_row_without_answer() for example in questions)
    return len(questions) + math.ceil(long / WITHOUT_ANSWER)


def epoch_rows(questions):
    """Returns question ids, window ids, and the positions of start and end, in a random order."""
    rows = [example.sampled_row() for example in questions]
    long = [example for example in questions if example.has_row_without_answer()]
    twice = random.sample(long, math.ceil(len(long) / WITHOUT_ANSWER))
    rows += [example.row_without_answer() for example in twice]
    random.shuffle(rows)
    return rows


def question_tokens(texts, question):
    return texts.tokens(question.text, QUESTION_TOKENS)[0]


def answer_tokens(texts, question):
    """The first and the last token of the paragraph that has characters of the first reference."""
    if not question.answers:
        return None
    start = question.answers[0]["answer_start"]
    end = start + len(question.answers[0]["text"])
    _, offsets = texts.tokens(question.paragraph)
    tokens = [index for index, (a, b) in enumerate(offsets) if a < end and b > start]
    return (tokens[0], tokens[-1]) if tokens else None


def fine_tune(args, model, texts, questions):
    """Trains in place and returns the number of steps."""
    questions = examples(texts, questions)
    steps = math.ceil(args.epochs * epoch_size(questions) / args.batch)
    if steps == 0:
        return steps
    optimizer, schedule = make_optimizer(model, args.lr, steps)
    scaler = make_scaler(args)
    model.train()
    rows = []
    for step in range(steps):
        rows = rows or epoch_rows(questions)
        batch, rows = rows[: args.batch], rows[args.batch :]
        inputs = texts.pad_with_labels(batch)
        loss = take_step(args, model, optimizer, schedule, scaler, inputs)
        if (step + 1) % 20 == 0:
            print(f"step {step + 1}/{steps} loss {loss:.3f}", file=sys.stderr, flush=True)
    return steps


@torch.inference_mode()
def answer_all(args, model, texts, questions):
    """Returns the best spans, the null odds and the n best texts of all questions, each by id."""
    model.eval()
    best_spans, null_odds, nbest = {}, {}, {}
    for question in questions:
        question_ids = question_tokens(texts, question)
        rows, offsets = texts.windows(question_ids, question.paragraph)
        with autocast(args):
            logits = model(**texts.pad(rows))
        starts = logits.start_logits.float().cpu()
        ends = logits.end_logits.float().cpu()
        null = null_entry(starts, ends)
        spans = span_entries(args, starts, ends, len(question_ids) + 2, offsets, question.paragraph)
        best_spans[question.id] = spans[0]["text"]
        null_odds[question.id] = total(null) - total(spans[0])
        nbest[question.id] = with_probabilities([*spans, null])
    return best_spans, null_odds, nbest


def null_entry(starts, ends):
    """The lowest null score of `[windows, tokens]` logits."""
    window = int((starts[:, 0] + ends[:, 0]).argmin())
    return entry("", starts[window, 0], ends[window, 0])


def span_entries(args, starts, ends, first, offsets, paragraph):
    """The texts of the spans that score highest, each at its best. `first` is the position of a
    window's first token, whose characters `offsets` has."""
    found = []
    for window, ranges in enumerate(offsets):
        if not ranges:
            continue
        low, high = torch.tensor(ranges).T
        lengths = high[None, :] - low[:, None]
        start = starts[window, first : first + len(ranges)]
        end = ends[window, first : first + len(ranges)]
        scores = start[:, None] + end[None, :]
        scores = scores.masked_fill((lengths <= 0) | (lengths > args.max_answer), -math.inf)
        values, cells = scores.flatten().topk(min(args.n_best_size, scores.numel()))
        for value, cell in zip(values.tolist(), cells.tolist()):
            if value > -math.inf:
                a, b = divmod(cell, len(ranges))
                text = paragraph[ranges[a][0] : ranges[b][1]]
                found.append(entry(text, start[a], end[b]))
    found.sort(key=total, reverse=True)
    by_text = {}
    for each in found:
        by_text.setdefault(each["text"], each)
    # As in BERT's script, where a window has no span.
    return list(by_text.values())[: args.n_best_size] or [entry("empty", 0.0, 0.0)]


def entry(text, start, end):
    return {"text": text, "start_logit": float(start), "end_logit": float(end)}


def total(entry):
    return entry["start_logit"] + entry["end_logit"]


def with_probabilities(entries):
    """The entries from the likeliest to the least likely, with the softmax of their scores."""
    entries = sorted(entries, key=total, reverse=True)
    shares = torch.tensor([total(each) for each in entries], dtype=torch.float64).softmax(0)
    return [{**each, "probability": share} for each, share in zip(entries, shares.tolist())]


def report(args, questions, best_spans, null_odds):
    """Prints figures and returns the answers at the threshold in use."""
    found = args.null_score_diff_threshold
    if found == "fit":
        found = squad2_metrics.best_threshold(questions, best_spans, null_odds)

    def at(threshold):
        return squad2_metrics.answers_at(threshold, best_spans, null_odds)

    held_out = squad2_metrics.answers_held_out(questions, best_spans, null_odds)
    rows = [
        ("always null", None, at(-math.inf)),
        ("always answer", None, at(math.inf)),
        ("threshold", 0.0, at(0.0)),
        ("threshold", found, at(found)),
        ("fitted, held out", None, held_out),
    ]
    for name, threshold, answers in rows:
        figures = {"answers": name, "null_score_diff_threshold": threshold}
        print(json.dumps(figures | squad2_metrics.figures(questions, answers)), flush=True)
    return rows[3][2]


if __name__ == "__main__":
    main()
