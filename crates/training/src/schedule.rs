//! The learning rate as a pure function of how far a run is.

use std::f64::consts::PI;

use spanwise_artifact::settings::Schedule;

/// Returns how far a run is, in steps of `total`: those done, or the same share of `total` as the
/// `seconds` they took are of `max_minutes`, whichever is more. At `total` it is over.
///
/// So a run with enough time follows its steps, and one without follows the clock, through all of
/// its schedule: Izsak et al., "How to Train BERT with an Academic Budget", arXiv:2104.07705.
pub fn position(max_minutes: Option<f64>, step: usize, seconds: f64, total: usize) -> f64 {
    let by_clock = max_minutes.map_or(0.0, |minutes| seconds / (60.0 * minutes) * total as f64);
    by_clock.max(step as f64).min(total as f64)
}

/// Returns the factor on the peak learning rate at `position` of `total` steps, counted from 0.
///
/// It rises from 0 over the first `warmup_ratio` of the steps, then stays or falls to 0. The same
/// as transformers' `get_{constant,linear,cosine}_schedule_with_warmup`, whose first step is at
/// zero too.
pub fn factor(schedule: Schedule, warmup_ratio: f64, position: f64, total: usize) -> f64 {
    let warmup_steps = (warmup_ratio * total as f64).floor();
    if position < warmup_steps {
        return position / warmup_steps;
    }
    let left = ((total as f64 - position) / (total as f64 - warmup_steps).max(1.0)).clamp(0.0, 1.0);
    match schedule {
        Schedule::Constant => 1.0,
        Schedule::Linear => left,
        Schedule::Cosine => 0.5 * (1.0 + (PI * (1.0 - left)).cos()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factor_cases() {
        let check = |schedule, warmup, step: u32, expected: f64| {
            let found = factor(schedule, warmup, step.into(), 100);
            assert!(
                (found - expected).abs() < 1e-12,
                "{schedule:?} at {step}: {found}, not {expected}"
            );
        };
        for schedule in [Schedule::Constant, Schedule::Linear, Schedule::Cosine] {
            check(schedule, 0.1, 0, 0.0);
            check(schedule, 0.1, 5, 0.5);
            check(schedule, 0.1, 10, 1.0);
            check(schedule, 0.0, 0, 1.0);
        }
        check(Schedule::Constant, 0.1, 99, 1.0);
        check(Schedule::Linear, 0.1, 55, 0.5);
        check(Schedule::Linear, 0.0, 100, 0.0);
        check(Schedule::Cosine, 0.1, 55, 0.5);
        check(Schedule::Cosine, 0.0, 25, 0.5 + 0.5 * (PI / 4.0).cos());
        check(Schedule::Linear, 1.0, 99, 0.99);
    }

    #[test]
    fn position_cases() {
        let check = |max_minutes, step, seconds, expected: f64| {
            let found = position(max_minutes, step, seconds, 200);
            assert!(
                (found - expected).abs() < 1e-12,
                "{max_minutes:?}, {step} steps in {seconds} s: {found}, not {expected}"
            );
        };
        check(None, 50, 1e9, 50.0);
        check(Some(2.0), 0, 0.0, 0.0);
        // Fast enough: by the steps.
        check(Some(2.0), 50, 29.0, 50.0);
        // Too slow: by the clock.
        check(Some(2.0), 50, 60.0, 100.0);
        check(Some(2.0), 51, 119.0, 200.0 * 119.0 / 120.0);
        check(Some(2.0), 52, 121.0, 200.0);
    }
}
