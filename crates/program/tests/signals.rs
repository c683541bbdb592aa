//! Signals to a program that is busy.

use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};
use spanwise_program::signals;

/// Tells the test below that it is the program.
const BUSY: &str = "SPANWISE_TEST_BUSY";

/// A program that keeps signals and never looks at them.
#[test]
fn busy() -> Result<()> {
    if std::env::var_os(BUSY).is_none() {
        return Ok(()); // run by the test below only
    }
    signals::keep()?;
    spanwise_program::output::message("ready");
    thread::sleep(Duration::from_mins(2));
    Ok(())
}

#[test]
fn a_second_signal_ends_a_program_at_once() -> Result<()> {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let mut program = start()?;
        let id = Pid::from_child(&program);
        kill_process(id, signal)?;
        // A terminal and the runner may both send the first one.
        kill_process(id, signal)?;
        thread::sleep(Duration::from_millis(1500));
        assert!(program.try_wait()?.is_none(), "it may save what it can");
        kill_process(id, signal)?;
        let began = Instant::now();
        let status = loop {
            if let Some(status) = program.try_wait()? {
                break status;
            }
            if began.elapsed() > Duration::from_secs(30) {
                program.kill()?;
            }
            thread::sleep(Duration::from_millis(10));
        };
        assert_eq!(status.code(), Some(code), "{:?}", status.signal());
    }
    Ok(())
}

/// Starts [`busy`], and waits until it keeps signals.
fn start() -> Result<Child> {
    let mut program = Command::new(std::env::current_exe()?)
        .args(["--exact", "busy", "--nocapture"])
        .env(BUSY, "1")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    let messages = program.stderr.take().context("it is piped")?;
    let mut lines = BufReader::new(messages).lines();
    lines
        .find(|line| line.as_ref().is_ok_and(|line| line.contains("ready")))
        .context("it does not become ready")??;
    Ok(program)
}
