//! Whatever a pipeline file has in it, it is taken or refused in words.
//!
//! For as many minutes as wanted:
//! `SPANWISE_FUZZ_MINUTES=10 cargo nextest run -p spanwise-runner --run-ignored only -E 'test(fuzz)'`

use std::time::{Duration, Instant};

use anyhow::Result;
use spanwise_artifact::UserError;
use spanwise_runner::pipeline_file;
use spanwise_runner::plan::graph::Graph;

/// A pipeline file with every table.
const FILE: &str = include_str!("../../../pipelines/demo.toml");

/// What is put in anywhere.
const PIECES: [&str; 24] = [
    "[",
    "]",
    "{",
    "}",
    "=",
    "\"",
    "'''",
    ".",
    "\n",
    "#",
    "[[ensemble.members]]\n",
    "[ensemble]\nfolds = 100\n",
    "[distill]\n",
    "[pretrain]\nepochs = 1\n",
    "ensemble.members = [{}, {}]\n",
    "-1",
    "0",
    "9223372036854775807",
    "1e400",
    "nan",
    "\u{1b}[2J\u{202e}\u{0}",
    "1979-05-27",
    "true",
    "\u{feff}",
];

fn changed(random: &mut fastrand::Rng) -> (String, Vec<String>) {
    let mut text = FILE.to_owned();
    for _ in 0..random.usize(1..6) {
        let start = text.floor_char_boundary(random.usize(0..=text.len()));
        let end = text.floor_char_boundary(start + random.usize(0..40).min(text.len() - start));
        let end = end.max(start);
        let piece = PIECES[random.usize(0..PIECES.len())];
        match random.u8(0..5) {
            0 => text.replace_range(start..end, ""),
            1 => text.truncate(start),
            2 => {
                let copy = text[start..].to_owned();
                text.push_str(&copy);
            }
            3 => text.insert_str(start, &piece.repeat(random.usize(1..2000))),
            _ => text.replace_range(start..end, piece),
        }
    }
    let lines: Vec<&str> = FILE.lines().collect();
    let key = lines[random.usize(0..lines.len())].split('#').next();
    let piece = PIECES[random.usize(0..PIECES.len())];
    let set = match random.u8(0..4) {
        0 => vec![format!("train.{}{piece}", key.unwrap_or_default())],
        1 => vec![format!("{piece}={piece}")],
        _ => Vec::new(),
    };
    (text, set)
}

/// Reads changed files until `is_over`; returns how many were taken and how many refused.
fn read(seed: u64, is_over: impl Fn(usize) -> bool) -> Result<(usize, usize)> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("p.toml");
    let mut random = fastrand::Rng::with_seed(seed);
    let (mut taken, mut refused) = (0, 0);
    while !is_over(taken + refused) {
        let (text, set) = changed(&mut random);
        fs_err::write(&path, &text)?;
        let pipeline = pipeline_file::read(&path, &set);
        let nodes = pipeline.and_then(|pipeline| {
            let mut graph = Graph::new(&pipeline)?;
            graph.add_checkpoints()?;
            graph.add_windows();
            while graph.add_member() {}
            graph.finish();
            Ok(graph.nodes().len())
        });
        match nodes {
            Ok(_) => taken += 1,
            Err(error) => {
                assert!(error.is::<UserError>(), "{error:#}\n{text}\n{set:?}");
                refused += 1;
            }
        }
    }
    Ok((taken, refused))
}

#[test]
fn changed_files_are_taken_or_refused() -> Result<()> {
    let (taken, refused) = read(1, |count| count == 1000)?;
    assert!(taken > 0 && refused > 0, "{taken} taken, {refused} refused");
    Ok(())
}

#[test]
#[ignore = "takes as many minutes as SPANWISE_FUZZ_MINUTES says, or ten"]
fn fuzz() -> Result<()> {
    let minutes = std::env::var("SPANWISE_FUZZ_MINUTES").ok();
    let minutes = minutes
        .and_then(|minutes| minutes.parse().ok())
        .unwrap_or(10);
    let (began, limit) = (Instant::now(), Duration::from_mins(minutes));
    let seed = fastrand::u64(..);
    let (taken, refused) = read(seed, |_| began.elapsed() > limit)?;
    println!("seed {seed}: {taken} files taken, {refused} refused");
    Ok(())
}
