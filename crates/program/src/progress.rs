//! Progress on standard error: a bar on a terminal, a plain line now and then otherwise.

use std::io::{self, IsTerminal};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// All bars of the process, so that messages can be written above them.
static BARS: LazyLock<MultiProgress> =
    LazyLock::new(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr()));

/// Time between plain lines.
const LINE_INTERVAL: Duration = Duration::from_secs(15);

/// Writes to the terminal while no bar is drawn.
pub fn suspend<T>(write: impl FnOnce() -> T) -> T {
    BARS.suspend(write)
}

/// The progress of one piece of work, in items.
pub struct Progress {
    what: &'static str,
    bar: ProgressBar,
    plain: bool,
    last_line: Instant,
}

impl Progress {
    /// Starts at zero of `total` items.
    pub fn new(what: &'static str, total: usize) -> Self {
        Self::with_counts(what, total, "{pos}/{len}")
    }

    /// Starts at zero of `total` bytes.
    pub fn bytes(what: &'static str, total: usize) -> Self {
        Self::with_counts(what, total, "{bytes}/{total_bytes}")
    }

    fn with_counts(what: &'static str, total: usize, counts: &str) -> Self {
        let bar = BARS.add(ProgressBar::new(total as u64));
        let template =
            format!("{{prefix:>10}} {{bar:30}} {counts}  {{elapsed}}, {{eta}} left  {{msg}}");
        let style = ProgressStyle::with_template(&template).expect("the template is constant");
        bar.set_style(style);
        bar.set_prefix(what);
        Self {
            what,
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
            // By the average so far: items come in bursts, which mislead the bar's own estimate.
            let position = self.bar.position().max(1);
            let total = self.bar.length().unwrap_or_default();
            let share_left = total.saturating_sub(position) as f64 / position as f64;
            let left = self.bar.elapsed().mul_f64(share_left).as_secs();
            tracing::info!(
                "{}: {}/{}, about {}:{:02} left {}",
                self.what,
                position,
                total,
                left / 60,
                left % 60,
                self.bar.message(),
            );
        }
    }

    /// Shows a short note beside the bar.
    pub fn note(&self, note: String) {
        self.bar.set_message(note);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
