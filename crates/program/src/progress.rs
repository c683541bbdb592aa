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
        let style = style.with_key("left", |state: &ProgressState, out: &mut dyn fmt::Write| {
            let left = left(state.elapsed(), state.pos(), state.len().unwrap_or(0));
            // What is drawn is a string, which takes everything.
            let _ = write!(out, "{left}");
        });
        bar.set_style(style);
        bar.set_prefix(what);
        Self {
            what,
            counts,
            bar,
            plain: !io::stderr().is_terminal(),
            last_line: Instant::now(),
        }
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
            let left = left(self.bar.elapsed(), position, total);
            tracing::info!("{}: {done}{left} {}", self.what, self.bar.message());
        }
    }

    /// Shows a short note beside the bar.
    pub fn note(&self, note: String) {
        self.bar.set_message(note);
    }
}

/// How long it will take, by the average so far: items come in bursts. Nothing before that is known.
fn left(elapsed: Duration, position: u64, total: u64) -> String {
    if elapsed < PACE_KNOWN || position == 0 {
        return String::new();
    }
    let share_left = total.saturating_sub(position) as f64 / position as f64;
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
            let found = left(Duration::from_secs(seconds), position, total);
            assert_eq!(found, expected, "{position} of {total} in {seconds} s");
        };
        check(15, 2, 818, "");
        check(60, 0, 818, "");
        check(60, 100, 300, ", about 2:00 left");
        check(60, 300, 300, ", about 0:00 left");
    }
}
