//! Questions that several splits have: what is measured on them was trained on, or fitted on.

use std::sync::Arc;

use spanwise_artifact::{Paragraph, Split};

use crate::input::shown;

/// Knows the questions of the splits so far, each with its paragraph, by eight bytes.
#[derive(Default)]
pub struct Repeated {
    /// Digests of the questions of each earlier split, ascending.
    earlier: Vec<(Split, Vec<u64>)>,
    /// Digests of this split's questions.
    current: Vec<u64>,
    /// For each earlier split, how many of this split's questions it has, and the first one's id.
    found: Vec<(usize, String)>,
    /// The last paragraph and its digest.
    paragraph: Option<(Arc<Paragraph>, blake3::Hash)>,
}

impl Repeated {
    /// Goes on with the next question of a split. Returns whether an earlier split has it.
    pub fn see(&mut self, id: &str, question: &str, paragraph: &Arc<Paragraph>) -> bool {
        let digest = match self.paragraph.take() {
            Some((last, digest)) if Arc::ptr_eq(&last, paragraph) => digest,
            _ => blake3::hash(paragraph.text.as_bytes()),
        };
        self.paragraph = Some((Arc::clone(paragraph), digest));
        let mut hasher = blake3::Hasher::new();
        hasher.update(digest.as_bytes()).update(question.as_bytes());
        let bytes = *hasher.finalize().as_bytes();
        let digest = u64::from_le_bytes(std::array::from_fn(|index| bytes[index]));
        self.current.push(digest);

        self.found.resize(self.earlier.len(), Default::default());
        let has = |(_, known): &(Split, Vec<u64>)| known.binary_search(&digest).is_ok();
        let Some(index) = self.earlier.iter().position(has) else {
            return false;
        };
        let (count, first) = &mut self.found[index];
        *count += 1;
        if *count == 1 {
            id.clone_into(first);
        }
        true
    }

    /// Ends a split. Returns a sentence for each earlier split that has some of its questions.
    pub fn end(&mut self, split: Split) -> Vec<String> {
        let mut known = std::mem::take(&mut self.current);
        let all = known.len();
        let found = std::mem::take(&mut self.found);
        let found = self.earlier.iter().zip(found);
        let sentence = |((earlier, _), (count, id)): (&(Split, _), (usize, String))| {
            let (split, earlier) = (split.name(), earlier.name());
            (count > 0).then(|| {
                format!(
                    "{split}: {count} of {all} questions are in {earlier} too, about the same \
                     paragraph, such as {}: the score on {split} includes them",
                    shown(&id)
                )
            })
        };
        let sentences = found.filter_map(sentence).collect();
        known.sort_unstable();
        self.earlier.push((split, known));
        sentences
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_of_earlier_splits_are_counted() {
        let mut repeated = Repeated::default();
        let mut check = |split, questions: &[(&str, &str, &str)], expected: &[&str]| {
            for (id, question, text) in questions {
                let paragraph = Arc::new(Paragraph {
                    text: (*text).to_owned(),
                    article: None,
                });
                repeated.see(id, question, &paragraph);
                repeated.paragraph = Some((paragraph, blake3::hash(text.as_bytes())));
            }
            assert_eq!(repeated.end(split), expected);
        };
        check(
            Split::Train,
            &[("1", "a", "p"), ("2", "b", "p"), ("3", "b", "p")],
            &[],
        );
        check(
            Split::Dev,
            &[
                ("1", "a", "q"),
                ("2", "ap", ""),
                ("\u{1b}", "b", "p"),
                ("4", "a", "p"),
            ],
            &[
                "dev: 2 of 4 questions are in train too, about the same paragraph, such as \
                 \"\\u{1b}\": the score on dev includes them",
            ],
        );
        check(
            Split::Test,
            &[("5", "a", "q"), ("6", "b", "p"), ("7", "c", "p")],
            &[
                "test: 1 of 3 questions are in train too, about the same paragraph, such as 6: the \
                 score on test includes them",
                "test: 1 of 3 questions are in dev too, about the same paragraph, such as 5: the \
                 score on test includes them",
            ],
        );
    }
}
