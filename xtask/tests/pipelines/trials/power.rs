//! Power cuts.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use fs_err as fs;
use spanwise_program::output::message;

use super::{LONG, Trial, assert_same, expected};
use crate::pipeline::Pipeline;

/// What makes a file system, and what it is mounted with: names reach the disk within a second, as
/// they would in a run of more than seconds.
const FILE_SYSTEMS: [(&str, &[&str], &str); 3] = [
    ("ext4", &["-q", "-F"], "loop,commit=1"),
    ("xfs", &["-q", "-f"], "loop,nouuid"),
    ("btrfs", &["-q", "-f"], "loop,commit=1"),
];

/// Enough for each of them.
const BYTES: u64 = 320 << 20;

/// The power is cut at a random moment: what the disk then has is mounted anew, and the next run
/// ends with the right answers. Saved states of trainings are among what it has. `SPANWISE_DEVICE`
/// names another device than flex.
#[test]
fn power_cuts() {
    for (kind, make, options) in FILE_SYSTEMS {
        let make = |image: &Path| {
            let mut command = Command::new(format!("mkfs.{kind}"));
            quiet(command.args(make).arg(image))
        };
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("image");
        let place = folder.path().join("disk");
        fs::create_dir(&place).unwrap();
        fs::File::create(&image).unwrap().set_len(BYTES).unwrap();
        let disk = make(&image).then(|| Disk::mount(&image, &place, options));
        let Some(disk) = disk.flatten() else {
            message(format_args!(
                "skipped: {kind} cannot be made and mounted here (it takes root and mkfs.{kind})"
            ));
            continue;
        };
        cut(kind, disk);
    }
}

fn cut(kind: &'static str, disk: Disk) {
    let mut trial = Trial::new(kind, 1);
    let device = std::env::var("SPANWISE_DEVICE").unwrap_or_else(|_| "flex".to_owned());
    let device = format!("device={device}");
    let arguments = [&LONG[..], &["--set", &device]].concat();
    let expected = expected(&arguments);
    let mut pipeline = Pipeline::new("power-");
    pipeline.output.clone_from(&disk.place);
    let mut disk = Some(disk);
    for round in 0..trial.rounds {
        let run = pipeline.begin(&arguments);
        std::thread::sleep(trial.moment(Duration::from_secs(7)));
        // Nothing more is written, and what is on its way to the disk does not change.
        run.signal("STOP", true);
        let cut = disk.take().unwrap();
        let snapshot = cut.snapshot();
        run.signal("KILL", true);
        run.end();
        let after = cut.replaced_by(&snapshot);
        let what = format!("{kind}, round {round}");
        let artifacts = pipeline.output.join("artifacts");
        trial.count(if artifacts.join("answers").exists() {
            "cuts after all stages"
        } else if has_state(&artifacts) {
            "cuts that left a saved training"
        } else if artifacts.exists() {
            "cuts after some stages"
        } else {
            "cuts before anything was on the disk"
        });
        let ended = pipeline.complete(&arguments);
        if ended.messages.contains("resuming") {
            trial.count("trainings resumed");
        }
        if ended.messages.contains("damaged") || ended.messages.contains("cannot be used") {
            trial.count("damages said");
        }
        assert_same(&pipeline.outcome(), &expected, &what);
        if trial.random.bool() {
            for folder in ["artifacts", "runs"] {
                fs::remove_dir_all(pipeline.output.join(folder)).unwrap();
            }
        } else {
            // Trainings alone are made again.
            fs::remove_dir_all(artifacts.join("train")).unwrap();
            fs::remove_dir_all(artifacts.join("answers")).unwrap();
        }
        disk = Some(after);
    }
}

fn has_state(artifacts: &Path) -> bool {
    let entries = fs::read_dir(artifacts.join("train")).into_iter().flatten();
    let mut names = entries.flatten().map(|entry| entry.file_name());
    names.any(|name| name.to_string_lossy().starts_with(".state-"))
}

/// A file that is mounted as a disk until this is dropped.
struct Disk {
    image: PathBuf,
    place: PathBuf,
    options: &'static str,
}

impl Disk {
    fn mount(image: &Path, place: &Path, options: &'static str) -> Option<Self> {
        let mut mount = Command::new("mount");
        mount.args(["-o", options]).args([image, place]);
        quiet(&mut mount).then(|| Self {
            image: image.to_owned(),
            place: place.to_owned(),
            options,
        })
    }

    /// What the disk has at one moment: a copy during which nothing has changed.
    fn snapshot(&self) -> PathBuf {
        let copy = self.image.with_extension("copy");
        loop {
            let mut copying = Command::new("cp");
            copying.arg("--sparse=always").args([&self.image, &copy]);
            assert!(quiet(&mut copying));
            if quiet(Command::new("cmp").args([&self.image, &copy])) {
                return copy;
            }
        }
    }

    /// The disk as it was when the power was cut.
    fn replaced_by(self, snapshot: &Path) -> Self {
        let (image, place, options) = (self.image.clone(), self.place.clone(), self.options);
        drop(self);
        fs::rename(snapshot, &image).unwrap();
        Self::mount(&image, &place, options).expect("what the disk has can be mounted")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Programs that were killed hold it for a moment.
        for _ in 0..100 {
            if quiet(Command::new("umount").arg(&self.place)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// Whether a command succeeds.
fn quiet(command: &mut Command) -> bool {
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}
