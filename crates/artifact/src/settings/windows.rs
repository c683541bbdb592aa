//! What `[windows]` may hold.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Checks, Placement, Problem, Settings};

/// How paragraphs longer than the model's input are cut into windows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct WindowsTable {
    /// Longest model input in tokens, with the question and special tokens.
    #[schemars(range(min = 1, max = 100_000))]
    pub max_length: usize,
    /// Longest question in tokens; longer ones are truncated.
    #[schemars(range(min = 1, max = 100_000))]
    pub max_question_length: usize,
    /// Distance between the starts of neighbouring evaluation windows in tokens, as `doc_stride` in
    /// BERT's `run_squad.py`. It is not the overlap of windows, which is what the `stride` of
    /// Hugging Face tokenizers means.
    #[schemars(range(min = 1))]
    pub stride: usize,
    /// Where a training window lies around its answer.
    pub placement: Placement,
}

impl Default for WindowsTable {
    fn default() -> Self {
        Self {
            max_length: 384,
            max_question_length: 60,
            stride: 128,
            placement: Placement::Random,
        }
    }
}

/// The fewest special tokens around question and paragraph; RoBERTa's tokenizers have one more.
const SPECIAL_TOKENS: usize = 3;

impl Settings for WindowsTable {
    fn problems(&self) -> Vec<Problem> {
        let mut checks = Checks::of("windows", self);
        let beside_paragraph = self.max_question_length.saturating_add(SPECIAL_TOKENS);
        checks.require(
            self.max_length > beside_paragraph,
            "max_length",
            self.max_length,
            &format!(
                "must be more than {beside_paragraph}, which are max_question_length and \
                 {SPECIAL_TOKENS} special tokens"
            ),
        );
        let room = self.max_length.saturating_sub(beside_paragraph).max(1);
        checks.require(
            self.stride <= room,
            "stride",
            self.stride,
            &format!(
                "must be at most {room}, the paragraph tokens in a window beside the longest question: \
                 a longer stride skips tokens"
            ),
        );
        checks.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_a_stride_that_skips_tokens() {
        let check = |stride, expected: &[&str]| {
            let settings = WindowsTable {
                max_length: 193,
                max_question_length: 40,
                stride,
                ..WindowsTable::default()
            };
            let problems = settings.problems();
            let found: Vec<&str> = problems.iter().map(|problem| &*problem.key).collect();
            assert_eq!(found, expected);
        };
        check(150, &[]);
        check(151, &["windows.stride"]);
        check(0, &["windows.stride"]);
        check(usize::MAX, &["windows.stride"]);
    }
}
