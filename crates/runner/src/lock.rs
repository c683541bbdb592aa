//! One run at a time makes an artifact; others wait for it.
//!
//! A lock is a file beside the artifact that says whose it is and is written anew while it is held:
//! so it also holds where a directory is shared between machines, and is nobody's where its owner
//! is gone.

use std::fs::Permissions;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result};
use fs_err::OpenOptions;
use serde::{Deserialize, Serialize};
use spanwise_program::signals;
use tempfile::TempPath;

use crate::workspace;

/// Time between renewals.
const RENEWAL: Duration = Duration::from_secs(10);

/// A lock of another machine that stays as it is for so long is nobody's.
const EXPIRY: Duration = Duration::from_mins(2);

/// A lock that says nothing of its owner for so long is nobody's: a power cut has left it empty.
const EMPTY_EXPIRY: Duration = Duration::from_secs(2);

/// Time between looks at a lock that is waited for.
pub(crate) const LOOK: Duration = Duration::from_millis(200);

/// What the names of locks begin with, beside the artifacts that they are for.
pub(crate) const PREFIX: &str = ".lock-";

/// Whose a lock is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Owner {
    /// Name of the machine, and what tells its starts and its containers apart.
    machine: String,
    process: u32,
    /// When the process was started, in ticks since the machine was: numbers are used again.
    started: u64,
    /// When it was taken, in UTC.
    since: String,
    renewals: u64,
}

/// Held until it is dropped.
pub(crate) struct Lock {
    path: PathBuf,
    owner: Owner,
    stop: Option<Sender<()>>,
    renewal: Option<JoinHandle<()>>,
}

impl Lock {
    /// Takes the lock of an artifact. Where another run has it, `waiting` is told whose it is, once,
    /// and it is waited for.
    pub(crate) fn take(
        artifact: &Path,
        mut waiting: impl FnMut(&str) -> Result<()>,
    ) -> Result<Self> {
        let path = path_of(artifact);
        if let Some(parent) = path.parent() {
            workspace::create_folder(parent)?;
        }
        let owner = Owner::this();
        let mut seen: Option<(Vec<u8>, Instant)> = None;
        let mut said = false;
        loop {
            if owner.take(&path)? {
                return Ok(Self::held(path, owner));
            }
            signals::check("")?;
            let content = match fs_err::read(&path) {
                // It is gone by now.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                content => content?,
            };
            let other: Option<Owner> = serde_json::from_slice(&content).ok();
            let (content, since) = match seen.take() {
                Some((old, since)) if old == content => (content, since),
                _ => (content, Instant::now()),
            };
            let is_gone = is_gone(&path, other.as_ref(), since.elapsed())?;
            if is_gone {
                take_away(&path, &content)?;
            } else {
                if !std::mem::replace(&mut said, true) {
                    let owner = other.map_or_else(String::new, |owner| format!(": {owner}"));
                    waiting(&owner)?;
                }
                thread::sleep(LOOK);
            }
            seen = Some((content, since));
        }
    }

    /// Renews the lock until it is dropped.
    fn held(path: PathBuf, mut owner: Owner) -> Self {
        let held = owner.clone();
        let (stop, stopped) = mpsc::channel();
        let file = path.clone();
        let renewal = thread::spawn(move || {
            while stopped.recv_timeout(RENEWAL) == Err(RecvTimeoutError::Timeout) {
                match fs_err::read(&file) {
                    Ok(content) if owner.wrote(&content) => {
                        owner.renewals += 1;
                        // Where this fails for long, another machine may do the same work again.
                        let _ = owner.write(&file);
                    }
                    // Another machine has taken it for nobody's.
                    Ok(_) => break,
                    Err(error) if error.kind() == ErrorKind::NotFound => break,
                    // It may be readable the next time.
                    Err(_) => {}
                }
            }
        });
        Self {
            path,
            owner: held,
            stop: Some(stop),
            renewal: Some(renewal),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(renewal) = self.renewal.take() {
            // The thread does nothing that panics.
            let _ = renewal.join();
        }
        if self.owner.has(&self.path) {
            // One that stays is taken over, since its owner is gone.
            let _ = fs_err::remove_file(&self.path);
        }
    }
}

/// Whether the owner of a lock that has been the same for `unchanged` is gone.
fn is_gone(path: &Path, owner: Option<&Owner>, unchanged: Duration) -> Result<bool> {
    Ok(match owner {
        Some(owner) if owner.machine == Owner::this().machine => !owner.is_alive(),
        Some(_) => unchanged > EXPIRY || age(path)? > EXPIRY,
        None => unchanged > EMPTY_EXPIRY || age(path)? > EMPTY_EXPIRY,
    })
}

/// The lock of an artifact.
pub(crate) fn path_of(artifact: &Path) -> PathBuf {
    let name = artifact.file_name().unwrap_or_default().to_string_lossy();
    artifact.with_file_name(format!("{PREFIX}{name}"))
}

/// Who makes an artifact now, for people.
pub(crate) fn holder(artifact: &Path) -> Option<String> {
    let path = path_of(artifact);
    let owner: Owner = serde_json::from_slice(&fs_err::read(&path).ok()?).ok()?;
    let is_gone = is_gone(&path, Some(&owner), Duration::ZERO).unwrap_or(true);
    (!is_gone).then(|| owner.to_string())
}

/// Whether a lock was left by a run that was killed.
pub(crate) fn is_nobodys(path: &Path) -> Result<bool> {
    let owner = fs_err::read(path).map(|content| serde_json::from_slice(&content).ok());
    is_gone(path, owner.unwrap_or_default().as_ref(), Duration::ZERO)
}

/// Time since a lock was renewed, by the clock of the file system that it lies on.
fn age(path: &Path) -> Result<Duration> {
    let parent = path.parent().unwrap_or(path);
    let now = tempfile::NamedTempFile::new_in(parent)?;
    let now = now.as_file().metadata()?.modified()?;
    let renewed = fs_err::metadata(path).and_then(|lock| lock.modified());
    // One that is gone by now is not old.
    Ok(renewed.map_or(Duration::ZERO, |renewed| {
        now.duration_since(renewed).unwrap_or_default()
    }))
}

/// Removes the lock whose content was `content`; one that another run has taken meanwhile stays.
fn take_away(path: &Path, content: &[u8]) -> Result<()> {
    // One run at a time looks and removes: else it might remove what another has taken since.
    let turn = path.with_added_extension("takeover");
    match OpenOptions::new().write(true).create_new(true).open(&turn) {
        Ok(_) => {
            if fs_err::read(path).is_ok_and(|now| now == content) {
                fs_err::remove_file(path)?;
            }
            let _ = fs_err::remove_file(turn);
            Ok(())
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            thread::sleep(LOOK);
            if age(&turn)? > EXPIRY {
                // Of a run that was killed in between. Another may be faster.
                let _ = fs_err::remove_file(turn);
            }
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

impl Owner {
    fn this() -> Self {
        let name = rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .into_owned();
        let start = fs_err::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        // Processes of two containers may have one number.
        let container = fs_err::read_link("/proc/self/ns/pid").unwrap_or_default();
        let machine = format!("{name} {} {}", start.trim(), container.display());
        let process = std::process::id();
        Self {
            machine: machine.trim_end().to_owned(),
            process,
            started: started(process).unwrap_or_default(),
            since: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
            renewals: 0,
        }
    }

    /// Whether its process is there, on this machine.
    fn is_alive(&self) -> bool {
        let process = i32::try_from(self.process).ok();
        let process = process.and_then(rustix::process::Pid::from_raw);
        // One that has ended stays in the table until its parent looks.
        let state = fs_err::read_to_string(format!("/proc/{}/stat", self.process));
        let has_ended = state.is_ok_and(|state| state.contains(") Z "))
            || started(self.process).is_some_and(|started| started != self.started);
        !has_ended
            && process.is_some_and(|process| {
                // One of another user may not be asked.
                rustix::process::test_kill_process(process) != Err(rustix::io::Errno::SRCH)
            })
    }

    /// Makes a lock this one's that is nobody's; false where it is somebody's.
    fn take(&self, path: &Path) -> Result<bool> {
        let new = self.draft(path)?;
        match fs_err::hard_link(&new, path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
            Err(_) => {
                // Where there are no hard links, the lock is empty for a moment.
                match OpenOptions::new().write(true).create_new(true).open(path) {
                    Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
                    Err(error) => Err(error.into()),
                    Ok(_) => self.write(path).map(|()| true),
                }
            }
            Ok(()) => Ok(true),
        }
    }

    /// Writes a lock anew.
    fn write(&self, path: &Path) -> Result<()> {
        // Renamed into place: there is no moment with half of it.
        Ok(self.draft(path)?.persist(path)?)
    }

    /// A file beside a lock with what it will say, whose name no other process, of whichever machine,
    /// has.
    fn draft(&self, path: &Path) -> Result<TempPath> {
        let parent = path.parent().context("a lock lies in a directory")?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let new = tempfile::Builder::new()
            .prefix(&format!("{name}.new-"))
            // Other users look at it, too.
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(parent)?;
        fs_err::write(new.path(), serde_json::to_string(self)?)?;
        Ok(new.into_temp_path())
    }

    /// Whether a lock is this one's.
    fn has(&self, path: &Path) -> bool {
        fs_err::read(path).is_ok_and(|content| self.wrote(&content))
    }

    /// Whether a lock with this content is this one's.
    fn wrote(&self, content: &[u8]) -> bool {
        let same = |owner: &Self| (owner.machine.clone(), owner.process, owner.started);
        let owner: Option<Self> = serde_json::from_slice(content).ok();
        owner.is_some_and(|owner| same(&owner) == same(self))
    }
}

/// When a process was started, in ticks since the machine was; `None` where the system does not say.
fn started(process: u32) -> Option<u64> {
    let stat = fs_err::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name before it may have spaces and brackets.
    let (_, fields) = stat.rsplit_once(") ")?;
    fields.split(' ').nth(19)?.parse().ok()
}

impl std::fmt::Display for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let machine = self.machine.split(' ').next().unwrap_or_default();
        write!(
            f,
            "process {} on {machine}, since {}",
            self.process, self.since
        )
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn one_at_a_time_holds_it() -> Result<()> {
        let directory = tempfile::tempdir()?;
        let artifact = directory.path().join("artifact");
        let (holders, waited) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let hold = || {
            for _ in 0..3 {
                let waiting = |_: &str| {
                    waited.fetch_add(1, Ordering::SeqCst);
                    Ok(())
                };
                let lock = Lock::take(&artifact, waiting).unwrap();
                assert_eq!(holders.fetch_add(1, Ordering::SeqCst), 0);
                thread::sleep(Duration::from_millis(20));
                holders.fetch_sub(1, Ordering::SeqCst);
                drop(lock);
            }
        };
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(hold);
            }
        });
        assert!(waited.load(Ordering::SeqCst) > 0);
        assert_eq!(fs_err::read_dir(directory.path())?.count(), 0);
        Ok(())
    }

    #[test]
    fn what_a_process_has_left_is_taken_over() -> Result<()> {
        let directory = tempfile::tempdir()?;
        let artifact = directory.path().join("artifact");
        let mut process = std::process::Command::new("true").spawn()?;
        let gone = Owner {
            process: process.id(),
            started: started(process.id()).unwrap_or_default(),
            ..Owner::this()
        };
        // First without a parent that has looked.
        let ended = rustix::process::WaitIdOptions::EXITED | rustix::process::WaitIdOptions::NOWAIT;
        let id = rustix::process::Pid::from_child(&process);
        rustix::process::waitid(rustix::process::WaitId::Pid(id), ended)?;
        for _ in 0..2 {
            gone.write(&directory.path().join(".lock-artifact"))?;
            let waiting = |owner: &str| anyhow::bail!("nobody is waited for{owner}");
            drop(Lock::take(&artifact, waiting)?);
            process.wait()?;
        }
        // Of a process whose number another has now.
        let earlier = Owner {
            started: 0,
            ..Owner::this()
        };
        earlier.write(&directory.path().join(".lock-artifact"))?;
        drop(Lock::take(&artifact, |owner| {
            anyhow::bail!("nobody is waited for{owner}")
        })?);
        // Of another machine that has not renewed it for long.
        let other = Owner {
            machine: "other".to_owned(),
            ..Owner::this()
        };
        let path = directory.path().join(".lock-artifact");
        other.write(&path)?;
        let long_ago = SystemTime::now() - 2 * EXPIRY;
        fs_err::OpenOptions::new()
            .write(true)
            .open(&path)?
            .set_modified(long_ago)?;
        let nobody = |owner: &str| anyhow::bail!("nobody is waited for{owner}");
        drop(Lock::take(&artifact, nobody)?);
        // Of which a power cut has left the name.
        fs_err::write(&path, "")?;
        drop(Lock::take(&artifact, |_| Ok(()))?);
        assert_eq!(fs_err::read_dir(directory.path())?.count(), 0);
        Ok(())
    }
}
