#!/usr/bin/env python3
"""How many of libtorch's operators a traced training step calls, and which ones most often.

    target/debug/spanwise-bench --checkpoint DIR --train-only --trace step.json
    python3 scripts/count_operators.py step.json

Counted are operators that compute: those that another one calls are part of it, and views, and
memory without values, cost next to nothing. Kernels of this project are not libtorch's operators and
do not show. Python's standard library is all it needs.
"""

import argparse
import json
from collections import Counter
from pathlib import Path

# What computes nothing.
VIEWS = {
    *("alias", "as_strided", "broadcast_to", "chunk", "contiguous", "detach", "detach_", "empty"),
    *("empty_like", "empty_strided", "expand", "flatten", "item", "lift_fresh", "narrow", "permute"),
    *("reshape", "resolve_conj", "resolve_neg", "select", "slice", "split", "squeeze", "swapaxes"),
    *("swapdims", "t", "to", "transpose", "unbind", "unsqueeze", "view", "view_as"),
}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("traces", type=Path, nargs="+")
    parser.add_argument("--most", type=int, default=12, help="names to print")
    args = parser.parse_args()
    for path in args.traces:
        counts = operators(json.loads(path.read_text(encoding="utf-8"))["traceEvents"])
        most = ", ".join(f"{name} {count}" for name, count in counts.most_common(args.most))
        print(f"{path}: {counts.total()} operators: {most}")


def operators(events):
    """Counts the outermost operators that compute, by name."""
    events = [
        event
        for event in events
        if event.get("ph") == "X"
        and event.get("cat") == "cpu_op"
        and event["name"].startswith("aten::")
    ]
    # An outer operator starts first, or as early and takes longer.
    events.sort(key=lambda event: (event["tid"], event["ts"], -event["dur"]))
    counts, thread, end = Counter(), None, 0
    for event in events:
        if event["tid"] == thread and event["ts"] < end:
            continue
        thread, end = event["tid"], event["ts"] + event["dur"]
        name = event["name"].removeprefix("aten::")
        if name not in VIEWS:
            counts[name] += 1
    return counts


if __name__ == "__main__":
    main()
