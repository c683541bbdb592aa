//! What `[windows]` may hold.

use serde::{Deserialize, Serialize};

use super::{Checks, Placement, Problem};

/// `[windows]`: how paragraphs longer than the model's input are cut.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WindowsSettings {
    /// Longest model input in tokens, question and specials included.
    pub max_length: usize,
    /// Questions are cut to this many tokens.
    pub max_question_length: usize,
    /// Distance between the starts of evaluation windows, in tokens.
    pub stride: usize,
    /// Where a training window lies around its answer.
    pub placement: Placement,
}

impl Default for WindowsSettings {
    fn default() -> Self {
        Self {
            max_length: 384,
            max_question_length: 60,
            stride: 128,
            placement: Placement::Random,
        }
    }
}

impl WindowsSettings {
    /// Values out of bounds.
    pub fn problems(&self) -> Vec<Problem> {
        let mut checks = Checks("windows", Vec::new());
        checks.require(
            self.max_question_length >= 1,
            "max_question_length",
            self.max_question_length,
            "1 or more tokens",
        );
        checks.require(
            self.max_length > self.max_question_length + 3,
            "max_length",
            self.max_length,
            "more tokens than max_question_length + 3 specials",
        );
        let room = self.max_length.saturating_sub(self.max_question_length + 3);
        checks.require(
            (1..=room.max(1)).contains(&self.stride),
            "stride",
            self.stride,
            &format!("1 to {room} (max_length - max_question_length - 3 specials): a longer stride skips tokens"),
        );
        checks.1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stride_that_skips_tokens_is_refused() {
        let settings = |stride| WindowsSettings {
            max_length: 193,
            max_question_length: 40,
            stride,
            ..Default::default()
        };
        assert_eq!(settings(150).problems(), []);
        assert_eq!(settings(151).problems()[0].key, "windows.stride");
        assert_eq!(settings(0).problems()[0].key, "windows.stride");
    }
}
