//! Signals.

use std::time::{Duration, Instant};

use spanwise_program::output::message;

use super::{Ended, LONG, Trial, assert_same, entries, expected};
use crate::pipeline::Pipeline;

/// A signal, to the runner or to its whole group, and what the runner then ends with.
const SIGNALS: [(&str, bool, i32); 7] = [
    ("INT", false, 130),
    ("INT", true, 130),
    ("TERM", false, 143),
    ("TERM", true, 143),
    ("HUP", true, 129),
    ("KILL", false, 137),
    ("KILL", true, 137),
];

/// Runs that are interrupted at random moments and started again end with the model and the answers
/// of one that was not, and leave nothing behind.
#[test]
fn interruptions_on_flex() {
    interruptions("flex");
}

/// As on flex, where libtorch is set up.
#[test]
fn interruptions_on_libtorch() {
    if spanwise_runner::workspace::has_libtorch() {
        interruptions("cpu");
    } else {
        message("skipped: libtorch is not set up (cargo xtask setup)");
    }
}

/// Ctrl-Z and back.
#[test]
fn a_stopped_run_goes_on() {
    let expected = expected(&LONG);
    let pipeline = Pipeline::new("stopped-");
    let started = pipeline.begin(&LONG);
    for _ in 0..3 {
        std::thread::sleep(Duration::from_millis(300));
        started.signal("TSTP", true);
        assert!(started.stops(), "Ctrl-Z");
        started.signal("CONT", true);
    }
    assert_eq!(started.end().code, 0);
    assert_same(&pipeline.outcome(), &expected, "stopped and back");
}

/// A training of half a minute ends with its runner, however that ends.
#[test]
fn nothing_outlives_its_runner() {
    for (signal, group) in [("KILL", false), ("KILL", true), ("TERM", false)] {
        let pipeline = Pipeline::new("orphan-");
        let mut started = pipeline.begin(&["--set", "train.epochs=10000"]);
        started.wait_for("to learn from");
        started.signal(signal, group);
        assert_ne!(started.end().code, 0);
        assert_no_orphan(&pipeline);
    }
}

fn interruptions(device: &str) {
    let mut trial = Trial::new("interruptions", 3);
    let device = format!("device={device}");
    let arguments = [&LONG[..], &["--set", &device]].concat();
    let expected = expected(&arguments);
    let pipeline = Pipeline::new("interrupted-");
    let (mut round, mut saved) = (0, 0);
    // However few there are, one has come while a model was trained.
    while round < trial.rounds || (saved == 0 && round < 50) {
        // In steps of three, so that few rounds have most of them.
        let (signal, group, code) = SIGNALS[3 * round % SIGNALS.len()];
        let mut started = pipeline.begin(&arguments);
        if round % 2 == 0 {
            started.wait_for("to learn from");
            std::thread::sleep(trial.moment(Duration::from_millis(500)));
        } else {
            std::thread::sleep(trial.moment(Duration::from_secs(4)));
        }
        if started.has_ended() {
            // All is done: from the beginning.
            assert_eq!(started.end().code, 0);
            assert_same(&pipeline.outcome(), &expected, "resumed");
            trial.count("pipelines ended");
            for folder in ["artifacts", "runs"] {
                fs_err::remove_dir_all(pipeline.output.join(folder)).unwrap();
            }
            continue;
        }
        started.signal(signal, group);
        let Ended {
            code: found,
            messages,
        } = started.end();
        assert!(found == code || found == 0, "{signal}: {found}: {messages}");
        if found == 0 {
            assert_same(&pipeline.outcome(), &expected, "it had ended before");
        }
        assert_no_orphan(&pipeline);
        if messages.contains("which is saved") {
            saved += 1;
            trial.count(format!("{signal}: trainings saved"));
        } else {
            trial.count(format!("{signal}: others"));
        }
        round += 1;
    }
    assert!(saved > 0, "no signal has come while a model was trained");
    pipeline.complete(&arguments);
    assert_same(&pipeline.outcome(), &expected, "resumed");
    let left: Vec<_> = entries(&pipeline.output.join("artifacts"))
        .into_iter()
        .filter(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            name.starts_with('.') && name != ".lock"
        })
        .collect();
    assert!(left.is_empty(), "left behind: {left:?}");
}

/// No process that works on this pipeline is left, at most a moment after its runner has ended.
fn assert_no_orphan(pipeline: &Pipeline) {
    let shown = pipeline.output.display().to_string();
    let began = Instant::now();
    loop {
        let left: Vec<_> = fs_err::read_dir("/proc")
            .unwrap()
            .flatten()
            .filter_map(|process| fs_err::read(process.path().join("environ")).ok())
            .filter(|environment| String::from_utf8_lossy(environment).contains(&shown))
            .collect();
        if left.is_empty() {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(10), "an orphan");
        std::thread::sleep(Duration::from_millis(20));
    }
}
