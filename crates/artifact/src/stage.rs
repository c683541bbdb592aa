//! The stages' names and format versions.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::named::named;

named! {
    /// One step of the pipeline, run by the program `spanwise-<stage>`. Each comes after everything
    /// it reads.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
    pub enum Stage {
        /// A source → a directory in Hugging Face layout.
        Checkpoint = "checkpoint",
        /// Input files → checked questions and paragraphs.
        Data = "data",
        /// Text → token ids, character ranges, evaluation windows.
        Windows = "windows",
        /// Windows and a checkpoint → a checkpoint adapted to the task's texts. Optional.
        Pretrain = "pretrain",
        /// Windows and a checkpoint → a fine-tuned model.
        Train = "train",
        /// Windows and a model → scores of each paragraph character.
        Predict = "predict",
        /// The scores of several members → one.
        Ensemble = "ensemble",
        /// Scores → answers, submission, metrics and report.
        Answers = "answers",
    }
}

impl Stage {
    /// Version of the stage's file layout. Raise it when the layout changes: older artifacts are
    /// then rebuilt and never misread.
    pub fn format_version(self) -> u32 {
        match self {
            Stage::Windows => 5,
            Stage::Data | Stage::Answers => 4,
            Stage::Ensemble => 3,
            Stage::Checkpoint | Stage::Predict => 2,
            _ => 1,
        }
    }

    /// Whether it computes with a model, on a device.
    pub fn takes_device(self) -> bool {
        matches!(self, Stage::Pretrain | Stage::Train | Stage::Predict)
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_in_files() {
        for stage in Stage::ALL {
            let name = stage.name();
            assert_eq!(serde_json::to_value(stage).unwrap(), name);
            assert_eq!(serde_json::from_value::<Stage>(name.into()).unwrap(), stage);
            assert_eq!(Stage::from_name(name), Some(stage));
        }
        assert_eq!(Stage::from_name("Train"), None);
    }

    #[test]
    fn stages_are_in_the_order_they_run() {
        assert!(Stage::ALL.is_sorted());
        assert_eq!(
            (Stage::ALL[0], Stage::ALL[7]),
            (Stage::Checkpoint, Stage::Answers)
        );
    }
}
