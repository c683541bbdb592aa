//! What becomes of a pipeline when something goes wrong at a random moment or place.
//!
//! Each trial is short unless `SPANWISE_ROUNDS` says how many rounds it has. `SPANWISE_SEED` decides
//! what happens. So `SPANWISE_ROUNDS=500 cargo xtask test --test pipelines damage -- --nocapture`
//! damages 500 files and says what became of them.

mod damage;
mod hostile;
mod interruptions;
mod power;
mod together;

use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use fs_err as fs;
use spanwise_program::output::message;

use crate::pipeline::Pipeline;

/// Two members, so that artifacts are shared and told apart.
const MEMBERS: &str = "ensemble.members=[{ seed = 1 }, { seed = 2 }]";

/// Training takes a second and saves its state every tenth of one.
const LONG: [&str; 4] = ["--set", "train.epochs=400", "--set", "save_minutes=0.0015"];

/// What ends later than this is stuck, however much else the machine does.
const LIMIT: Duration = Duration::from_mins(15);

/// A number of rounds, chance, and what became of them.
struct Trial {
    name: &'static str,
    rounds: usize,
    seed: u64,
    random: fastrand::Rng,
    counts: BTreeMap<String, usize>,
}

impl Trial {
    fn new(name: &'static str, rounds: usize) -> Self {
        let number = |name| std::env::var(name).ok()?.parse().ok();
        let seed = number("SPANWISE_SEED").unwrap_or(1);
        let rounds = number("SPANWISE_ROUNDS").map_or(rounds, |rounds| rounds as usize);
        Self {
            name,
            rounds,
            seed,
            random: fastrand::Rng::with_seed(seed),
            counts: BTreeMap::new(),
        }
    }

    fn count(&mut self, what: impl Into<String>) {
        *self.counts.entry(what.into()).or_default() += 1;
    }

    /// A duration below `most`.
    fn moment(&mut self, most: Duration) -> Duration {
        most.mul_f64(self.random.f64())
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        let Self {
            name, rounds, seed, ..
        } = self;
        message(format_args!("{name}: {rounds} rounds with seed {seed}"));
        for (what, count) in &self.counts {
            message(format_args!("{count:>6} {what}"));
        }
    }
}

/// A program that was started in a process group of its own.
struct Started {
    child: Child,
    messages: PathBuf,
    _folder: tempfile::TempDir,
}

/// How it ended.
struct Ended {
    /// Its exit code, or 128 and the signal that ended it.
    code: i32,
    /// What it said on standard error.
    messages: String,
}

impl Started {
    fn new(command: &mut Command) -> Self {
        use std::os::unix::process::CommandExt;
        let folder = tempfile::tempdir().unwrap();
        let messages = folder.path().join("messages");
        let file = fs::File::create(&messages).unwrap().into_file();
        let child = command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(file)
            .spawn()
            .unwrap();
        Self {
            child,
            messages,
            _folder: folder,
        }
    }

    /// Sends a signal, such as `KILL`, to the program, or to its whole group.
    fn signal(&self, signal: &str, group: bool) {
        let id = self.child.id();
        let to = if group {
            format!("-{id}")
        } else {
            id.to_string()
        };
        // It may have ended.
        let _ = Command::new("kill")
            .args(["-s", signal, "--", &to])
            .stderr(Stdio::null())
            .status();
    }

    /// Waits until it has said something, or ended.
    fn wait_for(&mut self, text: &str) {
        let began = Instant::now();
        while !self.has_ended() && !fs::read_to_string(&self.messages).unwrap().contains(text) {
            assert!(began.elapsed() < LIMIT, "it does not say {text:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Whether it is stopped, as by Ctrl-Z, a moment later at most.
    fn stops(&self) -> bool {
        let state = format!("/proc/{}/stat", self.child.id());
        (0..200).any(|_| {
            std::thread::sleep(Duration::from_millis(10));
            fs::read_to_string(&state).is_ok_and(|state| state.contains(") T "))
        })
    }

    fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    fn end(mut self) -> Ended {
        let began = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if began.elapsed() > LIMIT {
                let messages = fs::read_to_string(&self.messages).unwrap();
                panic!("it does not end:\n{messages}");
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        let bytes = fs::read(&self.messages).unwrap();
        Ended {
            code: code(status),
            messages: String::from_utf8_lossy(&bytes).into_owned(),
        }
    }

    /// Standard output of one that prints little, and how it ended.
    fn printed(mut self) -> (String, Ended) {
        let mut text = String::new();
        let mut output = self.child.stdout.take().unwrap();
        output.read_to_string(&mut text).unwrap();
        (text, self.end())
    }
}

impl Drop for Started {
    /// Leaves nothing running where a test has failed.
    fn drop(&mut self) {
        if !self.has_ended() {
            self.signal("KILL", true);
            let _ = self.child.wait();
        }
    }
}

fn code(status: ExitStatus) -> i32 {
    status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal))
        .unwrap_or(-1)
}

impl Pipeline {
    /// Results of the last run and its models, by name.
    fn outcome(&self) -> BTreeMap<String, Vec<u8>> {
        let run = self.run();
        let members = [1, 2].map(|member| format!("members/{member}/train/model.safetensors"));
        let names = ["submission.csv", "answers.jsonl", "metrics.json"].map(str::to_owned);
        let names = names.into_iter().chain(members);
        let bytes = |name: String| {
            let bytes = fs::read(run.join(&name)).unwrap_or_default();
            (name, bytes)
        };
        names.map(bytes).collect()
    }

    /// Starts a run with two members.
    fn begin(&self, arguments: &[&str]) -> Started {
        let mut command = self.xtask("pipeline");
        command.args(["--set", MEMBERS]).args(arguments);
        Started::new(&mut command)
    }

    /// A run that must end well.
    fn complete(&self, arguments: &[&str]) -> Ended {
        let ended = self.begin(arguments).end();
        assert_eq!(ended.code, 0, "{arguments:?}: {}", ended.messages);
        ended
    }
}

/// What a run of the tiny pipeline must give, from one that nothing happened to.
fn expected(arguments: &[&str]) -> BTreeMap<String, Vec<u8>> {
    let pipeline = Pipeline::new("expected-");
    pipeline.complete(arguments);
    let outcome = pipeline.outcome();
    assert!(outcome.values().all(|bytes| !bytes.is_empty()));
    outcome
}

/// Panics where two outcomes differ, with the names of the files that do.
fn assert_same(
    found: &BTreeMap<String, Vec<u8>>,
    expected: &BTreeMap<String, Vec<u8>>,
    what: &str,
) {
    let differ: Vec<&String> = expected
        .iter()
        .filter(|(name, bytes)| found.get(*name) != Some(bytes))
        .map(|(name, _)| name)
        .collect();
    assert!(differ.is_empty(), "{what}: {differ:?} are wrong");
}

/// Files, links and folders below `folder`, itself left out, in the order of their names.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() && !path.is_symlink() {
                open.push(path.clone());
            }
            all.push(path);
        }
    }
    all.sort();
    all
}
