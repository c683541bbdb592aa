//! Inputs that nobody should write.

use std::ffi::OsStr;
use std::path::Path;
use std::time::Duration;

use fs_err as fs;
use serde_json::{Value, json};
use spanwise_program::output::plain;

use super::{Started, Trial};
use crate::pipeline::Pipeline;

/// Pipeline files, data, checkpoints and jobs with random changes: each run ends with 0 or 2, in
/// time, without a panic.
#[test]
fn hostile() {
    let mut trial = Trial::new("hostile", 16);
    let pipeline = Pipeline::new("hostile-");
    pipeline.complete(&[]);
    let files = [
        "tiny.toml",
        "train.json",
        "dev.json",
        "test.json",
        "checkpoint/config.json",
        "checkpoint/vocab.txt",
        "checkpoint/model.safetensors",
    ];
    let path = |file: &str| pipeline.directory.path().join(file);
    let originals = files.map(|file| fs::read(path(file)).unwrap());
    for round in 0..trial.rounds {
        let index = trial.random.usize(0..files.len());
        let (file, original) = (files[index], &originals[index]);
        let (changed, how) = change(&mut trial, file, original);
        fs::write(path(file), &changed).unwrap();
        let mut run = Started::new(&mut pipeline.xtask("pipeline"));
        // Ten thousand epochs are allowed, if they end when they are asked to.
        let asked = asked_to_end(&mut run);
        let ended = run.end();
        let is_fine = matches!(ended.code, 0 | 2) || (asked && ended.code == 130);
        assert!(
            is_fine && !ended.messages.contains("panicked") && ended.messages.len() < 20_000,
            "round {round}: {file}: {how}: {}: {}",
            ended.code,
            ended.messages.chars().take(3000).collect::<String>()
        );
        assert_eq!(
            ended.messages,
            plain(&ended.messages),
            "round {round}: {file}: {how}"
        );
        let became = match ended.code {
            0 => "accepted",
            2 => "refused",
            _ => "ended when asked to",
        };
        trial.count(format!("{file}: {became}"));
        fs::write(path(file), original).unwrap();
    }
    pipeline.complete(&[]);
}

/// Asks a run to end that takes longer than the pipeline of seconds should.
fn asked_to_end(run: &mut Started) -> bool {
    for _ in 0..400 {
        if run.has_ended() {
            return false;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    run.signal("INT", true);
    true
}

/// A changed copy of a file, and in words how.
fn change(trial: &mut Trial, file: &str, original: &[u8]) -> (Vec<u8>, String) {
    let random = &mut trial.random;
    if random.bool() {
        let kind = Path::new(file).extension().and_then(OsStr::to_str);
        if kind == Some("json")
            && let Ok(mut value) = serde_json::from_slice::<Value>(original)
        {
            let how = change_value(random, &mut value);
            return (value.to_string().into_bytes(), how);
        }
        if kind == Some("toml") {
            return change_line(random, &String::from_utf8_lossy(original));
        }
    }
    let mut bytes = original.to_vec();
    let at = random.usize(0..bytes.len());
    let how = match random.u8(0..6) {
        0 => {
            bytes[at] ^= 1 << random.u8(0..8);
            "a bit flipped"
        }
        1 => {
            bytes.truncate(at);
            "cut"
        }
        2 => {
            bytes.splice(at..at, [0; 8]);
            "eight zeros"
        }
        3 => {
            bytes.splice(at..at, b"\x1b[2J\xff\xfe[[[[{{{{\"".iter().copied());
            "rubbish"
        }
        4 => {
            bytes.splice(at..at, std::iter::repeat_n(b'[', 100_000));
            "100,000 brackets"
        }
        _ => {
            let copy = bytes[at..].to_vec();
            bytes.splice(at..at, copy);
            "a part twice"
        }
    };
    (bytes, format!("{how} at byte {at}"))
}

/// Values that parse and mean nothing.
fn odd(random: &mut fastrand::Rng) -> Value {
    let all = [
        json!(null),
        json!(-1),
        json!(0),
        json!(u64::MAX),
        json!(i64::MIN),
        json!(1_000_000_000_000_u64),
        json!(1e300),
        json!(0.5),
        json!(""),
        json!("\u{1b}[31m\u{202e}\u{0}"),
        json!("x".repeat(70_000)),
        json!([]),
        json!({}),
        json!([[[[[[]]]]]]),
        json!(true),
    ];
    all[random.usize(0..all.len())].clone()
}

/// Puts something else in one place of a document, or takes a key away.
fn change_value(random: &mut fastrand::Rng, value: &mut Value) -> String {
    let descends = random.u8(0..5) > 0;
    match value {
        Value::Object(keys) if descends && !keys.is_empty() => {
            let index = random.usize(0..keys.len());
            let key = keys.keys().nth(index).cloned().unwrap_or_default();
            if random.u8(0..6) == 0 {
                keys.remove(&key);
                return format!("no {key}");
            }
            format!("{key}: {}", change_value(random, &mut keys[&key]))
        }
        Value::Array(elements) if descends && !elements.is_empty() => {
            let index = random.usize(0..elements.len());
            format!("{index}: {}", change_value(random, &mut elements[index]))
        }
        _ => {
            *value = odd(random);
            let shown: String = value.to_string().chars().take(60).collect();
            format!("now {shown}")
        }
    }
}

/// Gives a setting of a pipeline file another value.
fn change_line(random: &mut fastrand::Rng, text: &str) -> (Vec<u8>, String) {
    let numbers = [
        "0",
        "-1",
        "1e400",
        "nan",
        "9223372036854775807",
        "1000000000000",
        "0.5",
        "\"\"",
        "[]",
        "{}",
        "\"\\u001b[2J\"",
        "true",
        "1979-05-27",
    ];
    const KEYS: [&str; 23] = [
        "seed",
        "device",
        "save_minutes",
        "windows.max_length",
        "windows.stride",
        "windows.max_question_length",
        "train.epochs",
        "train.batch_size",
        "train.learning_rate",
        "train.micro_batch_size",
        "train.max_minutes",
        "train.warmup_ratio",
        "train.ema",
        "train.early_stopping_patience",
        "train.negative_windows",
        "predict.batch_size",
        "answers.max_answer_length",
        "answers.n_best_size",
        "checkpoint.keep_layers",
        "data.train_questions",
        "ensemble.folds",
        "ensemble.max_minutes",
        "pretrain.epochs",
    ];
    let key = KEYS[random.usize(0..KEYS.len())];
    let value = numbers[random.usize(0..numbers.len())];
    let line = format!("{key} = {value}\n");
    let (table, name) = key.split_once('.').unwrap_or(("", key));
    let header = format!("[{table}]\n");
    let old = format!("{name} = ");
    let kept: String = text
        .split_inclusive('\n')
        .filter(|line| !line.starts_with(&old))
        .collect();
    let changed = if table.is_empty() {
        line.clone() + &kept
    } else if kept.contains(&header) {
        kept.replace(&header, &format!("{header}{name} = {value}\n"))
    } else {
        format!("{kept}{header}{name} = {value}\n")
    };
    (changed.into_bytes(), line.trim_end().to_owned())
}
