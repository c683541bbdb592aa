//! The learning rate as a pure function of the step.

use std::f64::consts::PI;

use spanwise_artifact::settings::{Schedule, TrainSettings};

/// The factor on the peak learning rate at `step` of `total`, counted from 0.
///
/// It rises from 0 over the first `warmup` share of the steps, then stays or falls to 0. The same as
/// transformers' `get_{constant,linear,cosine}_schedule_with_warmup`, whose first step is at zero too.
pub fn factor(schedule: Schedule, warmup: f64, step: usize, total: usize) -> f64 {
    let warmup_steps = (warmup * total as f64).floor();
    let step = step as f64;
    if step < warmup_steps {
        return step / warmup_steps;
    }
    let left = ((total as f64 - step) / (total as f64 - warmup_steps).max(1.0)).clamp(0.0, 1.0);
    match schedule {
        Schedule::Constant => 1.0,
        Schedule::Linear => left,
        Schedule::Cosine => 0.5 * (1.0 + (PI * (1.0 - left)).cos()),
    }
}

/// The learning rate at `step` of `total`.
pub fn learning_rate(settings: &TrainSettings, step: usize, total: usize) -> f64 {
    settings.learning_rate * factor(settings.schedule, settings.warmup, step, total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factor_cases() {
        let check = |schedule, warmup, step, expected: f64| {
            let found = factor(schedule, warmup, step, 100);
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
}
