//! A pipeline of seconds.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use fs_err as fs;
use serde_json::{Value, json};

/// A pipeline in a directory of its own, which its artifacts and runs go to as well unless
/// [`Pipeline::output`] says otherwise.
pub(crate) struct Pipeline {
    pub(crate) directory: tempfile::TempDir,
    /// Where artifacts and runs go.
    pub(crate) output: PathBuf,
}

/// The checkout.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask lies in the workspace")
}

/// One paragraph and one question per text; the answer is characters 2 and 3.
pub(crate) fn data(texts: &[&str], answered: bool) -> Value {
    let question = |(index, text): (usize, &&str)| {
        let answer: String = text.chars().skip(2).take(2).collect();
        let value = |value: Value| if answered { value } else { Value::Null };
        json!({
            "id": index, "paragraph_id": index, "question_text": "什麼?",
            "answer_text": value(json!(answer)), "answer_start": value(json!(2)), "answer_end": value(json!(3)),
        })
    };
    json!({"questions": texts.iter().enumerate().map(question).collect::<Vec<_>>(), "paragraphs": texts})
}

impl Pipeline {
    pub(crate) fn new(name: &str) -> Self {
        let directory = tempfile::Builder::new().prefix(name).tempdir().unwrap();
        let path = |file: &str| directory.path().join(file);
        fs::create_dir(path("checkpoint")).unwrap();
        let fixture = root().join("crates/model/tests/fixtures/tiny-bert");
        for file in ["config.json", "model.safetensors"] {
            fs::copy(fixture.join(file), path("checkpoint").join(file)).unwrap();
        }
        // As many tokens as the tiny model has rows.
        let special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"].map(str::to_owned);
        let characters = ('\u{4e00}'..).take(195).map(String::from);
        let vocabulary: Vec<String> = special.into_iter().chain(characters).collect();
        fs::write(path("checkpoint/vocab.txt"), vocabulary.join("\n")).unwrap();

        let output = directory.path().to_owned();
        let pipeline = Self { directory, output };
        pipeline.write(
            "train.json",
            &data(
                &["一丁丂七丄丅丆", "万丈三上下丌不", "与丏丐丑丒专且"],
                true,
            ),
        );
        pipeline.write(
            "dev.json",
            &data(&["丕世丗丘丙业丛", "东丝丞丟丠両丢"], true),
        );
        pipeline.write("test.json", &data(&["丣两严並丧丨丩"], false));
        let shown = pipeline.directory.path().display();
        let file = format!(
            "seed = 1\ndevice = \"flex\"\n[checkpoint]\nsource = \"{shown}/checkpoint\"\n[data]\ntrain = [\"{shown}/train.json\"]\n\
             dev = [\"{shown}/dev.json\"]\ntest = [\"{shown}/test.json\"]\n[windows]\nmax_length = 24\n\
             max_question_length = 8\nstride = 4\n[train]\nepochs = 1\nbatch_size = 2\n"
        );
        fs::write(pipeline.file(), file).unwrap();
        pipeline
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.directory.path().join("tiny.toml")
    }

    /// The run's folder.
    pub(crate) fn run(&self) -> PathBuf {
        self.output.join("runs/tiny")
    }

    /// A file at the top of the run.
    pub(crate) fn result(&self, file: &str) -> String {
        fs::read_to_string(self.run().join(file)).unwrap()
    }

    pub(crate) fn write(&self, file: &str, value: &Value) {
        fs::write(self.directory.path().join(file), value.to_string()).unwrap();
    }

    /// A task on this pipeline.
    pub(crate) fn xtask(&self, task: &str) -> Command {
        let mut command = self.xtask_alone(task);
        command.arg(self.file());
        command
    }

    /// A task that takes no pipeline.
    pub(crate) fn xtask_alone(&self, task: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command.arg(task);
        command.env("SPANWISE_OUTPUT", &self.output);
        command
    }

    pub(crate) fn start(&self, arguments: &[&str]) -> Output {
        self.xtask("pipeline").args(arguments).output().unwrap()
    }

    /// Runs the pipeline and returns the stages that were not fresh.
    pub(crate) fn reruns(&self, arguments: &[&str]) -> Vec<String> {
        let output = self.start(arguments);
        let messages = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{messages}");
        let stage = |line: &str| {
            line.contains(" stale: ")
                .then(|| line.split_whitespace().next().map(str::to_owned))
        };
        // A dry run prints them as its result.
        let results = String::from_utf8_lossy(&output.stdout);
        let lines = messages.lines().chain(results.lines());
        lines.filter_map(stage).flatten().collect()
    }

    /// Exit code and last error of a run that must fail.
    pub(crate) fn refused(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let output = self.start(arguments);
        let messages = String::from_utf8_lossy(&output.stderr);
        let error = messages
            .lines()
            .find_map(|line| line.strip_prefix("error: "))
            .unwrap_or_default()
            .to_owned();
        (output.status.code(), error)
    }
}
