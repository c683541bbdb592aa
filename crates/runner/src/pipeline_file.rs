//! The pipeline file: as parsed, and as validated.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};
use spanwise_artifact::UserError;
use spanwise_artifact::settings::{
    AnswersTable, CheckpointTable, DataTable, Decoding, Device, DistillTable, EnsembleJob,
    LengthLimit, PredictTable, PretrainTable, Problem, Settings, TrainTable, WindowsTable,
};
use toml::de::DeValue;
use toml::{Table, Value};

use crate::ensemble_table::{EnsembleTable, MemberTable};
use crate::workspace;

/// Keys that had another name: their table, the old name and the new one.
const RENAMED: [(&str, &str, &str); 6] = [
    ("train", "warmup", "warmup_ratio"),
    ("train", "checkpoint_activations", "gradient_checkpointing"),
    ("train", "evaluate_every", "eval_steps"),
    ("pretrain", "warmup", "warmup_ratio"),
    ("pretrain", "masked", "mlm_probability"),
    ("answers", "n_best", "n_best_size"),
];

/// Everything about a run, as the user typed it.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "spanwise pipeline file")]
pub(crate) struct PipelineFile {
    /// Decides every random choice: order, window placement, dropout and masks.
    #[serde(default = "default_seed")]
    seed: u64,
    /// Where training and prediction compute: `"auto"`, `"flex"`, `"cpu"`, `"cuda"`, `"cuda:N"` or
    /// `"mps"`. `"flex"` is Burn's own CPU backend, which needs nothing installed; the others but
    /// `"auto"` compute with libtorch. `"auto"` is a CUDA GPU where there is one, else libtorch on
    /// the CPU where it is set up, else `"flex"`.
    #[serde(default)]
    #[schemars(
        with = "String",
        regex(pattern = "^(auto|flex|cpu|cuda(:[0-9]+)?|mps)$")
    )]
    device: Device,
    /// Minutes between the states that a training saves, from which it resumes after a power cut or
    /// a kill: more often costs time. Changes no result.
    #[serde(default = "default_save_minutes")]
    #[schemars(range(min = 0, max = MOST_SAVE_MINUTES))]
    save_minutes: f64,
    checkpoint: CheckpointTable,
    data: DataTable,
    #[serde(default)]
    windows: WindowsTable,
    #[serde(default)]
    pretrain: PretrainTable,
    #[serde(default)]
    train: TrainTable,
    #[serde(default)]
    predict: PredictTable,
    #[serde(default)]
    ensemble: EnsembleTable,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    distill: Option<DistillTable>,
    #[serde(default)]
    answers: AnswersTable,
}

fn default_seed() -> u64 {
    42
}

/// A day.
const MOST_SAVE_MINUTES: f64 = 1440.0;

fn default_save_minutes() -> f64 {
    5.0
}

/// What the runner uses: every value there and possible, members spelled out.
#[derive(Debug, Clone)]
pub struct Pipeline {
    /// The file's name without its ending; its folder below `runs/`.
    pub name: String,
    /// The file as the user named it.
    pub file: String,
    /// Seed of pre-training, which members share.
    pub seed: u64,
    /// Where training and prediction compute.
    pub device: Device,
    /// Minutes between the states that a training saves.
    pub save_minutes: f64,
    /// Input files and what to do with wrong records.
    pub data: DataTable,
    /// One for a single model.
    pub members: Vec<Member>,
    /// Minutes of training after which no further member starts.
    pub max_minutes: Option<f64>,
    /// Every member is trained so many times, each time without another part of train and dev
    /// together.
    pub folds: Option<usize>,
    /// A model that is distilled from the members and answers instead of them.
    pub student: Option<Member>,
    /// How members become one.
    pub ensemble: EnsembleJob,
    /// From scores to answers.
    pub answers: AnswersTable,
    /// The file with every default filled in.
    pub resolved: String,
}

/// One model of the pipeline.
#[derive(Debug, Clone)]
pub struct Member {
    /// Seed of training.
    pub seed: u64,
    /// Where the encoder comes from.
    pub checkpoint: CheckpointTable,
    /// How text is cut.
    pub windows: WindowsTable,
    /// How pre-training is continued, where it is.
    pub pretrain: Option<PretrainTable>,
    /// How it is fine-tuned.
    pub train: TrainTable,
    /// How it learns from the ensemble's scores, where it does.
    pub distill: Option<DistillTable>,
    /// How it is applied.
    pub predict: PredictTable,
}

impl Pipeline {
    /// Whether some questions are measured and not only answered.
    pub fn has_dev(&self) -> bool {
        !self.data.dev.is_empty() || self.folds.is_some()
    }

    /// The members and the student.
    pub fn models(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().chain(&self.student)
    }

    /// Adds `by` to every seed, for a repetition.
    pub fn shift_seeds(&mut self, by: u64) {
        self.seed += by;
        for member in self.members.iter_mut().chain(&mut self.student) {
            member.seed += by;
        }
    }
}

/// Reads and validates a pipeline file, with `--set key=value` overrides applied.
#[expect(
    clippy::disallowed_methods,
    reason = "the message names the file as the user wrote it"
)]
pub fn read(path: &Path, overrides: &[String]) -> Result<Pipeline> {
    let shown = path.display().to_string();
    let text = std::fs::read_to_string(path)
        .or_else(|_| std::fs::read_to_string(workspace::root().join(path)));
    let text = text.map_err(|error| {
        UserError::new(format!("cannot read the pipeline file {shown}: {error}"))
            .hint("the ones that come with the project are in pipelines/")
    })?;
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    ensure!(
        is_folder_name(&name),
        UserError::new(format!("{shown}: no folder of a run can have its name"))
            .hint("name it like mine.toml")
    );
    parse(
        &name,
        &Source {
            file: &shown,
            text: &text,
            overrides,
        },
    )
}

/// The pipeline that files of questions make: everything else is the default, or set. Without a
/// checkpoint it has no model. Any split may lack files.
pub(crate) fn of_files(
    data: DataTable,
    checkpoint: Option<&str>,
    overrides: &[String],
) -> Result<Pipeline> {
    // A pipeline file has all three.
    let text = format!(
        "[checkpoint]\nsource = {}\n[data]\ntrain = [\"\"]\ndev = [\"\"]\n",
        Value::from(checkpoint.unwrap_or("none"))
    );
    let source = Source {
        file: "cargo xtask inspect",
        text: &text,
        overrides,
    };
    let mut pipeline = parse("inspect", &source)?;
    pipeline.data = DataTable {
        train: data.train,
        dev: data.dev,
        test: data.test,
        ..pipeline.data
    };
    if checkpoint.is_none() {
        pipeline.members.clear();
    }
    Ok(pipeline)
}

/// Whether a folder below another can have this name, on every file system.
pub fn is_folder_name(name: &str) -> bool {
    let is_allowed = |c: char| !c.is_control() && !matches!(c, '/' | '\\');
    !name.is_empty() && !name.starts_with('.') && name.len() <= 200 && name.chars().all(is_allowed)
}

/// The text of a pipeline file and where it comes from, for messages.
struct Source<'a> {
    file: &'a str,
    text: &'a str,
    overrides: &'a [String],
}

fn parse(name: &str, source: &Source) -> Result<Pipeline> {
    // A mistake in the file itself is reported with its line, so the file must pass before
    // overrides are applied to it.
    if let Ok(table) = source.text.parse() {
        refuse_old_names(&table, |path| source.location(path))?;
    }
    let mut file: PipelineFile = toml::from_str(source.text).map_err(|error| {
        UserError::new(format!(
            "{}: {}",
            source.file,
            plain(error.to_string().trim_end())
        ))
    })?;
    let mut table: Table = toml::from_str(source.text)?;
    for assignment in source.overrides {
        set(&mut table, assignment)?;
        set_for_all_members(&mut table, assignment);
        refuse_old_names(&table, |_| format!("--set {assignment}"))?;
        file = table.clone().try_into().map_err(|error: toml::de::Error| {
            UserError::new(format!("--set {assignment}: {}", plain(error.message())))
        })?;
    }
    refuse_infinite(&Value::Table(table), &mut Vec::new(), source)?;
    let members = members(&file, source)?;
    let student = match file.distill {
        Some(distill) => Some(student(&file, distill, source)?),
        None => None,
    };
    refuse_problems(&file, &members, student.as_ref(), source)?;
    Ok(Pipeline {
        name: name.to_owned(),
        file: source.file.to_owned(),
        resolved: toml::to_string(&file)?,
        seed: file.seed,
        device: file.device,
        save_minutes: file.save_minutes,
        data: file.data,
        members,
        max_minutes: file.ensemble.max_minutes,
        folds: file.ensemble.folds,
        student,
        ensemble: EnsembleJob {
            method: file.ensemble.method,
            max_answer_length: match file.answers.max_answer_length {
                Some(LengthLimit::Characters(count)) => Some(count),
                None | Some(LengthLimit::Fitted(_)) => None,
            },
        },
        answers: file.answers,
    })
}

/// An error of serde in the words of people who write TOML.
fn plain(message: &str) -> String {
    const WORDS: [(&str, &str); 13] = [
        ("invalid type: ", "found "),
        ("invalid value: ", "found "),
        ("found integer `", "found `"),
        ("found floating point `", "found `"),
        ("found boolean `", "found `"),
        ("found string \"", "found \""),
        ("found sequence", "found a list"),
        ("found map", "found a table"),
        ("expected usize", "expected a whole number, at least 0"),
        ("expected u64", "expected a whole number, at least 0"),
        ("expected f64", "expected a number"),
        ("expected a boolean", "expected true or false"),
        ("expected a sequence", "expected a list"),
    ];
    let replaced = |message: String, (word, plain): (&str, &str)| message.replace(word, plain);
    WORDS.into_iter().fold(message.to_owned(), replaced)
}

/// Refuses a key under a name that it no longer has, in the tables of the file and in those of its
/// members. `location` returns where a path of keys is.
fn refuse_old_names(file: &Table, location: impl Fn(&[&str]) -> String) -> Result<()> {
    for (table, old, new) in RENAMED {
        let has_old = |tables: &Table| tables.get(table).and_then(|table| table.get(old)).is_some();
        let mut found = has_old(file).then(|| location(&[table, old]));
        let members = file
            .get("ensemble")
            .and_then(|ensemble| ensemble.get("members"))
            .and_then(Value::as_array);
        for (index, member) in members.into_iter().flatten().enumerate() {
            if found.is_none() && member.as_table().is_some_and(has_old) {
                let index = index.to_string();
                found = Some(location(&["ensemble", "members", &index, table, old]));
            }
        }
        if let Some(location) = found {
            bail!(
                UserError::new(format!("{location}: {table}.{old}: no such key"))
                    .hint(format!("it is called {table}.{new}"))
            );
        }
    }
    Ok(())
}

/// Refuses NaN and infinity, which TOML can write and no key can use. `path` leads to `value`.
fn refuse_infinite(value: &Value, path: &mut Vec<String>, source: &Source) -> Result<()> {
    let inner: Vec<(String, &Value)> = match value {
        Value::Float(number) if !number.is_finite() => {
            let path: Vec<&str> = path.iter().map(String::as_str).collect();
            let (location, key) = (source.location(&path), path.join("."));
            bail!(UserError::new(format!(
                "{location}: {key} = {number}: must be a finite number"
            )));
        }
        Value::Table(table) => table
            .iter()
            .map(|(key, value)| (key.clone(), value))
            .collect(),
        Value::Array(list) => {
            let numbered = list.iter().enumerate();
            numbered
                .map(|(index, value)| (index.to_string(), value))
                .collect()
        }
        _ => return Ok(()),
    };
    for (key, value) in inner {
        path.push(key);
        refuse_infinite(value, path, source)?;
        path.pop();
    }
    Ok(())
}

/// Refuses values that parse but cannot work, in any table of the file or of a member: all of them
/// at once, a line each.
fn refuse_problems(
    file: &PipelineFile,
    members: &[Member],
    student: Option<&Member>,
    source: &Source,
) -> Result<()> {
    let mut problems = file.data.problems();
    if !(0.0..=MOST_SAVE_MINUTES).contains(&file.save_minutes) {
        problems.push(Problem {
            key: "save_minutes".to_owned(),
            found: file.save_minutes.to_string(),
            reason: format!("must be from 0, every step, to {MOST_SAVE_MINUTES}"),
        });
    }
    problems.extend(file.distill.iter().flat_map(DistillTable::problems));
    problems.extend(file.answers.problems());
    problems.extend(file.predict.problems());
    problems.extend(file.ensemble.problems());
    if let (Some(folds), Some(_)) = (file.ensemble.folds, file.distill) {
        problems.push(Problem {
            key: "ensemble.folds".to_owned(),
            found: folds.to_string(),
            reason:
                "must not be given beside [distill], whose model learns from members that have \
                     seen all of train"
                    .to_owned(),
        });
    }
    let measures = !file.data.dev.is_empty() || file.ensemble.folds.is_some();
    if members.len() > 1 && file.ensemble.method.is_fitted() && !measures {
        problems.push(Problem {
            key: "ensemble.method".to_owned(),
            found: json!(file.ensemble.method).to_string(),
            reason: "is fitted on dev, and there is neither data.dev nor ensemble.folds".to_owned(),
        });
    }
    let several = members.len() > 1 && file.distill.is_none() || file.ensemble.folds.is_some();
    if several && file.answers.decoding == Decoding::BestWindow {
        problems.push(Problem {
            key: "answers.decoding".to_owned(),
            found: "\"window\"".to_owned(),
            reason: "is for one model: each of several has windows of its own".to_owned(),
        });
    }
    let mut lines: Vec<String> = Vec::new();
    let mut refuse = |line: String| {
        // What members share is wrong once.
        if !lines.contains(&line) {
            lines.push(line);
        }
    };
    for problem in problems {
        let path: Vec<&str> = problem.key.split('.').collect();
        refuse(format!("{}: {problem}", source.location(&path)));
    }
    // The student has the file's own tables: there is no entry of its own behind the members'.
    for (index, member) in members.iter().chain(student).enumerate() {
        let mut problems = member.checkpoint.problems();
        problems.extend(member.windows.problems());
        problems.extend(member.pretrain.iter().flat_map(PretrainTable::problems));
        problems.extend(member.train.problems());
        if !member.train.learns() {
            let mut refuse = |reason: &str| {
                problems.push(Problem {
                    key: "train.epochs".to_owned(),
                    found: "0".to_owned(),
                    reason: reason.to_owned(),
                });
            };
            if member.pretrain.is_some() {
                refuse(
                    "must be at least 1 where pretrain.epochs is, since pre-training changes the \
                     encoder under the question-answering head",
                );
            }
            if member.distill.is_some() {
                refuse("must be at least 1 beside [distill], whose model learns from the members");
            }
        } else if file.data.train.is_empty() {
            problems.push(Problem {
                key: "data.train".to_owned(),
                found: "[]".to_owned(),
                reason: "must name a file unless train.epochs is 0".to_owned(),
            });
        }
        if member.train.chooses_on_dev() && !measures {
            problems.push(Problem {
                key: "train.load_best_model_at_end".to_owned(),
                found: "true".to_owned(),
                reason: "chooses a model on dev, and there is neither data.dev nor ensemble.folds"
                    .to_owned(),
            });
        }
        for problem in problems {
            let (table, key) = problem.key.split_once('.').unwrap_or(("", &problem.key));
            let number = index.to_string();
            let own = file
                .ensemble
                .members
                .get(index)
                .and_then(|member| member.table(table));
            let location = match own {
                Some(own) if own.contains_key(key) => {
                    source.location(&["ensemble", "members", &number, table, key])
                }
                _ => source.location(&[table, key]),
            };
            let whose = match own {
                Some(own) if !own.is_empty() => format!("member {}: ", index + 1),
                _ => String::new(),
            };
            refuse(format!("{location}: {whose}{problem}"));
        }
    }
    ensure!(lines.is_empty(), UserError::new(lines.join("\n")));
    Ok(())
}

impl Source<'_> {
    /// `file:line` of a path of keys, or the override that set it, or the file alone where it is a
    /// default. Elements of a list are counted from 0.
    fn location(&self, path: &[&str]) -> String {
        let sets = |assignment: &&String| {
            let key = assignment.split('=').next().unwrap_or_default().trim();
            let mut parts = key.split('.').zip(path);
            key.split('.').count() <= path.len() && parts.all(|(set, part)| set == *part)
        };
        if let Some(assignment) = self.overrides.iter().rev().find(sets) {
            return format!("--set {assignment}");
        }
        match self.line(path) {
            Some(line) => format!("{}:{line}", self.file),
            None => self.file.to_owned(),
        }
    }

    /// The line of a path of keys, counted from 1.
    fn line(&self, path: &[&str]) -> Option<usize> {
        let document = toml::de::DeTable::parse(self.text).ok()?;
        let (first, rest) = path.split_first()?;
        let (mut name, mut value) = document.get_ref().get_key_value(*first)?;
        let mut start = name.span().start;
        for part in rest {
            match value.get_ref() {
                DeValue::Array(elements) => {
                    value = elements.get(part.parse::<usize>().ok()?)?;
                    start = value.span().start;
                }
                DeValue::Table(table) => {
                    (name, value) = table.get_key_value(*part)?;
                    start = name.span().start;
                }
                _ => return None,
            }
        }
        Some(self.text[..start].matches('\n').count() + 1)
    }
}

/// Applies `a.b.c=value`; the value is TOML, or a string where it is not.
fn set(table: &mut Table, assignment: &str) -> Result<()> {
    let Some((key, value)) = assignment.split_once('=') else {
        bail!(UserError::new(format!(
            "--set {assignment}: expected key=value"
        )));
    };
    let parsed = format!("value = {value}")
        .parse::<Table>()
        .ok()
        .and_then(|mut parsed| parsed.remove("value"));
    let is_infinite = |value: &str| {
        value
            .trim()
            .parse()
            .is_ok_and(|number: f64| !number.is_finite())
    };
    ensure!(
        parsed.is_some() || !is_infinite(value),
        UserError::new(format!("--set {assignment}: must be a finite number"))
    );
    let value = parsed.unwrap_or_else(|| Value::String(value.to_owned()));
    let mut parts: Vec<&str> = key.trim().split('.').collect();
    let last = parts.pop().context("a split has at least one part")?;
    let mut table = table;
    for part in parts {
        let entry = table
            .entry(part)
            .or_insert_with(|| Value::Table(Table::new()));
        let Some(inner) = entry.as_table_mut() else {
            bail!(UserError::new(format!(
                "--set {assignment}: {part} is a single value, not a table"
            )));
        };
        table = inner;
    }
    table.insert(last.to_owned(), value);
    Ok(())
}

/// Removes a key that was just set from the members' own settings, which would override it: what is
/// set on the command line holds for all members.
fn set_for_all_members(table: &mut Table, assignment: &str) {
    let key = assignment.split('=').next().unwrap_or_default().trim();
    let Some((section, key)) = key.split_once('.') else {
        return;
    };
    let members = table
        .get_mut("ensemble")
        .and_then(|ensemble| ensemble.get_mut("members"))
        .and_then(Value::as_array_mut);
    for member in members.into_iter().flatten() {
        if let Some(section) = member.get_mut(section).and_then(Value::as_table_mut) {
            section.remove(key);
        }
    }
}

/// The model of the file's own settings, as it learns from the members.
fn student(file: &PipelineFile, distill: DistillTable, source: &Source) -> Result<Member> {
    let alone = PipelineFile {
        ensemble: EnsembleTable::default(),
        distill: None,
        ..file.clone()
    };
    let mut student = members(&alone, source)?.remove(0);
    student.distill = Some(distill);
    Ok(student)
}

fn members(file: &PipelineFile, source: &Source) -> Result<Vec<Member>> {
    let single = [MemberTable::default()];
    let tables = if file.ensemble.members.is_empty() {
        &single[..]
    } else {
        &file.ensemble.members
    };
    let member = |(index, member): (usize, &MemberTable)| {
        let own = OwnSettings {
            member,
            index,
            source,
        };
        let train = own.overlay("train", &file.train)?;
        let mut predict = file.predict.clone();
        predict.precision.get_or_insert(train.precision);
        let mut pretrain = own.overlay("pretrain", &file.pretrain)?;
        pretrain.precision.get_or_insert(train.precision);
        Ok(Member {
            seed: member.seed.unwrap_or(file.seed),
            checkpoint: own.overlay("checkpoint", &file.checkpoint)?,
            windows: own.overlay("windows", &file.windows)?,
            pretrain: (pretrain.epochs > 0).then_some(pretrain),
            train,
            distill: None,
            predict,
        })
    };
    tables.iter().enumerate().map(member).collect()
}

/// What a member does differently, and where that is written.
struct OwnSettings<'a> {
    member: &'a MemberTable,
    index: usize,
    source: &'a Source<'a>,
}

impl OwnSettings<'_> {
    /// `base`, which is the file's table of that name, with the member's keys in it replaced.
    fn overlay<S: Serialize + DeserializeOwned>(&self, table: &str, base: &S) -> Result<S> {
        let own = self.member.table(table).cloned().unwrap_or_default();
        let with = |changes: &Map<String, Json>| -> Result<S, serde_json::Error> {
            let mut keys = serde_json::to_value(base)?;
            if let Some(keys) = keys.as_object_mut() {
                keys.extend(changes.clone());
            }
            serde_json::from_value(keys)
        };
        with(&own).map_err(|error| {
            let alone =
                |key: &&String| with(&Map::from_iter([((*key).clone(), own[*key].clone())]));
            let key = own.keys().find(|key| alone(key).is_err());
            let number = self.index.to_string();
            let mut path = vec!["ensemble", "members", &number, table];
            path.extend(key.map(String::as_str));
            let location = self.source.location(&path);
            let member = self.index + 1;
            let error = plain(&error.to_string());
            UserError::new(format!("{location}: member {member}: {table}: {error}")).into()
        })
    }
}

/// A directory named as a checkpoint source: one that begins with `.` or `/`, or that exists.
pub fn checkpoint_directory(source: &str) -> Option<PathBuf> {
    let path = workspace::resolve(source);
    (source.starts_with(['.', '/']) || path.is_dir()).then_some(path)
}

#[cfg(test)]
mod tests {
    use spanwise_artifact::settings::{Placement, Precision};

    use super::*;

    const MINIMAL: &str =
        "[checkpoint]\nsource = \"c\"\n\n[data]\ntrain = [\"t\"]\ndev = [\"d\"]\n";

    fn parse_with(text: &str, overrides: &[&str]) -> Result<Pipeline> {
        let overrides: Vec<String> = overrides.iter().map(|&text| text.to_owned()).collect();
        parse(
            "p",
            &Source {
                file: "p.toml",
                text,
                overrides: &overrides,
            },
        )
    }

    fn error(extra: &str, overrides: &[&str]) -> String {
        parse_with(&format!("{MINIMAL}{extra}"), overrides)
            .expect_err("must be refused")
            .to_string()
    }

    #[test]
    fn every_key_has_a_default() {
        let pipeline = parse_with(MINIMAL, &[]).unwrap();
        assert_eq!(pipeline.members.len(), 1);
        assert_eq!(pipeline.members[0].seed, 42);
        assert_eq!(pipeline.device, Device::Auto);
        assert_eq!(pipeline.members[0].windows.placement, Placement::Random);
        let again = parse_with(&pipeline.resolved, &[]).unwrap();
        assert_eq!(
            again.resolved, pipeline.resolved,
            "the resolved file is a pipeline file with the same meaning"
        );
    }

    #[test]
    fn refuses_mistakes_with_their_line() {
        let unknown = error("[train]\nepoch = 3\n", &[]);
        assert!(
            unknown.starts_with("p.toml: TOML parse error at line 8, column 1"),
            "{unknown}"
        );
        assert!(
            unknown.contains("unknown field `epoch`, expected one of `epochs`"),
            "{unknown}"
        );
        let kind = error("[train]\nepochs = \"three\"\n", &[]);
        assert!(
            kind.contains("line 8") && kind.contains("found \"three\", expected a whole number"),
            "{kind}"
        );
        assert_eq!(
            error("[train]\nepochs = 2\nwarmup_ratio = 3.0\n", &[]),
            "p.toml:9: train.warmup_ratio = 3.0: must be at most 1"
        );
        assert_eq!(
            error(
                "[ensemble]\nmethod = \"weighted\"\nmembers = [{}, { train = { batch_size = 0 } }]\n",
                &["data.dev=[]"]
            ),
            "--set data.dev=[]: data.dev = []: must name a file unless data.test does\n\
             p.toml:8: ensemble.method = \"weighted\": is fitted on dev, and there is neither data.dev \
             nor ensemble.folds\np.toml:9: member 2: train.batch_size = 0: must be at least 1"
        );
        assert!(
            error("[windows]\nstride = 900\n", &[])
                .starts_with("p.toml:8: windows.stride = 900: must be at most 321, ")
        );
        assert!(
            error("[windows]\nstride = 9223372036854775807\n", &[]).starts_with(
                "p.toml:8: windows.stride = 9223372036854775807: must be at most 321, "
            )
        );
        assert_eq!(
            error("[ensemble]\nmax_minutes = 0.0\n", &[]),
            "p.toml:8: ensemble.max_minutes = 0.0: must be more than 0"
        );
        assert_eq!(
            error("[ensemble]\nfolds = 1000000000\n", &[]),
            "p.toml:8: ensemble.folds = 1000000000: must be at most 100"
        );
        assert_eq!(
            error("[ensemble]\nfolds = 5\n[distill]\n", &[]),
            "p.toml:8: ensemble.folds = 5: must not be given beside [distill], whose model learns from \
             members that have seen all of train"
        );
        assert_eq!(
            error(
                "[train]\nload_best_model_at_end = true\n",
                &["data.dev=[]", "data.test=[\"t\"]"]
            ),
            "p.toml:8: train.load_best_model_at_end = true: chooses a model on dev, and there is \
             neither data.dev nor ensemble.folds"
        );
        assert_eq!(
            error("", &["data.train=[]"]),
            "--set data.train=[]: data.train = []: must name a file unless train.epochs is 0"
        );
        let untrained = ["data.train=[]", "train.epochs=0"];
        assert!(parse_with(MINIMAL, &untrained).is_ok());
        assert_eq!(
            error(
                "[train]\nepochs = 0\n[pretrain]\nepochs = 1\n",
                &["data.train=[]"]
            ),
            "p.toml:8: train.epochs = 0: must be at least 1 where pretrain.epochs is, since \
             pre-training changes the encoder under the question-answering head"
        );
        assert_eq!(
            error("[train]\nepochs = 0\n[distill]\n", &[]),
            "p.toml:8: train.epochs = 0: must be at least 1 beside [distill], whose model learns from \
             the members"
        );
        assert_eq!(
            error("[train]\nlearning_rate = nan\n", &[]),
            "p.toml:8: train.learning_rate = NaN: must be a finite number"
        );
        assert!(
            error("[train]\nprecision = \"fp8\"\n", &[])
                .contains("unknown variant `fp8`, expected one of `auto`, `fp32`, `bf16`, `fp16`")
        );
        let length = error("[answers]\nmax_answer_length = \"long\"\n", &[]);
        assert!(
            length.contains("expected a number of characters or \"fit\""),
            "{length}"
        );
        let device = parse_with(&format!("device = \"gpu\"\n{MINIMAL}"), &[])
            .unwrap_err()
            .to_string();
        assert!(
            device.contains("at line 1, ")
                && device.contains("unknown device \"gpu\": must be auto, "),
            "{device}"
        );
        assert!(parse_with(&format!("device = \"cuda:1\"\n{MINIMAL}"), &[]).is_ok());
    }

    #[test]
    fn old_names_are_refused_with_the_new_one() {
        let check = |text: &str, overrides: &[&str], message: &str, hint: &str| {
            let error = parse_with(&format!("{MINIMAL}{text}"), overrides).unwrap_err();
            let error = error.downcast::<UserError>().unwrap();
            assert_eq!(
                (&*error.message, error.hint.as_deref()),
                (message, Some(hint))
            );
        };
        check(
            "[train]\nepochs = 1\nwarmup = 0.1\n",
            &[],
            "p.toml:9: train.warmup: no such key",
            "it is called train.warmup_ratio",
        );
        check(
            "",
            &["answers.n_best=3"],
            "--set answers.n_best=3: answers.n_best: no such key",
            "it is called answers.n_best_size",
        );
        check(
            "[[ensemble.members]]\nseed = 1\n[[ensemble.members]]\npretrain.masked = 0.2\n",
            &[],
            "p.toml:10: pretrain.masked: no such key",
            "it is called pretrain.mlm_probability",
        );
    }

    #[test]
    fn overrides_are_toml_or_text() {
        let set = [
            "train.epochs=5",
            "checkpoint.source=../x",
            "data.test=[\"a\", \"b\"]",
            "train.precision=bf16",
        ];
        let pipeline = parse_with(MINIMAL, &set).unwrap();
        let member = &pipeline.members[0];
        assert_eq!(
            (member.train.epochs, member.checkpoint.source.as_str()),
            (5, "../x")
        );
        assert_eq!(pipeline.data.test, ["a", "b"]);
        assert_eq!(
            member.predict.precision,
            Some(Precision::Bf16),
            "prediction follows training"
        );
        assert_eq!(
            error("", &["train.epochs"]),
            "--set train.epochs: expected key=value"
        );
        assert!(
            error("", &["train.epoch=1"]).starts_with("--set train.epoch=1: unknown field `epoch`")
        );
        assert!(
            error("", &["train.batch_size=0"])
                .starts_with("--set train.batch_size=0: train.batch_size = 0: must be at least 1")
        );
        assert_eq!(
            error("", &["train={ batch_size = 0 }"]),
            "--set train={ batch_size = 0 }: train.batch_size = 0: must be at least 1"
        );
        assert!(error("", &["seed.x=0"]).contains("--set seed.x=0"));
    }

    #[test]
    fn a_member_overrides_its_own_settings_alone() {
        let text = format!(
            "{MINIMAL}[train]\nepochs = 2\n[[ensemble.members]]\nseed = 1\n[[ensemble.members]]\ntrain.epochs = 4\n"
        );
        let pipeline = parse_with(&text, &[]).unwrap();
        let found: Vec<_> = pipeline
            .members
            .iter()
            .map(|member| (member.seed, member.train.epochs))
            .collect();
        assert_eq!(found, [(1, 2), (42, 4)]);
        let pipeline = parse_with(&text, &["train.epochs=7", "seed=5"]).unwrap();
        let found: Vec<_> = pipeline
            .members
            .iter()
            .map(|member| (member.seed, member.train.epochs))
            .collect();
        assert_eq!(found, [(1, 7), (5, 7)], "the command line holds for all");
    }

    #[test]
    fn a_members_mistake_is_reported_with_its_own_line() {
        let check = |members: &str, expected: &str| {
            let text = format!("[train]\nepochs = 1\n[[ensemble.members]]\nseed = 1\n{members}");
            let found = error(&text, &[]);
            assert!(found.starts_with(expected), "{found}");
        };
        check(
            "[[ensemble.members]]\nseed = 2\ntrain = { batch_size = 0 }\n",
            "p.toml:13: member 2: train.batch_size = 0: must be at least 1",
        );
        check(
            "[[ensemble.members]]\ntrain.epoch = 4\n",
            "p.toml:12: member 2: train: unknown field `epoch`",
        );
        check(
            "train.ema = inf\n",
            "p.toml:11: ensemble.members.0.train.ema = inf: must be a finite number",
        );
        check(
            "windows.max_length = 100\n",
            "p.toml: member 1: windows.stride = 128: must be at most 37, ",
        );
        check(
            "train.distill = { weight = 1.0 }\n",
            "p.toml:11: member 1: train: unknown field `distill`",
        );
    }
}
