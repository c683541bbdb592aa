//! The stages' names and format versions.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One step of the pipeline, run by the program `spanwise-<stage>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// A source → a Hugging Face layout directory.
    Checkpoint,
    /// JSON files → checked questions and paragraphs.
    Data,
    /// Text → token ids, character ranges, evaluation windows.
    Windows,
    /// Windows and a checkpoint → the checkpoint, more at home in these texts. Optional.
    Pretrain,
    /// Windows and a checkpoint → a fine-tuned model.
    Train,
    /// Windows and a model → scores per paragraph character.
    Predict,
    /// Several members' scores → one.
    Ensemble,
    /// Scores → answers, submission, metrics and report.
    Answers,
}

impl Stage {
    /// All stages, each after everything it reads.
    pub const ALL: [Stage; 8] = [
        Stage::Checkpoint,
        Stage::Data,
        Stage::Windows,
        Stage::Pretrain,
        Stage::Train,
        Stage::Predict,
        Stage::Ensemble,
        Stage::Answers,
    ];

    /// The name used in pipeline files, folders and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Stage::Checkpoint => "checkpoint",
            Stage::Data => "data",
            Stage::Windows => "windows",
            Stage::Pretrain => "pretrain",
            Stage::Train => "train",
            Stage::Predict => "predict",
            Stage::Ensemble => "ensemble",
            Stage::Answers => "answers",
        }
    }

    /// The stage of that name.
    pub fn from_name(name: &str) -> Option<Stage> {
        Self::ALL.into_iter().find(|stage| stage.name() == name)
    }

    /// Version of the stage's file layout. Raise it when the layout changes: older artifacts are then
    /// rebuilt and never misread.
    pub fn format_version(self) -> u32 {
        match self {
            Stage::Windows | Stage::Ensemble => 2,
            _ => 1,
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
