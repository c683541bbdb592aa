//! What two splits have in common: what is measured on it was trained on, or fitted on.

use std::collections::BTreeMap;

use serde::Serialize;
use spanwise_artifact::Split;
use spanwise_artifact::settings::DataTable;
use spanwise_data::input::shown;

use super::of_splits;

/// A split's texts, known by eight bytes each.
#[derive(Debug, Default)]
pub(super) struct Texts {
    /// Digests of the questions, each with its paragraph; ascending once all are there.
    questions: Vec<u64>,
    /// Digests of the paragraphs and their number of questions; ascending, equal ones as one, once
    /// all are there.
    paragraphs: Vec<(u64, u32)>,
}

/// What two splits have in common.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Shared {
    /// The split that comes first: train before dev before test.
    pub(super) first: &'static str,
    pub(super) second: &'static str,
    /// Questions of the second split that the first has too, about the same paragraph.
    pub(super) questions: usize,
    /// Different paragraphs that both splits have.
    pub(super) paragraphs: usize,
    /// Questions of the second split that are about these paragraphs.
    pub(super) questions_about_paragraphs: usize,
    /// Files of the two that are the same, byte for byte.
    pub(super) files: Vec<[String; 2]>,
}

impl Shared {
    /// Whether they have nothing in common.
    pub(super) fn is_nothing(&self) -> bool {
        self.questions == 0 && self.paragraphs == 0 && self.files.is_empty()
    }
}

impl Texts {
    /// Goes on with the next paragraph.
    pub(super) fn push_paragraph(&mut self, text: &str) {
        self.paragraphs.push((digest(&[text.as_bytes()]), 0));
    }

    /// Goes on with the next question, which is about the paragraph of this index; `None` if there
    /// is no such paragraph.
    pub(super) fn push_question(&mut self, text: &str, paragraph: usize) -> Option<()> {
        let (paragraph, questions) = self.paragraphs.get_mut(paragraph)?;
        *questions += 1;
        let question = digest(&[&paragraph.to_le_bytes(), text.as_bytes()]);
        self.questions.push(question);
        Some(())
    }

    /// Ends the split.
    pub(super) fn finish(&mut self) {
        self.questions.sort_unstable();
        self.paragraphs.sort_unstable();
        self.paragraphs.dedup_by(|next, first| {
            let is_same = next.0 == first.0;
            first.1 += if is_same { next.1 } else { 0 };
            is_same
        });
    }

    /// Questions that are there more than once, but for the first.
    pub(super) fn repeated_questions(&self) -> usize {
        let pairs = self.questions.windows(2);
        pairs.filter(|pair| pair[0] == pair[1]).count()
    }

    /// Questions of `later` that are here too; paragraphs, and its questions about these.
    fn shared(&self, later: &Self) -> (usize, usize, usize) {
        let questions = later.questions.iter();
        let questions = questions.filter(|digest| self.questions.binary_search(digest).is_ok());
        let is_here = |digest: &u64| {
            let found = self
                .paragraphs
                .binary_search_by_key(digest, |(digest, _)| *digest);
            found.is_ok()
        };
        let both = later.paragraphs.iter();
        let both: Vec<usize> = both
            .filter(|(digest, _)| is_here(digest))
            .map(|&(_, questions)| questions as usize)
            .collect();
        (questions.count(), both.len(), both.iter().sum())
    }
}

/// The first eight bytes of a digest.
fn digest(parts: &[&[u8]]) -> u64 {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(part);
    }
    let bytes = *hasher.finalize().as_bytes();
    u64::from_le_bytes(std::array::from_fn(|index| bytes[index]))
}

/// What every two splits have in common. `digests`: of the files, by their roles in the data stage's
/// job.
pub(super) fn of(
    texts: &[(Split, Texts)],
    data: &DataTable,
    digests: &BTreeMap<String, String>,
) -> Vec<Shared> {
    let mut all = Vec::new();
    for (index, (second, later)) in texts.iter().enumerate() {
        for (first, earlier) in &texts[..index] {
            let (questions, paragraphs, questions_about_paragraphs) = earlier.shared(later);
            all.push(Shared {
                first: first.name(),
                second: second.name(),
                questions,
                paragraphs,
                questions_about_paragraphs,
                files: same_files(*first, *second, data, digests),
            });
        }
    }
    all
}

/// Files of two splits that are the same.
fn same_files(
    first: Split,
    second: Split,
    data: &DataTable,
    digests: &BTreeMap<String, String>,
) -> Vec<[String; 2]> {
    let files = |wanted: Split| {
        let mut splits = of_splits(data).into_iter();
        let of_split = splits.find(|(split, _)| *split == wanted);
        let names = of_split.map_or(&[][..], |(_, files)| files);
        let digest =
            move |index: usize| digests.get(&format!("{}.{index}", wanted.name())).cloned();
        let names = names.iter().enumerate();
        names.map(move |(index, name)| (shown(name), digest(index)))
    };
    let mut same = Vec::new();
    for (one, digest) in files(first) {
        let others = files(second).filter(|(_, other)| digest.is_some() && *other == digest);
        same.extend(others.map(|(other, _)| [one.clone(), other]));
    }
    same
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Paragraphs, and questions each about the paragraph of an index.
    fn texts(paragraphs: &[&str], questions: &[(&str, usize)]) -> Texts {
        let mut texts = Texts::default();
        for text in paragraphs {
            texts.push_paragraph(text);
        }
        for (text, paragraph) in questions {
            texts.push_question(text, *paragraph).unwrap();
        }
        texts.finish();
        texts
    }

    #[test]
    fn the_same_question_is_about_the_same_paragraph() {
        let train = texts(&["p", "q", "p"], &[("a", 0), ("b", 1), ("a", 2), ("a", 0)]);
        assert_eq!(train.repeated_questions(), 2);
        let check = |paragraphs: &[&str], questions: &[(&str, usize)], expected| {
            assert_eq!(train.shared(&texts(paragraphs, questions)), expected);
        };
        check(&[], &[], (0, 0, 0));
        check(&["r"], &[("a", 0)], (0, 0, 0));
        check(&["q"], &[("a", 0)], (0, 1, 1));
        check(&["q", "p"], &[("b", 0), ("a", 1), ("c", 1)], (2, 2, 3));
        // A paragraph that is there twice is one, and has the questions of both.
        check(&["p", "p"], &[("c", 0), ("a", 1)], (1, 1, 2));
        assert_eq!(Texts::default().push_question("a", 0), None);
    }

    #[test]
    fn files_are_the_same_by_content() {
        let data = DataTable {
            train: vec!["a.json".to_owned(), "b.json".to_owned()],
            dev: vec!["c.json".to_owned()],
            ..DataTable::default()
        };
        let digests = [("train.0", "1"), ("train.1", "2"), ("dev.0", "2")];
        let digests = digests.map(|(role, digest)| (role.to_owned(), digest.to_owned()));
        let splits = [Split::Train, Split::Dev].map(|split| (split, Texts::default()));
        let found = of(&splits, &data, &BTreeMap::from(digests));
        let expected = [["b.json".to_owned(), "c.json".to_owned()]];
        assert_eq!((found.len(), &*found[0].files), (1, &expected[..]));
        assert!(!found[0].is_nothing());
    }
}
