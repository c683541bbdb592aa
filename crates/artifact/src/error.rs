//! Errors that the person at the keyboard can fix, as opposed to ours.

use std::path::Path;

/// A mistake in the input, the settings or the environment. Programs end with exit code 2 on it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct UserError {
    /// A lowercase fragment without a final period, naming what was found and where.
    pub message: String,
    /// What to do about it, where there is a remedy.
    pub hint: Option<String>,
}

impl UserError {
    /// An error without a remedy of its own.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: None,
        }
    }

    /// Adds the remedy, printed on its own `hint:` line.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// The error of a file that is not what a stage has written.
pub fn damaged(path: &Path, what: &str) -> UserError {
    UserError::new(format!("{} is damaged: {what}", path.display()))
        .hint("remove its directory, and run the stage that wrote it again")
}
