//! The ensemble stage: members' predictions → one prediction of the same layout.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use spanwise_artifact::settings::{EnsembleMethod, EnsembleSettings};
use spanwise_artifact::{Draft, Job, Split, Stage, UserError, program};

fn main() -> ExitCode {
    program::main(Stage::Ensemble, run)
}

fn run(job: &Job, draft: &mut Draft) -> Result<()> {
    let EnsembleSettings {
        method: EnsembleMethod::Mean,
    } = job.settings()?;
    let members: Vec<&Path> = job
        .inputs
        .values()
        .map(|input| input.path.as_path())
        .collect();
    ensure!(
        !members.is_empty(),
        UserError::new("the ensemble stage needs at least one prediction")
    );
    for split in [Split::Dev, Split::Test] {
        spanwise_ensemble::combine(&members, split, draft.path())?;
    }
    Ok(())
}
