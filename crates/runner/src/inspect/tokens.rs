//! The numbers of a split's tokens and windows.

use std::ops::Range;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use spanwise_artifact::Split;
use spanwise_artifact::windows::{WindowCounts, WindowFile};
use spanwise_program::signals;

use super::lengths::{Distribution, Lengths};
use super::measure::TextLengths;

/// What the tokens of a split show.
#[derive(Debug, Default, Serialize)]
pub(super) struct TokenNumbers {
    #[serde(flatten)]
    pub(super) counts: WindowCounts,
    /// Paragraphs of whose tokens the vocabulary lacks at least half.
    pub(super) paragraphs_mostly_unknown: usize,
    /// Lengths in tokens; a question's once it is cut.
    pub(super) lengths: TextLengths,
    pub(super) windows_per_question: Distribution,
}

/// A split of a windows artifact.
pub(super) struct SplitTokens {
    file: WindowFile,
    counts: WindowCounts,
    /// The token of what the vocabulary lacks.
    unknown: Option<u32>,
}

/// The tokens of one question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct QuestionTokens {
    /// Number of tokens of the question, once it is cut.
    pub(super) question: usize,
    /// The characters of every token of the paragraph, and whether the vocabulary lacks it.
    pub(super) paragraph: Vec<(Range<usize>, bool)>,
}

impl SplitTokens {
    /// Opens a split of the artifact `directory`; `None` where it has none.
    pub(super) fn open(
        directory: &Path,
        split: Split,
        counts: WindowCounts,
        unknown: Option<u32>,
    ) -> Result<Option<Self>> {
        let file = WindowFile::open(directory, split)?;
        Ok(file.map(|file| Self {
            file,
            counts,
            unknown,
        }))
    }

    /// The tokens of the question with this index.
    pub(super) fn of(&self, question: usize) -> QuestionTokens {
        let tokens = self.file.paragraph_tokens(question).iter().enumerate();
        QuestionTokens {
            question: self.file.question_tokens(question).len(),
            paragraph: tokens
                .map(|(token, &id)| {
                    let characters = self.file.characters(question, token);
                    (characters, Some(id) == self.unknown)
                })
                .collect(),
        }
    }

    /// Counts all of them.
    pub(super) fn numbers(&self) -> Result<TokenNumbers> {
        let mut numbers = TokenNumbers {
            counts: self.counts,
            ..TokenNumbers::default()
        };
        let mut lengths = Lengths::default();
        for tokens in self.file.paragraphs() {
            signals::check("")?;
            lengths.add(tokens.len());
            let unknown = tokens.iter().filter(|&&id| Some(id) == self.unknown);
            let is_mostly = !tokens.is_empty() && 2 * unknown.count() >= tokens.len();
            numbers.paragraphs_mostly_unknown += usize::from(is_mostly);
        }
        numbers.lengths.paragraphs = lengths.finish();

        let (mut lengths, mut answers) = (Lengths::default(), Lengths::default());
        for question in 0..self.file.questions() {
            lengths.add(self.file.question_tokens(question).len());
            if let Some(answer) = self.file.answer(question) {
                answers.add(answer.len());
            }
        }
        numbers.lengths.questions = lengths.finish();
        numbers.lengths.answers = answers.finish();

        let mut windows = Lengths::default();
        // They are in the order of their questions.
        let mut all = self.file.evaluation_windows().peekable();
        while let Some(window) = all.next() {
            let mut count = 1;
            while all
                .next_if(|next| next.question == window.question)
                .is_some()
            {
                count += 1;
            }
            windows.add(count);
        }
        numbers.windows_per_question = windows.finish();
        Ok(numbers)
    }
}

/// What of `tokenizer.json` says which token is the unknown one.
#[derive(Deserialize)]
struct TokenizerFile {
    #[serde(default)]
    added_tokens: Vec<AddedToken>,
    model: ModelPart,
}

#[derive(Deserialize)]
struct AddedToken {
    id: u32,
    content: String,
}

#[derive(Deserialize)]
struct ModelPart {
    /// Of WordPiece, WordLevel and BPE.
    unk_token: Option<String>,
    /// Of Unigram.
    unk_id: Option<u32>,
}

/// The id of the token that stands for what the vocabulary lacks; `None` where nothing does, as with
/// byte-level tokenizers.
pub(super) fn unknown_id(tokenizer: &Path) -> Result<Option<u32>> {
    let text = fs_err::read_to_string(tokenizer)?;
    let read = || format!("read {}", tokenizer.display());
    let file: TokenizerFile = serde_json::from_str(&text).with_context(read)?;
    let Some(unknown) = file.model.unk_token else {
        return Ok(file.model.unk_id);
    };
    let mut added = file.added_tokens.iter();
    if let Some(token) = added.find(|token| token.content == unknown) {
        return Ok(Some(token.id));
    }
    // Seldom is it no special token, and the whole vocabulary has to be read.
    let file: Value = serde_json::from_str(&text).with_context(read)?;
    let id = &file["model"]["vocab"][&unknown];
    Ok(id.as_u64().and_then(|id| u32::try_from(id).ok()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_unknown_token_is_found() -> Result<()> {
        let file = tempfile::NamedTempFile::new()?;
        let check = |tokenizer: Value, expected: Option<u32>| -> Result<()> {
            fs_err::write(file.path(), tokenizer.to_string())?;
            assert_eq!(unknown_id(file.path())?, expected, "{tokenizer}");
            Ok(())
        };
        let added = json!([{"id": 7, "content": "[PAD]"}, {"id": 1, "content": "[UNK]"}]);
        let vocabulary = json!({"a": 0, "[UNK]": 1});
        let piece = json!({"type": "WordPiece", "unk_token": "[UNK]", "vocab": vocabulary});
        check(json!({"added_tokens": added, "model": piece}), Some(1))?;
        check(json!({"added_tokens": [], "model": piece}), Some(1))?;
        check(json!({"model": {"unk_token": "?", "vocab": {}}}), None)?;
        check(
            json!({"model": {"type": "BPE", "unk_token": null, "vocab": {"a": 0}}}),
            None,
        )?;
        let unigram = json!({"type": "Unigram", "unk_id": 3, "vocab": [["<s>", 0.0]]});
        check(
            json!({"added_tokens": added, "model": unigram.clone()}),
            Some(3),
        )?;
        fs_err::write(file.path(), "{")?;
        assert!(unknown_id(file.path()).is_err());
        Ok(())
    }
}
