//! Signals that ask a program to end: kept until it has saved what it can, and passed on to the
//! program that it waits for.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};
use std::sync::atomic::{AtomicI32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::output::message;

/// The signals that ask a program to end.
const ENDING: [i32; 3] = [SIGINT, SIGTERM, SIGHUP];

/// The first signal that was kept; 0 before one was.
static KEPT: AtomicI32 = AtomicI32::new(0);

/// The program that is waited for; 0 without one.
static CHILD: AtomicI32 = AtomicI32::new(0);

/// The process that a stage must not outlive, in the environment of stages.
const PARENT: &str = "SPANWISE_PARENT";

/// Signals that come so soon after the first are the same one: a terminal sends it to every
/// program, and the runner passes on its own.
const SAME: Duration = Duration::from_secs(1);

/// Somebody asked the program to end.
#[derive(Debug, thiserror::Error)]
#[error("interrupted{saved}")]
pub struct Interrupted {
    signal: i32,
    saved: String,
}

impl Interrupted {
    /// What a shell expects of a program that a signal has ended.
    pub fn exit_code(&self) -> u8 {
        u8::try_from(128 + self.signal).unwrap_or(u8::MAX)
    }
}

/// Keeps the first SIGINT, SIGTERM or SIGHUP from now on for [`check`]. A second one ends the
/// program at once.
#[expect(
    clippy::disallowed_methods,
    reason = "a second signal ends whatever is being done"
)]
pub fn keep() -> Result<()> {
    let mut signals = Signals::new(ENDING).context("listen to signals")?;
    thread::spawn(move || {
        let mut first = None;
        for signal in signals.forever() {
            pass_on(signal);
            match first {
                None => {
                    first = Some(Instant::now());
                    KEPT.store(signal, Ordering::SeqCst);
                    if CHILD.load(Ordering::SeqCst) != 0 {
                        message(
                            "ending as soon as what is done is saved; a second time ends it at once",
                        );
                    }
                }
                Some(first) if first.elapsed() < SAME => {}
                Some(_) => std::process::exit(128 + signal),
            }
        }
    });
    Ok(())
}

/// Whether a signal was kept.
pub fn is_kept() -> bool {
    KEPT.load(Ordering::SeqCst) != 0
}

/// Fails with [`Interrupted`] where a signal was kept. `saved`: the rest of the sentence that
/// begins with "interrupted".
pub fn check(saved: &str) -> Result<()> {
    let signal = KEPT.load(Ordering::SeqCst);
    ensure!(
        signal == 0,
        Interrupted {
            signal,
            saved: saved.to_owned()
        }
    );
    Ok(())
}

/// As [`check`], and fails likewise where a program that was waited for has ended by such a signal,
/// which it may have had before this one.
pub fn check_ended(status: ExitStatus, saved: &str) -> Result<()> {
    check(saved)?;
    let of_code = status.code().and_then(|code| code.checked_sub(128));
    let signal = status.signal().or(of_code);
    match signal.filter(|signal| ENDING.contains(signal)) {
        Some(signal) => Err(Interrupted {
            signal,
            saved: saved.to_owned(),
        }
        .into()),
        None => Ok(()),
    }
}

/// Lets a stage that this program starts end when this program does, also where it is killed.
pub fn bind(stage: &mut Command) {
    stage.env(PARENT, std::process::id().to_string());
}

/// Runs a command to its end. Signals that are kept meanwhile are passed on to it. The number is
/// its process's.
pub fn run(command: &mut Command) -> Result<(u32, io::Result<ExitStatus>)> {
    check("")?;
    let mut child = command.spawn()?;
    let id = child.id();
    CHILD.store(id.try_into().unwrap_or(0), Ordering::SeqCst);
    if is_kept() {
        pass_on(KEPT.load(Ordering::SeqCst)); // it came just before
    }
    let status = child.wait();
    CHILD.store(0, Ordering::SeqCst);
    Ok((id, status))
}

fn pass_on(signal: i32) {
    let child = rustix::process::Pid::from_raw(CHILD.load(Ordering::SeqCst));
    let signal = match signal {
        SIGINT => rustix::process::Signal::INT,
        SIGHUP => rustix::process::Signal::HUP,
        _ => rustix::process::Signal::TERM,
    };
    if let Some(child) = child {
        // One that has just ended needs none.
        let _ = rustix::process::kill_process(child, signal);
    }
}

/// The stage's part of [`bind`]. One that was started by hand goes on.
#[expect(clippy::disallowed_methods, reason = "nothing has begun yet")]
pub(crate) fn end_with_parent() {
    let parent = std::env::var(PARENT).ok().and_then(|id| id.parse().ok());
    let Some(parent) = parent.and_then(rustix::process::Pid::from_raw) else {
        return;
    };
    #[cfg(target_os = "linux")]
    let is_set = {
        let signal = Some(rustix::process::Signal::TERM);
        rustix::process::set_parent_process_death_signal(signal).is_ok()
    };
    #[cfg(not(target_os = "linux"))]
    let is_set = false;
    if !is_set {
        thread::spawn(move || {
            while rustix::process::getppid() == Some(parent) {
                thread::sleep(SAME);
            }
            let this = rustix::process::getpid();
            let _ = rustix::process::kill_process(this, rustix::process::Signal::TERM);
        });
    }
    if rustix::process::getppid() != Some(parent) {
        // The runner has ended before it could be asked for.
        std::process::exit(128 + SIGTERM);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_ended_by_a_signal_was_interrupted() {
        let exit = |code: i32| code << 8;
        for (status, expected) in [
            (0, None),
            (exit(1), None),
            (exit(2), None),
            (exit(128), None),
            (9, None), // killed
            (exit(128 + 9), None),
            (SIGINT, Some(130)),
            (exit(130), Some(130)),
            (SIGTERM, Some(143)),
            (exit(143), Some(143)),
            (SIGHUP, Some(129)),
        ] {
            let ended = check_ended(ExitStatus::from_raw(status), "").err();
            let code = ended.map(|error| error.downcast::<Interrupted>().unwrap().exit_code());
            assert_eq!(code, expected, "{status}");
        }
    }
}
