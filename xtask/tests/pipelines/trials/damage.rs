//! Damaged files.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fs_err as fs;

use super::{LONG, Trial, assert_same, entries, expected};
use crate::pipeline::Pipeline;

/// What the rounds run: settings that share some artifacts and not others.
const VARIANTS: [&[&str]; 3] = [&["--set", "windows.stride=8"], &["--set", "seed=2"], &LONG];

/// Files of artifacts, links, saved states and what else lies in the output are damaged at random:
/// none is used as it is, and the next run ends with the right answers.
#[test]
fn damage() {
    let mut trial = Trial::new("damage", 6);
    let expected = VARIANTS.map(expected);
    let pipeline = Pipeline::new("damage-");
    let output = pipeline.output.clone();
    for variant in VARIANTS {
        pipeline.complete(variant);
    }
    for round in 0..trial.rounds {
        let variant = trial.random.usize(0..VARIANTS.len());
        let arguments = VARIANTS[variant];
        if trial.random.u8(0..4) == 0 {
            interrupt(&mut trial, &pipeline);
        }
        let folders = [output.join("artifacts"), output.join("runs")];
        let files: Vec<_> = folders.iter().flat_map(|folder| entries(folder)).collect();
        let damaged = &files[trial.random.usize(0..files.len())];
        let other = &files[trial.random.usize(0..files.len())];
        let kind = change(&mut trial, damaged, other);
        let name = damaged.strip_prefix(&output).unwrap().display();
        let what = format!("round {round}, {name} {kind}, {arguments:?}");
        let mut ended = pipeline.begin(arguments).end();
        let mut refused = "";
        if ended.code == 2 {
            // What the user has to look at is said once, and the way out is said as well.
            assert!(
                damaged.starts_with(&folders[1]) && ended.messages.contains("hint: "),
                "{what}: {}",
                ended.messages
            );
            refused = ", refused once";
            fs::remove_dir_all(pipeline.run()).unwrap();
            ended = pipeline.begin(arguments).end();
        }
        assert_eq!(ended.code, 0, "{what}: {}", ended.messages);
        // A model that no stage reads is looked at below.
        let mut results = expected[variant].clone();
        results.retain(|name, _| !name.ends_with("model.safetensors"));
        assert_same(&pipeline.outcome(), &results, &what);
        let noticed = if ended.messages.contains("damaged") {
            "said and made again"
        } else if ended.messages.contains("stale") {
            "made again"
        } else {
            "not read, or put right"
        };
        trial.count(format!("{kind}: {noticed}{refused}"));
    }
    // What no run has read is found now.
    for (variant, expected) in VARIANTS.iter().zip(&expected) {
        pipeline.complete(&[variant, &["--verify"][..]].concat());
        assert_same(&pipeline.outcome(), expected, "at the end");
    }
}

/// Leaves the saved state of a training, drafts and locks behind.
fn interrupt(trial: &mut Trial, pipeline: &Pipeline) {
    let train = pipeline.output.join("artifacts/train");
    for artifact in fs::read_dir(&train).into_iter().flatten().flatten() {
        if artifact.path().join("manifest.json").exists() {
            fs::remove_dir_all(artifact.path()).unwrap();
        }
    }
    let mut started = pipeline.begin(&LONG);
    std::thread::sleep(Duration::from_millis(700) + trial.moment(Duration::from_secs(2)));
    if !started.has_ended() {
        started.signal("KILL", true);
        started.end();
    }
}

/// Damages what lies at `path`, perhaps with the help of `other`; returns how.
fn change(trial: &mut Trial, path: &Path, other: &Path) -> &'static str {
    if path.is_symlink() {
        fs::remove_file(path).unwrap();
        return match trial.random.u8(0..3) {
            0 => "deleted",
            1 => {
                std::os::unix::fs::symlink("nowhere", path).unwrap();
                "link that leads nowhere"
            }
            _ => {
                std::os::unix::fs::symlink(other, path).unwrap();
                "link that leads elsewhere"
            }
        };
    }
    if path.is_dir() {
        return match trial.random.u8(0..2) {
            0 => {
                fs::remove_dir_all(path).unwrap();
                "folder deleted"
            }
            _ => {
                let sibling = sibling(trial, path);
                swap(path, &sibling);
                "folder swapped with its neighbour"
            }
        };
    }
    let bytes = fs::read(path).unwrap();
    let write = |path: &Path, bytes: &[u8]| {
        // Artifacts are read-only.
        fs::set_permissions(path, PermissionsExt::from_mode(0o644)).unwrap();
        fs::write(path, bytes).unwrap();
    };
    match trial.random.u8(0..7) {
        0 | 1 if !bytes.is_empty() => {
            let mut bytes = bytes;
            let index = trial.random.usize(0..bytes.len());
            bytes[index] ^= 1 << trial.random.u8(0..8);
            write(path, &bytes);
            "bit flipped"
        }
        2 => {
            write(path, &bytes[..trial.random.usize(0..=bytes.len())]);
            "cut"
        }
        3 => {
            write(path, b"");
            "emptied"
        }
        4 => {
            fs::remove_file(path).unwrap();
            "deleted"
        }
        5 if other.is_file() => {
            swap(path, other);
            "swapped with another"
        }
        _ => {
            // The file of that name that the neighbouring artifact has, as a backup would.
            let name = path.file_name().unwrap();
            let older = sibling(trial, path.parent().unwrap()).join(name);
            let bytes = fs::read(older).unwrap_or_default();
            write(path, &bytes);
            "older version put back"
        }
    }
}

/// A folder beside another, or that one itself.
fn sibling(trial: &mut Trial, folder: &Path) -> PathBuf {
    let entries = fs::read_dir(folder.parent().unwrap()).unwrap().flatten();
    let mut folders: Vec<_> = entries.map(|entry| entry.path()).collect();
    folders.retain(|path| path.is_dir() && !path.is_symlink());
    folders.sort();
    folders.swap_remove(trial.random.usize(0..folders.len()))
}

fn swap(left: &Path, right: &Path) {
    if left == right || left.starts_with(right) || right.starts_with(left) {
        return;
    }
    let aside = left.with_extension("aside");
    fs::rename(left, &aside).unwrap();
    fs::rename(right, left).unwrap();
    fs::rename(aside, right).unwrap();
}
