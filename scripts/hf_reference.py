#!/usr/bin/env python3
"""The work of this project done with PyTorch and transformers: what speed is measured against.

    python3 -m venv env && env/bin/pip install torch==2.9.0 transformers numpy
    env/bin/python scripts/hf_reference.py speed --checkpoint DIR --batch 8 --length 384 \
        [--precision bf16] [--device cuda]
    env/bin/python scripts/hf_reference.py score --checkpoint DIR --data DIR --out answers.csv

speed prints one JSON line: the median seconds of a training step (forward, backward, clipping,
AdamW) and of an evaluation pass, on random token ids of one shape, on a GPU with the most bytes in
tensors at once. `cargo xtask bench` runs it in turns with this project's.

score fine-tunes on DIR/train.json, prints the task exact match on DIR/dev.json and the seconds
taken, and writes answers for DIR/test.json. Files are in the course layout.

Everything is seeded. The number of threads is that of OMP_NUM_THREADS or --threads.
"""

import argparse
import csv
import json
import random
import statistics
import sys
import time
from pathlib import Path

import torch
from transformers import AutoModelForQuestionAnswering, AutoTokenizer
from transformers import get_linear_schedule_with_warmup

QUESTION_TOKENS = 60
SPECIAL_TOKENS = 3


def load_model(args):
    torch.manual_seed(args.seed)
    torch.backends.cuda.matmul.allow_tf32 = args.precision == "tf32"
    model = AutoModelForQuestionAnswering.from_pretrained(args.checkpoint, dtype=torch.float32)
    return model.to(args.device)


def make_optimizer(model, learning_rate, steps):
    """AdamW with a linear schedule; biases and layer norms are not decayed."""
    groups = {0.01: [], 0.0: []}
    for name, parameter in model.named_parameters():
        decays = not (name.endswith("bias") or "LayerNorm" in name)
        groups[0.01 if decays else 0.0].append(parameter)
    groups = [{"params": params, "weight_decay": decay} for decay, params in groups.items()]
    optimizer = torch.optim.AdamW(groups, lr=learning_rate, fused=True)
    return optimizer, get_linear_schedule_with_warmup(optimizer, int(0.1 * steps), steps)


def autocast(args):
    low = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(args.precision)
    return torch.autocast(args.device, low, enabled=low is not None)


def make_scaler(args):
    return torch.amp.GradScaler(args.device, enabled=args.precision == "fp16")


def take_step(args, model, optimizer, schedule, scaler, inputs):
    with autocast(args):
        loss = model(**inputs).loss
    scaler.scale(loss).backward()
    scaler.unscale_(optimizer)
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    scaler.step(optimizer)
    scaler.update()
    schedule.step()
    optimizer.zero_grad()
    return loss.item()


def speed(args):
    model = load_model(args)
    shape = (args.batch, args.length)
    ids = torch.randint(110, model.config.vocab_size, shape, device=args.device)
    types = torch.zeros_like(ids)
    types[:, 30:] = 1
    texts = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "token_type_ids": types}
    starts = torch.randint(40, args.length - 20, (args.batch,), device=args.device)
    answers = {"start_positions": starts, "end_positions": starts + 5}
    optimizer, schedule = make_optimizer(model, 3e-5, 1000)
    scaler = make_scaler(args)
    run = torch.compile(model) if args.compile else model

    def train():
        take_step(args, run, optimizer, schedule, scaler, {**texts, **answers})

    @torch.inference_mode()
    def evaluate():
        with autocast(args):
            run(**texts)

    def synchronize():
        if args.device == "cuda":
            torch.cuda.synchronize()

    def median(step):
        for _ in range(2):
            step()
        times = []
        for _ in range(args.repeats):
            synchronize()
            began = time.perf_counter()
            step()
            synchronize()
            times.append(time.perf_counter() - began)
        return statistics.median(times)

    model.train()
    train_seconds = median(train)
    peak = torch.cuda.max_memory_allocated() if args.device == "cuda" else None
    model.eval()
    figures = {
        "peer": "transformers",
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "precision": args.precision,
        "compile": args.compile,
        "batch": args.batch,
        "length": args.length,
        "train_step_s": train_seconds,
        "eval_step_s": median(evaluate),
        "train_peak_bytes": peak,
    }
    print(json.dumps(figures))


def window_around(start, end, tokens, room):
    """The first token of a window of `room` tokens, placed at random so that it has the tokens from
    start to end."""
    low, high = max(0, end - room + 1), min(start, max(0, tokens - room))
    return random.randint(low, high) if high >= low else low


class Texts:
    """Tokenizes texts and lays windows over paragraphs."""

    def __init__(self, args):
        self.args = args
        self.tokenizer = AutoTokenizer.from_pretrained(args.checkpoint)

    def tokens(self, text, limit=None):
        encoding = self.tokenizer(
            text, add_special_tokens=False, return_offsets_mapping=True
        )
        return encoding["input_ids"][:limit], encoding["offset_mapping"][:limit]

    def question(self, question):
        return self.tokens(question["question_text"], QUESTION_TOKENS)[0]

    def room(self, question_ids):
        return self.args.length - len(question_ids) - SPECIAL_TOKENS

    def training_row(self, question, paragraph):
        """Question ids, a window placed at random around the answer, and the answer's tokens."""
        question_ids = self.question(question)
        ids, offsets = self.tokens(paragraph)
        room = self.room(question_ids)

        def token_at(character):
            holds = (i for i, (a, b) in enumerate(offsets) if a <= character < b)
            return next(holds, None)

        start, end = token_at(question["answer_start"]), token_at(question["answer_end"])
        if start is None or end is None:
            return None
        first = window_around(start, end, len(ids), room)
        base = len(question_ids) + 2 - first
        return question_ids, ids[first : first + room], start + base, end + base

    def windows(self, question_ids, paragraph):
        """Rows of question ids and window ids, and the offsets of every window's tokens."""
        ids, offsets = self.tokens(paragraph)
        room = self.room(question_ids)
        rows, spans = [], []
        first = 0
        while True:
            rows.append((question_ids, ids[first : first + room]))
            spans.append(offsets[first : first + room])
            if first + room >= len(ids):
                return rows, spans
            first += self.args.stride

    def pad(self, rows):
        width = max(len(row[0]) + len(row[1]) + SPECIAL_TOKENS for row in rows)
        ids = torch.zeros(len(rows), width, dtype=torch.long)
        mask, types = torch.zeros_like(ids), torch.zeros_like(ids)
        first, separator = self.tokenizer.cls_token_id, self.tokenizer.sep_token_id
        for index, (question_ids, window_ids, *_) in enumerate(rows):
            row = [first, *question_ids, separator, *window_ids, separator]
            ids[index, : len(row)] = torch.tensor(row)
            mask[index, : len(row)] = 1
            types[index, len(question_ids) + 2 : len(row)] = 1
        inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}
        return {name: tensor.to(self.args.device) for name, tensor in inputs.items()}

    def pad_with_labels(self, rows):
        """Inputs of rows of question ids, window ids, and the positions of start and end."""
        inputs = self.pad(rows)
        for name, column in (("start_positions", 2), ("end_positions", 3)):
            labels = [row[column] for row in rows]
            inputs[name] = torch.tensor(labels, device=self.args.device)
        return inputs


def fine_tune(args, model, texts, data):
    """Trains in place and returns the number of steps."""
    paragraphs = data["paragraphs"]
    pairs = [(question, paragraphs[question["paragraph_id"]]) for question in data["questions"]]
    steps = int(args.epochs * len(pairs) / args.batch)
    optimizer, schedule = make_optimizer(model, args.lr, steps)
    scaler = make_scaler(args)
    model.train()
    step = 0
    while step < steps:
        random.shuffle(pairs)
        for first in range(0, len(pairs) - args.batch + 1, args.batch):
            rows = [texts.training_row(*pair) for pair in pairs[first : first + args.batch]]
            rows = [row for row in rows if row]
            inputs = texts.pad_with_labels(rows)
            loss = take_step(args, model, optimizer, schedule, scaler, inputs)
            step += 1
            if step % 20 == 0:
                print(f"step {step}/{steps} loss {loss:.3f}", file=sys.stderr, flush=True)
            if step >= steps:
                break
    return steps


@torch.inference_mode()
def answer(args, model, texts, question, paragraph):
    """The best span with start ≤ end of all windows."""
    question_ids = texts.question(question)
    rows, spans = texts.windows(question_ids, paragraph)
    with autocast(args):
        logits = model(**texts.pad(rows))
    best, text = -1e9, ""
    base = len(question_ids) + 2
    for index, offsets in enumerate(spans):
        count = len(offsets)
        starts = logits.start_logits[index, base : base + count].float().cpu()
        ends = logits.end_logits[index, base : base + count].float().cpu()
        allowed = torch.ones(count, count).triu() - torch.ones(count, count).triu(args.max_answer)
        scores = (starts[:, None] + ends[None, :]).masked_fill(allowed == 0, -1e9)
        cell = int(scores.argmax())
        score = float(scores.flatten()[cell])
        if score > best:
            start, end = divmod(cell, count)
            best, text = score, paragraph[offsets[start][0] : offsets[end][1]]
    return text


def without_commas(text):
    """Answers are compared as the task does."""
    return text.replace(",", "")


def score(args):
    random.seed(args.seed)
    model, texts = load_model(args), Texts(args)

    def read(name):
        return json.loads((Path(args.data) / name).read_text(encoding="utf-8"))

    def answers(data):
        paragraphs = data["paragraphs"]
        return [
            (question, answer(args, model, texts, question, paragraphs[question["paragraph_id"]]))
            for question in data["questions"]
        ]

    began = time.perf_counter()
    steps = fine_tune(args, model, texts, read("train.json"))
    train_seconds = time.perf_counter() - began
    model.eval()
    dev = answers(read("dev.json"))
    exact = sum(
        without_commas(question["answer_text"]) == without_commas(found) for question, found in dev
    )
    began = time.perf_counter()
    test = answers(read("test.json"))
    with open(args.out, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["ID", "Answer"])
        writer.writerows((question["id"], found) for question, found in test)
    figures = {
        "peer": "transformers",
        "dev_exact_match": exact / len(dev),
        "train_s": train_seconds,
        "test_predict_s": time.perf_counter() - began,
        "steps": steps,
    }
    print(json.dumps(figures))


def add_computing_arguments(parser):
    parser.add_argument("--precision", choices=["fp32", "tf32", "bf16", "fp16"], default="fp32")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    modes = parser.add_subparsers(dest="mode", required=True)
    speed_parser = modes.add_parser("speed")
    speed_parser.set_defaults(run=speed)
    speed_parser.add_argument("--batch", type=int, default=8)
    speed_parser.add_argument("--compile", action="store_true")
    speed_parser.add_argument("--repeats", type=int, default=5)
    score_parser = modes.add_parser("score")
    score_parser.set_defaults(run=score)
    score_parser.add_argument("--batch", type=int, default=16)
    score_parser.add_argument("--data", required=True)
    score_parser.add_argument("--out", required=True)
    score_parser.add_argument("--epochs", type=float, default=2)
    score_parser.add_argument("--lr", type=float, default=1e-4)
    score_parser.add_argument("--stride", type=int, default=128)
    score_parser.add_argument("--max-answer", type=int, default=40)
    for mode in (speed_parser, score_parser):
        mode.add_argument("--checkpoint", required=True)
        add_computing_arguments(mode)
        mode.add_argument("--length", type=int, default=384)
        mode.add_argument("--seed", type=int, default=0)
        mode.add_argument("--threads", type=int)
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    args.run(args)


if __name__ == "__main__":
    main()
