//! Progress on standard error: a bar on a terminal, a plain line now and then otherwise.

use std::fmt;
use std::io::{self, IsTerminal};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use console::Term;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

/// All bars of the process, so that messages can be written above them.
static BARS: LazyLock<MultiProgress> =
    LazyLock::new(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr()));

/// Time between plain lines.
const LINE_INTERVAL: Duration = Duration::from_secs(15);

/// Writes to the terminal while no bar is drawn.
pub fn suspend<T>(write: impl FnOnce() -> T) -> T {
    BARS.suspend(write)
}

/// Work of less time says nothing of how much is left: first steps are slow.
const PACE_KNOWN: Duration = Duration::from_secs(20);

/// Columns that a line with a bar takes.
const COLUMNS: u16 = 72;

/// The progress of one piece of work, in items.
pub struct Progress {
    what: &'static str,
    counts: Counts,
    bar: ProgressBar,
    /// What an earlier process has done, in an unknown time.
    before: u64,
    plain: bool,
    last_line: Instant,
}

/// How much is done, as it is shown.
#[derive(Clone, Copy)]
enum Counts {
    Items,
    Bytes,
    /// Of the whole, where items are of no size that means something.
    Share,
}

impl Progress {
    /// Starts at zero of `total` items.
    pub fn new(what: &'static str, total: usize) -> Self {
        Self::with_counts(what, total, Counts::Items)
    }

    /// Starts at nothing of a whole, of which `total` parts are told apart and never shown.
    pub fn share(what: &'static str, total: usize) -> Self {
        Self::with_counts(what, total, Counts::Share)
    }

    /// Starts at zero of `total` bytes.
    pub fn bytes(what: &'static str, total: usize) -> Self {
        Self::with_counts(what, total, Counts::Bytes)
    }

    fn with_counts(what: &'static str, total: usize, counts: Counts) -> Self {
        let bar = BARS.add(ProgressBar::new(total as u64));
        bar.set_style(style(counts, 0));
        bar.set_prefix(what);
        Self {
            what,
            counts,
            bar,
            before: 0,
            plain: !io::stderr().is_terminal(),
            last_line: Instant::now(),
        }
    }

    /// Goes on behind the items that an earlier process has done.
    #[must_use]
    pub fn behind(mut self, done: usize) -> Self {
        self.before = done as u64;
        self.bar.set_position(self.before);
        self.bar.set_style(style(self.counts, self.before));
        self
    }

    /// Advances by `items`.
    pub fn advance(&mut self, items: usize) {
        self.bar.inc(items as u64);
        if self.plain && self.last_line.elapsed() >= LINE_INTERVAL {
            self.last_line = Instant::now();
            let (position, total) = (self.bar.position(), self.bar.length().unwrap_or(0));
            let done = match self.counts {
                Counts::Share => format!("{} %", 100 * position / total.max(1)),
                Counts::Items | Counts::Bytes => format!("{position}/{total}"),
            };
            let left = left(self.bar.elapsed(), position, total, self.before);
            tracing::info!("{}: {done}{left} {}", self.what, self.bar.message());
        }
    }

    /// Shows a short note beside the bar.
    pub fn note(&self, note: String) {
        self.bar.set_message(note);
    }
}

/// What a bar looks like. `before`: what was done of it earlier.
fn style(counts: Counts, before: u64) -> ProgressStyle {
    let shown = match counts {
        Counts::Items => "{pos}/{len}",
        Counts::Bytes => "{bytes}/{total_bytes}",
        Counts::Share => "{percent} %",
    };
    let (_, columns) = Term::stderr().size();
    let template = if columns < COLUMNS {
        format!("{{prefix}} {shown}")
    } else {
        format!("{{prefix:>10}} {{bar:30}} {shown}  {{elapsed}}{{left}}  {{wide_msg}}")
    };
    let style = ProgressStyle::with_template(&template).expect("the template is constant");
    style.with_key(
        "left",
        move |state: &ProgressState, out: &mut dyn fmt::Write| {
            let total = state.len().unwrap_or(0);
            let left = left(state.elapsed(), state.pos(), total, before);
            // What is drawn is a string, which takes everything.
            let _ = write!(out, "{left}");
        },
    )
}

/// How long it will take, by the average so far: items come in bursts. Nothing before that is known.
fn left(elapsed: Duration, position: u64, total: u64, before: u64) -> String {
    let done = position.saturating_sub(before);
    if elapsed < PACE_KNOWN || done == 0 {
        return String::new();
    }
    let share_left = total.saturating_sub(position) as f64 / done as f64;
    let left = elapsed.mul_f64(share_left).as_secs();
    format!(", about {}:{:02} left", left / 60, left % 60)
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_said_before_there_is_a_pace() {
        let check = |seconds, position, total, expected: &str| {
            let found = left(Duration::from_secs(seconds), position, total, 0);
            assert_eq!(found, expected, "{position} of {total} in {seconds} s");
        };
        check(15, 2, 818, "");
        check(60, 0, 818, "");
        check(60, 100, 300, ", about 2:00 left");
        check(60, 300, 300, ", about 0:00 left");
    }

    #[test]
    fn what_was_done_before_says_nothing_of_the_pace() {
        let found = |position| left(Duration::from_mins(1), position, 300, 100);
        assert_eq!(found(100), "");
        assert_eq!(found(200), ", about 1:00 left");
    }
}
