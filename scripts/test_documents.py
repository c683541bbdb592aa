"""Tests of the documents: `python3 -m unittest discover scripts`.

Links lead somewhere, nothing points outside the repository, the pipelines and scripts that are
named exist, and every paper that is cited is in docs/references.md.
"""

import re
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
README_LINES = 160

# "(Guo et al., 2017)", "(Loshchilov & Hutter, 2019)", "(R-Drop; Liang et al., 2021)"
CITATION = re.compile(r"(\w+ et al\.|(?:[A-Z]\w+, )*[A-Z]\w+ & [A-Z]\w+),? \(?((?:19|20)\d\d)\b")
LINK = re.compile(r"(?:\]\(|<img src=\")([^)\s\"]+)")


def documents():
    return [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]


def sources():
    for folder in ("crates", "xtask"):
        for pattern in ("*.rs", "*.cpp", "*.h"):
            yield from sorted((ROOT / folder).rglob(pattern))


def anchors(text):
    """The anchors that GitHub makes of the headings."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings}


def comments(path):
    """The comments of a source file, each block as one line."""
    lines = re.findall(r"^\s*//[/!]? ?(.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return " ".join(lines)


class DocumentsTest(unittest.TestCase):
    def each(self, check):
        for path in documents():
            with self.subTest(document=path.relative_to(ROOT)):
                check(path, path.read_text(encoding="utf-8"))

    def test_links_lead_somewhere(self):
        def check(path, text):
            for link in LINK.findall(text):
                if re.match(r"https?://", link):
                    continue
                file, _, anchor = link.partition("#")
                target = path.parent / file if file else path
                self.assertTrue(target.exists(), f"there is no {link}")
                if anchor:
                    self.assertIn(anchor, anchors(target.read_text(encoding="utf-8")))

        self.each(check)

    def test_commands_stay_inside_the_repository(self):
        def check(path, text):
            commands = re.findall(r"^ {4}.*$", text, re.MULTILINE)
            self.assertEqual([command for command in commands if "../" in command], [])

        self.each(check)

    def test_named_pipelines_scripts_and_sources_exist(self):
        folders = r"\b(?:pipelines|scripts|docs|crates|xtask)/"
        named = re.compile(folders + r"[\w\-./]+\.(?:toml|py|md|rs)")

        def check(path, text):
            for name in named.findall(text):
                if not name.endswith("/mine.toml"):
                    self.assertTrue((ROOT / name).exists(), f"there is no {name}")

        self.each(check)

    def test_readme_has_the_model_cards_lines_of_python(self):
        readme = (ROOT / "README.md").read_text(encoding="utf-8")
        lines = (ROOT / "crates/train/src/model_card.py").read_text(encoding="utf-8")
        self.assertIn("path/to/this/directory", lines)
        lines = lines.replace("path/to/this/directory", "runs/demo/train")
        self.assertIn(f"```python\n{lines}```\n", readme)

    def test_readme_is_short(self):
        lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
        self.assertLessEqual(len(lines), README_LINES)


class ReferencesTest(unittest.TestCase):
    def test_every_cited_paper_is_listed(self):
        listed = (ROOT / "docs" / "references.md").read_text(encoding="utf-8")
        listed = set(re.findall(r"\*\*(.+?), (\d{4})[ab]?\.\*\*", listed))
        self.assertTrue(listed)
        cited = {
            (str(path.relative_to(ROOT)), *citation)
            for path in sources()
            for citation in CITATION.findall(comments(path))
        }
        self.assertTrue(cited)
        self.assertEqual({each for each in cited if each[1:] not in listed}, set())


if __name__ == "__main__":
    unittest.main()
