//! Runs at once.

use fs_err as fs;

use super::{Started, Trial, assert_same, expected};
use crate::pipeline::Pipeline;

const VARIANTS: [&[&str]; 3] = [&[], &["--set", "seed=2"], &["--set", "windows.stride=8"]];

/// Two to four runs of the same pipeline at once, some with other settings, some that make anew
/// what the others read, one of them killed now and then, beside `status`, `gc` and `ask`: every
/// run that is left to end has the right answers, and `ask` those to its own questions.
#[test]
fn together() {
    let mut trial = Trial::new("together", 2);
    let expected = VARIANTS.map(expected);
    let pipeline = Pipeline::new("together-");
    fs::write(pipeline.directory.path().join("text"), "丣两严並丧丨丩").unwrap();
    for round in 0..trial.rounds {
        if trial.random.bool() {
            for folder in ["artifacts", "runs"] {
                let _ = fs::remove_dir_all(pipeline.output.join(folder));
            }
        }
        let count = trial.random.usize(2..=4);
        let same = trial.random.bool();
        let variants: Vec<usize> = (0..count)
            .map(|_| {
                if same {
                    0
                } else {
                    trial.random.usize(0..VARIANTS.len())
                }
            })
            .collect();
        let mut runs: Vec<_> = variants
            .iter()
            .map(|&variant| {
                let forced: &[&str] = match trial.random.u8(0..6) {
                    0 => &["--force"],
                    1 => &["--from", "train"],
                    _ => &[],
                };
                pipeline.begin(&[VARIANTS[variant], forced].concat())
            })
            .collect();
        let beside = beside(&mut trial, &pipeline);
        let killed = (trial.random.u8(0..3) == 0).then(|| trial.random.usize(0..count));
        if let Some(killed) = killed {
            std::thread::sleep(trial.moment(std::time::Duration::from_secs(3)));
            runs[killed].signal("KILL", trial.random.bool());
        }
        for (index, run) in runs.drain(..).enumerate() {
            let ended = run.end();
            let what = format!("round {round}, run {index} of {variants:?}");
            if Some(index) == killed {
                trial.count("runs killed");
            } else {
                assert_eq!(ended.code, 0, "{what}: {}", ended.messages);
                trial.count("runs ended well");
            }
        }
        for (started, may_refuse) in beside {
            let (printed, ended) = started.printed();
            let is_refused = may_refuse && ended.code == 2;
            assert!(
                ended.code == 0 || is_refused,
                "round {round}: {printed}{}",
                ended.messages
            );
            trial.count("others beside them");
        }
        // The folder is that of one of them, whole.
        let outcome = pipeline.outcome();
        assert!(
            killed.is_some() || variants.iter().any(|&variant| outcome == expected[variant]),
            "round {round}: {variants:?} are crossed"
        );
        let variant = variants[0];
        pipeline.complete(VARIANTS[variant]);
        assert_same(&pipeline.outcome(), &expected[variant], "afterwards");
        ask(&mut trial, &pipeline, VARIANTS[variant]);
    }
}

/// What else people start meanwhile, and whether it may be refused then.
fn beside(trial: &mut Trial, pipeline: &Pipeline) -> Vec<(Started, bool)> {
    let mut started = Vec::new();
    if trial.random.bool() {
        started.push((Started::new(&mut pipeline.xtask("status")), false));
    }
    if trial.random.bool() {
        let mut gc = pipeline.xtask_alone("gc");
        // It waits for nobody.
        started.push((Started::new(&mut gc), true));
    }
    started
}

/// Four sessions at once, each with a question of its own.
fn ask(trial: &mut Trial, pipeline: &Pipeline, arguments: &[&str]) {
    let questions = ["誰?", "哪裡?", "什麼?", "幾時?"];
    let ask = |question: &str| {
        let mut ask = pipeline.xtask("ask");
        ask.args(["--set", super::MEMBERS]).args(arguments);
        ask.arg("--paragraph")
            .arg(pipeline.directory.path().join("text"));
        Started::new(ask.args(["--question", question]))
    };
    let asked = questions.map(|question| (question, ask(question)));
    for (question, session) in asked {
        let (printed, ended) = session.printed();
        assert_eq!(ended.code, 0, "{}", ended.messages);
        let other = questions
            .iter()
            .find(|&&other| other != question && printed.contains(other));
        assert!(printed.contains(question) && other.is_none(), "{printed}");
        trial.count("questions asked at once");
    }
}
