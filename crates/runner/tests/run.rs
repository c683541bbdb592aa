//! Pipelines of stages that only record what they were told: what runs, what stays fresh, what is
//! printed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use serde_json::json;
use spanwise_artifact::answers::{
    self, AnswerRecord, Candidate, PREDICTION_FILES, QuestionMetrics, SplitMetrics,
};
use spanwise_artifact::ensemble::{EnsembleReport, EnsembleScores};
use spanwise_artifact::questions::QuestionCounts;
use spanwise_artifact::settings::{Device, Metric};
use spanwise_artifact::{Draft, Job, Manifest, Split, Stage, UserError};
use spanwise_runner::ask::{self, Ask, Terminal};
use spanwise_runner::experiment::{self, Repetition};
use spanwise_runner::pipeline_file::{self, Pipeline};
use spanwise_runner::run::{self, Execute, Scope};
use spanwise_runner::{gc, summary};

/// Stages whose artifacts follow from their jobs, with the files that other stages choose among.
#[derive(Default)]
struct Recorder {
    /// What each call made ready.
    prepared: Vec<Vec<Stage>>,
    /// The checkpoints that it was asked to look at.
    checked: Vec<String>,
    ran: Vec<Stage>,
    /// An artifact that is removed as soon as windows are made, as by another run that finds it
    /// damaged.
    removes: Option<PathBuf>,
}

/// A checkpoint that cannot be used, as its small files tell.
const REFUSED: &str = "someone/refused";

/// A checkpoint with a question-answering head.
const FINISHED: &str = "someone/finished";

/// A checkpoint that no disk has room for.
const HUGE: &str = "someone/huge";

/// An encoder that takes 384 tokens.
const CONFIG: &str = r#"{
    "model_type": "bert", "vocab_size": 9, "hidden_size": 8, "num_hidden_layers": 1,
    "num_attention_heads": 1, "intermediate_size": 4, "max_position_embeddings": 384
}"#;

/// Wall time of every artifact.
const SECONDS: f64 = 60.0;

impl Execute for Recorder {
    fn prepare(&mut self, stages: &[Stage], _: Device) -> Result<()> {
        self.prepared.push(stages.to_vec());
        Ok(())
    }

    fn check(&mut self, job: &Job) -> Result<()> {
        assert!(self.prepared.concat().contains(&job.stage));
        let source = job.settings["source"].as_str().context("a source")?;
        self.checked.push(source.to_owned());
        if source == REFUSED {
            return Err(UserError::new("the checkpoint stage stopped").into());
        }
        Ok(())
    }

    fn run(&mut self, job: &Job) -> Result<()> {
        assert!(self.prepared.concat().contains(&job.stage));
        self.ran.push(job.stage);
        let draft = Draft::create(job.stage, &job.output)?;
        let write = |file: &str, content: &str| fs_err::write(draft.file(file), content);
        let inputs = job.input_contents()?;
        let everything = format!("{} {inputs:?} {:?}", job.settings, job.seed);
        match job.stage {
            Stage::Data => {
                let mut counts = BTreeMap::new();
                for split in Split::ALL {
                    let prefix = format!("{}.", split.name());
                    let files = job
                        .inputs
                        .iter()
                        .filter(|(role, _)| role.starts_with(&prefix));
                    let mut text = String::new();
                    for (_, input) in files {
                        text += fs_err::read_to_string(&input.path)?.trim();
                    }
                    write(&split.questions_file(), &text)?;
                    write(&split.paragraphs_file(), &text)?;
                    // A text without a question mark has no answers.
                    let answered = usize::from(!text.contains("unlabelled"));
                    counts.insert(
                        split,
                        QuestionCounts {
                            answered,
                            ..QuestionCounts::default()
                        },
                    );
                }
                QuestionCounts::write(draft.path(), &counts)?;
            }
            Stage::Checkpoint => {
                write("tokenizer.json", &job.settings["source"].to_string())?;
                write("config.json", CONFIG)?;
                let values = if job.settings["source"] == HUGE {
                    1_u64 << 50
                } else {
                    1
                };
                let mut names = vec!["weight"];
                if job.settings["source"] == FINISHED {
                    names.extend(["qa_outputs.weight", "qa_outputs.bias"]);
                }
                write("model.safetensors", &weights(&names, values, &everything))?;
            }
            Stage::Windows => {
                write("windows.json", &job.settings.to_string())?;
                for split in Split::ALL {
                    let path = job.input("data")?.join(split.questions_file());
                    let text = fs_err::read_to_string(path)?;
                    write(&format!("{}.safetensors", split.name()), &text)?;
                }
            }
            Stage::Answers => {
                write("submission.csv", "ID,Answer\n0,丣两\n")?;
                write("report.html", &everything)?;
                for file in PREDICTION_FILES {
                    write(file, "{}")?;
                }
                answers::write(draft.path(), &records())?;
                answers::write_metrics(draft.path(), &metrics())?;
            }
            Stage::Ensemble if inputs.contains_key("data") => {
                write("dev.safetensors", &everything)?;
                report().write(draft.path())?;
            }
            stage => {
                if matches!(stage, Stage::Pretrain | Stage::Train) {
                    let tokenizer = job.input("checkpoint")?.join("tokenizer.json");
                    write("tokenizer.json", &fs_err::read_to_string(tokenizer)?)?;
                }
                write("content", &everything)?;
            }
        }
        let manifest = Manifest {
            name: job.name()?,
            stage: job.stage,
            format: job.stage.format_version(),
            settings: job.settings.clone(),
            seed: job.seed,
            inputs,
            code: job.code.clone(),
            files: draft.files()?,
            device: job.device.map(|device| device.to_string()),
            precision: None,
            created: String::new(),
            wall_seconds: SECONDS,
            tool_version: String::new(),
        };
        draft.commit(&manifest)?;
        match self.removes.take_if(|_| job.stage == Stage::Windows) {
            Some(artifact) => Ok(fs_err::remove_dir_all(artifact)?),
            None => Ok(()),
        }
    }
}

/// A file of weights without their values, of which each has `values`.
fn weights(names: &[&str], values: u64, note: &str) -> String {
    let mut header = json!({"__metadata__": {"note": note}});
    for (index, name) in (0..).zip(names) {
        let offsets = [2 * values * index, 2 * values * (index + 1)];
        header[name] = json!({"dtype": "F16", "shape": [values], "data_offsets": offsets});
    }
    let header = header.to_string();
    // So that its length is text as well.
    let length = header.len().next_multiple_of(256);
    let bytes = (length as u64).to_le_bytes();
    format!("{}{header:<length$}", String::from_utf8_lossy(&bytes))
}

fn records() -> [AnswerRecord; 3] {
    let record = |split, question: &str, score: f64| AnswerRecord {
        split,
        id: "0".to_owned(),
        question: question.to_owned(),
        answer: "丣\n两".to_owned(),
        probability: Some(0.5),
        null_score_diff: None,
        references: Vec::new(),
        is_impossible: false,
        metrics: (split == Split::Dev).then_some(QuestionMetrics {
            exact_match: score,
            ..QuestionMetrics::default()
        }),
        candidates: [Some(2.5), Some(1.0), None]
            .map(|score| Candidate {
                text: "两".to_owned(),
                start: 1,
                end: 2,
                score,
            })
            .to_vec(),
    };
    [
        record(Split::Dev, "什麼?", 1.0),
        record(Split::Dev, "誰?", 0.0),
        record(Split::Test, "哪裡?", 0.0),
    ]
}

fn metrics() -> BTreeMap<Split, SplitMetrics> {
    let dev = SplitMetrics {
        questions: 2,
        exact_match: 0.5,
        exact_match_standard_error: Some(0.354),
        cmrc_f1: 0.75,
        ..SplitMetrics::of(Metric::Task, None)
    };
    BTreeMap::from([(Split::Dev, dev)])
}

fn report() -> EnsembleReport {
    EnsembleReport {
        questions: 2,
        task_exact_match: EnsembleScores {
            members: vec![0.5, 0.25],
            mean_member: 0.375,
            gain: 0.125,
            ..EnsembleScores::default()
        },
        weights: None,
    }
}

/// A pipeline in a directory of its own, where its results go as well.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Result<Self> {
        let folder = Self(tempfile::tempdir()?);
        fs_err::create_dir(folder.path("checkpoint"))?;
        for split in ["train", "dev", "test"] {
            folder.write(&format!("{split}.json"), split)?;
        }
        let shown = folder.0.path().display();
        folder.write(
            "tiny.toml",
            &format!(
                "seed = 1\n[checkpoint]\nsource = \"{shown}/checkpoint\"\n[data]\ntrain = [\"{shown}/train.json\"]\n\
                 dev = [\"{shown}/dev.json\"]\ntest = [\"{shown}/test.json\"]\n"
            ),
        )?;
        Ok(folder)
    }

    fn path(&self, file: &str) -> PathBuf {
        self.0.path().join(file)
    }

    fn write(&self, file: &str, text: &str) -> Result<()> {
        Ok(fs_err::write(self.path(file), text)?)
    }

    fn pipeline(&self, overrides: &[&str]) -> Result<Pipeline> {
        let overrides: Vec<String> = overrides.iter().map(|&text| text.to_owned()).collect();
        pipeline_file::read(&self.path("tiny.toml"), &overrides)
    }

    /// Runs the pipeline; returns the stages that ran and the messages.
    fn run(&self, overrides: &[&str], scope: &Scope) -> Result<(Vec<Stage>, String)> {
        let mut stages = Recorder::default();
        let log = self.run_with(&mut stages, overrides, scope)?;
        Ok((stages.ran, log))
    }

    fn run_with(&self, stages: &mut Recorder, overrides: &[&str], scope: &Scope) -> Result<String> {
        let mut log = Vec::new();
        let pipeline = self.pipeline(overrides)?;
        run::run(self.0.path(), &pipeline, scope, stages, &mut log)?;
        Ok(String::from_utf8(log)?)
    }

    fn ran(&self, overrides: &[&str]) -> Result<Vec<Stage>> {
        Ok(self.run(overrides, &Scope::default())?.0)
    }

    fn status(&self, overrides: &[&str]) -> Result<String> {
        self.look(overrides, false)
    }

    fn look(&self, overrides: &[&str], verify: bool) -> Result<String> {
        let mut log = Vec::new();
        let pipeline = self.pipeline(overrides)?;
        let scope = Scope {
            verify,
            ..Scope::default()
        };
        run::status(self.0.path(), &pipeline, &scope, &mut log)?;
        self.shown(log)
    }

    /// A file of the artifact that the last run used for a node.
    fn artifact_file(&self, node: &str, file: &str) -> Result<PathBuf> {
        Ok(fs_err::canonicalize(self.path("runs/tiny").join(node))?.join(file))
    }

    fn summary(&self) -> Result<String> {
        let mut out = Vec::new();
        summary::print_last(self.0.path(), &self.pipeline(&[])?, &mut out)?;
        self.shown(out)
    }

    /// What was printed, without the name of this directory.
    fn shown(&self, printed: Vec<u8>) -> Result<String> {
        let folder = self.0.path().display().to_string();
        Ok(String::from_utf8(printed)?.replace(&folder, "OUTPUT"))
    }
}

const TWO: &str = "ensemble.members=[{ seed = 1 }, { seed = 2 }]";

const ALL: [Stage; 8] = {
    use Stage::{Answers, Checkpoint, Data, Ensemble, Predict, Train, Windows};
    // Dev and test are predicted each by itself.
    [
        Data, Checkpoint, Windows, Train, Predict, Predict, Ensemble, Answers,
    ]
};

#[test]
fn only_what_changed_and_what_depends_on_it_runs_again() -> Result<()> {
    use Stage::{Answers, Checkpoint, Data, Ensemble, Predict, Train, Windows};
    let folder = Folder::new()?;
    assert_eq!(folder.ran(&[])?, ALL);
    assert_eq!(folder.ran(&[])?, []);
    let check = |overrides: &[&str], expected: &[Stage]| -> Result<()> {
        assert_eq!(folder.ran(overrides)?, expected, "{overrides:?}");
        Ok(())
    };
    check(&["answers.max_answer_length=1"], &[Answers])?;
    check(&["seed=2"], &[Train, Predict, Predict, Ensemble, Answers])?;
    // The device changes rounding, not meaning.
    check(&["device=flex"], &[])?;
    // Other weights with the same tokenizer leave the windows fresh.
    let rest = [Checkpoint, Train, Predict, Predict, Ensemble, Answers];
    check(&["checkpoint.keep_layers=2"], &rest)?;
    check(&[], &[])?;

    // The same content, written differently: data runs, its output is the same, later stages stay
    // fresh.
    folder.write("train.json", " train ")?;
    check(&[], &[Data])?;
    // A new test file leaves the model and its dev predictions fresh.
    folder.write("test.json", "more")?;
    check(&[], &[Data, Windows, Predict, Ensemble, Answers])?;
    // Only the second member has not seen the new test file: its model is there from seed 2.
    check(&[TWO], &[Predict, Ensemble, Answers])?;
    Ok(())
}

#[test]
fn all_stages_behind_the_data_are_made_ready_at_once() -> Result<()> {
    use Stage::{Answers, Checkpoint, Data, Ensemble, Predict, Pretrain, Train, Windows};
    let folder = Folder::new()?;
    let ready = |overrides: &[&str], scope: &Scope| -> Result<Vec<Vec<Stage>>> {
        let mut stages = Recorder::default();
        folder.run_with(&mut stages, overrides, scope)?;
        stages.prepared.dedup();
        Ok(stages.prepared)
    };
    let everything = Scope::default();
    let first = ready(&[], &everything)?;
    assert_eq!(
        first[0],
        [Data],
        "what is wrong with the files is said soon"
    );
    let rest = [Checkpoint, Windows, Train, Predict, Ensemble, Answers];
    assert_eq!(first[1], rest);
    assert!(ready(&["pretrain.epochs=1"], &everything)?[0].contains(&Pretrain));
    let first = ready(&["answers.max_answer_length=1"], &everything)?;
    assert_eq!(first, [[Answers]], "nothing that is fresh");
    let forced = Scope {
        only: Some(Windows),
        force: true,
        ..Scope::default()
    };
    assert_eq!(ready(&[], &forced)?, [[Windows]]);
    Ok(())
}

/// Replaces a file of an artifact, which is read-only.
fn damage(file: &Path, damage: impl Fn(&mut Vec<u8>)) -> Result<()> {
    let mut bytes = fs_err::read(file)?;
    damage(&mut bytes);
    fs_err::remove_file(file)?;
    Ok(fs_err::write(file, bytes)?)
}

#[test]
fn what_has_another_size_is_made_again() -> Result<()> {
    use Stage::{Answers, Data, Train};
    let folder = Folder::new()?;
    folder.ran(&[])?;
    let whole = fs_err::read(folder.artifact_file("train", "content")?)?;
    for (node, file, stage) in [
        ("train", "content", Train),
        ("data", "dev.questions.jsonl", Data),
        ("answers", "metrics.json", Answers),
        ("train", "manifest.json", Train),
        ("answers", "manifest.json", Answers),
    ] {
        let path = folder.artifact_file(node, file)?;
        for damaging in ["cut", "empty", "delete"] {
            match damaging {
                "cut" => damage(&path, |bytes| bytes.truncate(bytes.len() - 1))?,
                "empty" => damage(&path, Vec::clear)?,
                _ => fs_err::remove_file(&path)?,
            }
            let (ran, log) = folder.run(&[], &Scope::default())?;
            assert_eq!(ran, [stage], "{log}");
            assert!(
                log.contains("stale: damaged: ") || log.contains("its artifact is gone"),
                "{log}"
            );
        }
    }
    assert_eq!(
        fs_err::read(folder.artifact_file("train", "content")?)?,
        whole
    );
    Ok(())
}

#[test]
fn damaged_bytes_are_never_read() -> Result<()> {
    use Stage::{Answers, Data, Ensemble, Predict, Train, Windows};
    let folder = Folder::new()?;
    folder.ran(&[])?;
    let model = folder.artifact_file("train", "content")?;
    let whole = fs_err::read(&model)?;
    damage(&model, |bytes| bytes[0] ^= 1)?;
    insta::assert_snapshot!("status_verify", folder.look(&[], true)?);
    // Nothing reads the model, unless asked to.
    assert_eq!(folder.ran(&[])?, []);
    let verify = Scope {
        verify: true,
        ..Scope::default()
    };
    assert_eq!(folder.run(&[], &verify)?.0, [Train]);
    damage(&model, |bytes| bytes[0] ^= 1)?;
    folder.write("test.json", "more")?;
    let (ran, log) = folder.run(&[], &Scope::default())?;
    assert_eq!(ran, [Data, Windows, Train, Predict, Ensemble, Answers]);
    assert!(
        log.contains("train        damaged: content is not what was written"),
        "{log}"
    );
    assert_eq!(fs_err::read(&model)?, whole);
    assert!(!folder.look(&[], true)?.contains("damaged"));

    // Read by people only.
    let submission = folder.artifact_file("answers", "submission.csv")?;
    damage(&submission, |bytes| bytes[0] ^= 1)?;
    assert_eq!(folder.ran(&[])?, [Answers]);
    // Whole, but another's.
    let [dev, test] = ["predict-dev", "predict-test"].map(|node| folder.artifact_file(node, ""));
    fs_err::remove_dir_all(dev.as_ref().map_err(|error| anyhow!("{error}"))?)?;
    fs_err::rename(test?, dev?)?;
    let (ran, log) = folder.run(&[], &Scope::default())?;
    assert_eq!(ran, [Predict, Predict], "{log}");
    Ok(())
}

#[test]
fn what_another_run_removes_meanwhile_is_made_again() -> Result<()> {
    use Stage::{Answers, Checkpoint, Data, Ensemble, Predict, Train, Windows};
    let folder = Folder::new()?;
    folder.ran(&[])?;
    folder.write("train.json", "more")?;
    let mut stages = Recorder {
        removes: Some(folder.artifact_file("checkpoint", "")?),
        ..Recorder::default()
    };
    let log = folder.run_with(&mut stages, &[], &Scope::default())?;
    let ran = [
        Data, Windows, Checkpoint, Train, Predict, Predict, Ensemble, Answers,
    ];
    assert_eq!(stages.ran, ran, "{log}");
    Ok(())
}

#[test]
fn an_artifact_that_is_kept_is_not_removed() -> Result<()> {
    let folder = Folder::new()?;
    folder.ran(&[])?;
    damage(&folder.artifact_file("train", "content")?, |bytes| {
        bytes[0] ^= 1;
    })?;
    folder.write("test.json", "more")?;
    let keep = Scope {
        keep: vec![Stage::Train],
        ..Scope::default()
    };
    let error = folder.run(&[], &keep).err().context("it is damaged")?;
    assert_eq!(
        error.to_string(),
        "--keep train: the artifact is damaged: content is not what was written"
    );
    assert!(folder.artifact_file("train", "content")?.exists());
    Ok(())
}

#[test]
fn a_runs_folder_belongs_to_one_pipeline_file() -> Result<()> {
    let folder = Folder::new()?;
    folder.ran(&[])?;
    let other = folder.path("other/tiny.toml");
    fs_err::create_dir(folder.path("other"))?;
    fs_err::copy(folder.path("tiny.toml"), &other)?;
    let pipeline = pipeline_file::read(&other, &[])?;
    let (output, scope) = (folder.0.path(), Scope::default());
    let mut stages = Recorder::default();
    let results = [
        run::run(output, &pipeline, &scope, &mut stages, &mut Vec::new()).err(),
        run::status(output, &pipeline, &scope, &mut Vec::new()).err(),
        summary::print_last(output, &pipeline, &mut Vec::new()).err(),
    ];
    for error in results {
        let error = error.context("it is another's")?.to_string();
        assert!(error.contains("is the folder of"), "{error}");
    }
    // The file was moved.
    fs_err::remove_file(folder.path("tiny.toml"))?;
    run::run(output, &pipeline, &scope, &mut stages, &mut Vec::new())?;
    assert_eq!(stages.ran, []);
    Ok(())
}

#[test]
fn folders_of_runs_lie_where_runs_do() -> Result<()> {
    let folder = Folder::new()?;
    for file in ["..toml", "...toml", ".toml"] {
        fs_err::copy(folder.path("tiny.toml"), folder.path(file))?;
        let error = pipeline_file::read(&folder.path(file), &[]).err();
        assert!(error.context("refused")?.is::<UserError>(), "{file}");
    }
    let compare = |name: &str, change: &str| {
        let repetition = Repetition {
            seeds: 1,
            overrides: Vec::new(),
            name: Some(name.to_owned()),
        };
        let session = experiment::Session {
            output: folder.0.path(),
            stages: &mut Recorder::default(),
            results: &mut Vec::new(),
        };
        let changes = [change.to_owned()];
        experiment::compare(&folder.path("tiny.toml"), &changes, &repetition, session)
    };
    for name in ["../../escape", "/absolute", "..", ""] {
        let error = compare(name, "seed=2").err().context("refused")?;
        assert!(error.is::<UserError>(), "{error:#}");
    }
    // Longer than a name of a file may be.
    compare("long", &["seed=2"; 60].join(" "))?;
    Ok(())
}

/// Four runs at once of the same files: each artifact is made once, and all are the same.
#[test]
fn runs_at_once_wait_for_each_other() -> Result<()> {
    let folder = Folder::new()?;
    let run = || {
        folder
            .run(&[], &Scope::default())
            .map_err(|error| format!("{error:#}"))
    };
    let runs: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(run)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    let mut ran = Vec::new();
    for result in runs {
        ran.extend(result.map_err(|error| anyhow!(error))?.0);
    }
    ran.sort();
    let mut once = ALL.to_vec();
    once.sort();
    assert_eq!(ran, once);
    assert!(!folder.look(&[], true)?.contains("stale"));
    Ok(())
}

#[test]
fn what_is_the_users_in_a_runs_folder_stays() -> Result<()> {
    let folder = Folder::new()?;
    folder.ran(&[])?;
    let link = folder.path("runs/tiny/ensemble");
    fs_err::remove_file(&link)?;
    fs_err::create_dir(&link)?;
    let error = folder.ran(&["seed=2"]).err().context("it is in the way")?;
    assert!(
        error.is::<UserError>() && error.to_string().contains("runs/tiny/ensemble"),
        "{error:#}"
    );
    assert!(link.is_dir());
    Ok(())
}

#[test]
fn what_cannot_work_is_known_before_a_model_is_trained() -> Result<()> {
    use Stage::{Checkpoint, Data};
    let folder = Folder::new()?;
    let check = |overrides: &[&str], expected: &str, ran: &[Stage]| -> Result<()> {
        let mut stages = Recorder::default();
        let refused = folder.run_with(&mut stages, overrides, &Scope::default());
        let error = refused.err().context("it cannot work")?;
        assert!(error.is::<UserError>(), "{error:#}");
        assert_eq!(error.to_string(), expected);
        assert_eq!(stages.ran, ran);
        Ok(())
    };
    folder.write("dev.json", "unlabelled")?;
    let file = folder.path("tiny.toml");
    check(
        &[TWO, "ensemble.method=weighted"],
        &format!(
            "{}: ensemble.method is fitted on dev, and no dev question has an answer",
            file.display()
        ),
        &[Data],
    )?;
    check(
        &["train.load_best_model_at_end=true"],
        &format!(
            "{}: train.load_best_model_at_end chooses a model on dev, and no dev question has an \
             answer",
            file.display()
        ),
        &[],
    )?;
    let long = "windows = { max_length = 512 }";
    let members = format!("ensemble.members=[{{}}, {{ {long} }}, {{ seed = 3, {long} }}]");
    let refused = "windows.max_length is 512, but the checkpoint takes at most 384 tokens";
    check(
        &[&members],
        &format!("checkpoint 2: {refused}\ncheckpoint 3: {refused}"),
        &[Checkpoint],
    )
}

#[test]
fn a_finished_model_needs_no_training_questions() -> Result<()> {
    use Stage::{Answers, Checkpoint, Data, Ensemble, Predict, Train, Windows};
    let folder = Folder::new()?;
    let source = format!("checkpoint.source={FINISHED}");
    let finished = [&source, "train.epochs=0", "data.train=[]"];
    assert_eq!(folder.ran(&finished)?, ALL);
    let with = |more: &[&str]| folder.ran(&[&finished[..], more].concat());
    assert_eq!(with(&["seed=2"])?, [], "nothing is random");
    // Two members of one checkpoint are one model.
    assert_eq!(with(&[TWO])?, [Ensemble, Answers]);
    let folds = [Data, Data, Data, Ensemble, Answers];
    assert_eq!(with(&["ensemble.folds=2"])?, folds, "and so are its folds");
    folder.write("dev.json", "more")?;
    let rest = [Data, Windows, Predict, Ensemble, Answers];
    assert_eq!(with(&[])?, rest, "new questions leave the model fresh");

    // One of two is trained.
    let members = format!(
        "ensemble.members=[{{}}, {{ train = {{ epochs = 0 }}, checkpoint = {{ source = \"{FINISHED}\" }} }}]"
    );
    let ran = folder.ran(&[&members])?;
    assert_eq!(ran.iter().filter(|&&stage| stage == Train).count(), 1);

    let mut stages = Recorder::default();
    let refused = folder.run_with(&mut stages, &["train.epochs=0"], &Scope::default());
    let error = refused.err().context("there is no head")?;
    let error = error.downcast::<UserError>()?;
    assert_eq!(
        error.message,
        "checkpoint: train.epochs = 0: the checkpoint has no question-answering head: \
         qa_outputs.weight and qa_outputs.bias are missing"
    );
    assert!(!stages.ran.contains(&Windows) && !stages.ran.contains(&Checkpoint));
    Ok(())
}

#[test]
fn all_checkpoints_are_looked_at_before_one_is_fetched() -> Result<()> {
    let folder = Folder::new()?;
    let check = |members: &[&str]| {
        let mut stages = Recorder::default();
        let members = members
            .iter()
            .map(|source| format!("{{ checkpoint = {{ source = \"{source}\" }} }}"))
            .collect::<Vec<_>>()
            .join(", ");
        let members = format!("ensemble.members=[{members}]");
        let result = folder.run_with(&mut stages, &[&members], &Scope::default());
        (result.is_ok(), stages.checked.len(), stages.ran)
    };
    let (works, checked, ran) = check(&["someone/a", REFUSED, "someone/b", REFUSED]);
    assert_eq!((works, checked), (false, 3), "each once");
    assert_eq!(ran, [Stage::Data]);
    // The second time only what is not there is looked at; one alone is left to the stage.
    let (works, checked, _) = check(&["someone/a", "someone/b"]);
    assert_eq!((works, checked), (true, 2));
    let (works, checked, _) = check(&["someone/a", "someone/c"]);
    assert_eq!((works, checked), (true, 0));
    Ok(())
}

#[test]
fn the_disk_has_room_for_all_models_before_one_is_trained() -> Result<()> {
    let folder = Folder::new()?;
    let huge = format!("checkpoint.source=\"{HUGE}\"");
    let refused = |overrides: &[&str], expected: &str| -> Result<()> {
        let mut stages = Recorder::default();
        let refused = folder.run_with(&mut stages, overrides, &Scope::default());
        let error = refused.err().context("there is no room")?;
        assert!(error.is::<UserError>(), "{error:#}");
        assert!(error.to_string().starts_with(expected), "{error}");
        assert!(!stages.ran.contains(&Stage::Train));
        Ok(())
    };
    // 2^50 values of four bytes.
    refused(
        &[&huge],
        "train: the model to be trained needs 4503599.6 GB of disk, and ",
    )?;
    refused(
        &[&huge, TWO],
        "train 1: the 2 models to be trained need 9007199.3 GB of disk, and ",
    )?;
    // The member of normal size is there.
    let members = format!("[{{}}, {{ checkpoint = {{ source = \"{HUGE}\" }} }}]");
    refused(
        &[&format!("ensemble.members={members}")],
        "train 1: the 2 models to be trained need 4503599.6 GB of disk, and ",
    )?;
    folder.ran(&[])?;
    refused(
        &[&format!("ensemble.members={members}")],
        "train 2: the model to be trained needs 4503599.6 GB of disk, and ",
    )
}

#[test]
fn what_is_checked_is_whole() -> Result<()> {
    use Stage::{Checkpoint, Data};
    let folder = Folder::new()?;
    folder.ran(&[])?;
    for (node, file, again) in [
        ("checkpoint", "config.json", Checkpoint),
        ("data", "counts.json", Data),
    ] {
        damage(&folder.artifact_file(node, file)?, |bytes| bytes[1] ^= 1)?;
        assert_eq!(folder.ran(&[])?, [again]);
    }
    Ok(())
}

#[test]
fn artifacts_are_read_only() -> Result<()> {
    let folder = Folder::new()?;
    folder.ran(&[])?;
    for (node, file) in [("train", "content"), ("answers", "submission.csv")] {
        let metadata = fs_err::metadata(folder.artifact_file(node, file)?)?;
        assert!(metadata.permissions().readonly());
    }
    Ok(())
}

#[test]
fn scope_limits_what_runs() -> Result<()> {
    use Stage::{Answers, Ensemble, Predict, Train, Windows};
    let folder = Folder::new()?;
    let error = |scope: &Scope| -> Result<String> {
        let error = folder.run(&[], scope).err().context("must be refused")?;
        Ok(error.downcast::<UserError>()?.message)
    };
    let only = |stage| Scope {
        only: Some(stage),
        ..Scope::default()
    };
    let keep = |stage| Scope {
        keep: vec![stage],
        ..Scope::default()
    };
    assert_eq!(
        error(&only(Train))?,
        "data is stale, and only train was to run"
    );
    assert_eq!(
        error(&keep(Stage::Data))?,
        "--keep data: the data stage of this pipeline has not run yet"
    );
    // Neither reads the other.
    for stage in [Stage::Checkpoint, Stage::Data] {
        assert_eq!(folder.run(&[], &only(stage))?.0, [stage]);
    }
    folder.ran(&[])?;
    let from = Scope {
        from: Some(Predict),
        ..Scope::default()
    };
    assert_eq!(
        folder.run(&[], &from)?.0,
        [Predict, Predict, Ensemble, Answers]
    );
    let force = Scope {
        force: true,
        ..Scope::default()
    };
    assert_eq!(folder.run(&[], &force)?.0, ALL);
    let forced = Scope {
        force: true,
        ..only(Windows)
    };
    assert_eq!(folder.run(&[], &forced)?.0, [Windows]);
    // What depends on the kept artifact does not see the change.
    let (ran, log) = folder.run(&["seed=7"], &keep(Train))?;
    assert_eq!(ran, []);
    assert!(log.contains("train        kept as it is"), "{log}");
    Ok(())
}

#[test]
fn members_begin_while_there_is_time() -> Result<()> {
    use Stage::{Answers, Ensemble, Predict, Train};
    let folder = Folder::new()?;
    let short = [TWO, "ensemble.max_minutes=1"];
    let (ran, log) = folder.run(&short, &Scope::default())?;
    assert_eq!(ran, ALL, "the first member always begins");
    assert!(
        log.contains(
            "member 2+            left out: training took 1 minutes, ensemble.max_minutes = 1\n"
        ),
        "{log}"
    );
    assert_eq!(folder.ran(&short)?, [], "the next run decides the same");
    assert_eq!(folder.ran(&[])?, [], "it is as if it were alone");
    assert_eq!(
        folder.ran(&[TWO, "ensemble.max_minutes=1.5"])?,
        [Train, Predict, Predict, Ensemble, Answers]
    );
    Ok(())
}

#[test]
fn a_student_learns_from_the_members_and_answers() -> Result<()> {
    use Stage::{Answers, Ensemble, Predict, Train};
    let folder = Folder::new()?;
    let student = [Train, Predict, Predict, Ensemble, Answers];
    folder.ran(&[TWO, "distill.weight=0.5"])?;
    assert_eq!(folder.ran(&[TWO, "distill.weight=0.25"])?, student);
    let status = folder.status(&[TWO, "distill.weight=0.75"])?;
    insta::assert_snapshot!("status_of_a_student", status);
    Ok(())
}

#[test]
fn a_run_links_what_is_its_own_and_gc_removes_the_rest() -> Result<()> {
    let folder = Folder::new()?;
    let links = || {
        [
            "train",
            "members/1/train",
            "members/2/train",
            "submission.csv",
            "dev.nbest.json",
        ]
        .map(|link| folder.path("runs/tiny").join(link).exists())
    };
    folder.ran(&[TWO])?;
    assert_eq!(links(), [false, true, true, true, true]);
    folder.ran(&[])?;
    assert_eq!(links(), [true, false, false, true, true]);
    let unused = |dry_run| -> Result<String> {
        let mut out = Vec::new();
        let scope = gc::Scope {
            dry_run,
            states: false,
        };
        gc::run(folder.0.path(), scope, &mut out)?;
        Ok(String::from_utf8(out)?)
    };
    // The second model, its two predictions, and ensemble and answers of both.
    assert!(unused(true)?.contains(" in 5 directories would be removed"));
    assert!(unused(false)?.contains(" in 5 directories removed"));
    assert!(unused(false)?.contains(" in 0 directories removed"));
    assert_eq!(folder.ran(&[])?, []);
    Ok(())
}

#[test]
fn a_kept_model_has_the_tokenizer_of_its_windows() -> Result<()> {
    let folder = Folder::new()?;
    folder.ran(&[])?;
    let keep = Scope {
        keep: vec![Stage::Train],
        ..Scope::default()
    };
    folder.run(&["train.epochs=7"], &keep)?;
    let other = "checkpoint.source=\"someone/other\"";
    let error = folder.run(&[other], &keep).err().context("another one")?;
    assert!(error.is::<UserError>(), "{error:#}");
    assert!(error.to_string().contains("another tokenizer"), "{error}");
    Ok(())
}

#[test]
fn gc_removes_nothing_but_what_no_run_needs() -> Result<()> {
    let folder = Folder::new()?;
    folder.ran(&[])?;
    let gc = || -> Result<String> {
        let mut out = Vec::new();
        gc::run(folder.0.path(), gc::Scope::default(), &mut out)?;
        Ok(String::from_utf8(out)?)
    };
    // What is no artifact is somebody's.
    let mine = ["artifacts/models/v1", "artifacts/train/mine"].map(|name| folder.path(name));
    for mine in &mine {
        fs_err::create_dir_all(mine)?;
        fs_err::write(mine.join("weights.bin"), "w")?;
    }
    // A run's folder may lie elsewhere.
    fs_err::create_dir(folder.path("old"))?;
    fs_err::rename(folder.path("runs/tiny"), folder.path("old/tiny"))?;
    std::os::unix::fs::symlink("../old/tiny", folder.path("runs/tiny"))?;
    // A run has the name of a session, and was killed.
    let session = folder.path("runs/.session-me");
    fs_err::create_dir(&session)?;
    fs_err::write(session.join(".pipeline-file"), "session-me.toml")?;
    let lock = folder.path("runs/.lock-.session-me");
    let long_ago = std::time::SystemTime::now() - std::time::Duration::from_mins(10);
    fs_err::File::create(&lock)?.set_modified(long_ago)?;
    // A killed run has left a link to nothing.
    std::os::unix::fs::symlink("nothing", folder.path("old/tiny/.new-x"))?;
    assert!(gc()?.contains(" in 0 directories removed"));
    for mine in &mine {
        assert!(mine.join("weights.bin").exists());
    }
    assert!(session.exists() && !lock.exists());
    assert_eq!(folder.ran(&[])?, []);
    Ok(())
}

#[test]
fn status_names_what_is_stale_and_why() -> Result<()> {
    let folder = Folder::new()?;
    insta::assert_snapshot!("status_before_the_first_run", folder.status(&[])?);
    folder.ran(&[])?;
    let changes = ["seed=3", "train.epochs=5", "answers.n_best_size=1"];
    insta::assert_snapshot!("status_after_changes", folder.status(&changes)?);
    insta::assert_snapshot!("status_of_folds", folder.status(&["ensemble.folds=2"])?);
    Ok(())
}

#[test]
fn a_run_ends_with_its_summary() -> Result<()> {
    let folder = Folder::new()?;
    let error = folder.summary().err().context("nothing to sum up")?;
    assert!(error.to_string().ends_with("tiny.toml has not run yet"));
    folder.ran(&[TWO])?;
    insta::assert_snapshot!("summary", folder.summary()?);
    let metrics = folder.artifact_file("answers", "metrics.json")?;
    damage(&metrics, |bytes| {
        let text = String::from_utf8_lossy(bytes).replace("cmrc_f1", "f1");
        *bytes = text.into_bytes();
    })?;
    let error = folder.summary().err().context("it is damaged")?;
    assert!(error.is::<UserError>() && format!("{error:#}").contains("is damaged"));
    Ok(())
}

#[test]
fn pipelines_are_compared_question_by_question() -> Result<()> {
    let folder = Folder::new()?;
    let mut stages = Recorder::default();
    let mut table = Vec::new();
    let session = experiment::Session {
        output: folder.0.path(),
        stages: &mut stages,
        results: &mut table,
    };
    let repetition = Repetition {
        seeds: 2,
        overrides: vec!["train.epochs=1".to_owned()],
        name: None,
    };
    let changes = ["answers.max_answer_length=1".to_owned()];
    experiment::compare(&folder.path("tiny.toml"), &changes, &repetition, session)?;
    insta::assert_snapshot!("table", folder.shown(table)?);
    // Both train once a seed: the other pipeline differs in its answers only.
    let trained = stages.ran.iter().filter(|&&stage| stage == Stage::Train);
    assert_eq!(trained.count(), 2);
    Ok(())
}

#[test]
fn a_trained_pipeline_can_be_asked() -> Result<()> {
    let folder = Folder::new()?;
    let session = |questions: &[&str], mut input: &[u8]| -> Result<(Recorder, String, String)> {
        let mut stages = Recorder::default();
        let (mut prompts, mut results) = (Vec::new(), Vec::new());
        let ask = Ask {
            paragraph: None,
            questions: questions.iter().map(|&text| text.to_owned()).collect(),
        };
        let terminal = Terminal {
            input: &mut input,
            prompts: &mut prompts,
            results: &mut results,
        };
        let pipeline = folder.pipeline(&[])?;
        ask::run(folder.0.path(), pipeline, &ask, &mut stages, terminal)?;
        Ok((stages, String::from_utf8(prompts)?, folder.shown(results)?))
    };
    let error = session(&["哪裡?"], "丣两\n".as_bytes())
        .err()
        .context("no model")?;
    insta::assert_snapshot!(
        "asked_without_a_model",
        folder.shown(error.to_string().into_bytes())?
    );
    folder.ran(&[])?;
    let (stages, prompts, answers) = session(&[], "丣两\n\n哪裡?\n".as_bytes())?;
    assert_eq!(
        answers,
        "哪裡?\n  丣 两, probability 0.50\n  or 两, 1.50 behind\n"
    );
    assert_eq!(
        prompts,
        "paragraph, and an empty line behind it:\nquestions, one a line:\n"
    );
    assert!(!stages.prepared.concat().contains(&Stage::Train));
    assert_eq!(folder.ran(&[])?, [], "asking leaves no trace");
    for (questions, input) in [(&[][..], "丣两\n哪裡?\n"), (&[" "], "丣两\n")] {
        let error = session(questions, input.as_bytes()).err();
        assert!(error.context("no question")?.is::<UserError>());
    }
    let error = session(&["哪裡?"], b"\n").err().context("no paragraph")?;
    assert_eq!(error.to_string(), "there is no paragraph to ask about");
    Ok(())
}
