"""Which operators of a trace are counted."""

import unittest

import count_operators


def event(name, start, duration, thread=1, category="cpu_op", phase="X"):
    return {
        "name": name, "ts": start, "dur": duration, "tid": thread, "cat": category, "ph": phase
    }


class Counting(unittest.TestCase):
    def test_counts_what_computes_once(self):
        events = [
            event("aten::mm", 12, 5),  # of the backward pass around it
            event("autograd::engine::evaluate_function: MmBackward0", 11, 9),
            event("aten::linear", 0, 10),
            event("aten::addmm", 0, 8),  # as early as the one that calls it
            event("aten::view", 30, 1),
            event("aten::add", 5, 1, thread=2),  # beside the other thread's
            event("aten::add", 40, 1, category="kernel"),
            event("aten::add", 41, 1, phase="i"),
        ]
        found = count_operators.operators(events)
        self.assertEqual(found, {"linear": 1, "mm": 1, "add": 1})


if __name__ == "__main__":
    unittest.main()
