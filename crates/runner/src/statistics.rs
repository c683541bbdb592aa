//! The uncertainty of scores and of comparisons of trained models.

/// Half the width of a 95 % confidence interval, in standard errors.
const CONFIDENCE: f64 = 1.96;

/// The most that rounding makes of the variance of a mean of equal scores.
const ROUNDING: f64 = 1e-20;

/// Scores of questions, or differences of two, `[repetition][question]`.
pub(crate) type Samples = Vec<Vec<f64>>;

/// A mean and its uncertainty.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Estimate {
    /// Over repetitions and questions.
    pub(crate) mean: f64,
    /// Its standard error; `None` where all scores are the same, which says nothing of how far
    /// others would be from them.
    pub(crate) error: Option<f64>,
}

impl Estimate {
    /// Estimates the mean of the scores.
    ///
    /// Other questions would have another mean, and so would other seeds: training runs are samples
    /// just as questions are. So the variance is that over questions plus that over repetitions,
    /// less that over single scores, which both contain (two-way clustering: Cameron, Gelbach &
    /// Miller, 2011), and never less than that over questions. One repetition does not show how
    /// training runs vary.
    pub(crate) fn of(samples: &[Vec<f64>]) -> Self {
        let by_repetition: Vec<f64> = samples.iter().map(|sample| mean(sample)).collect();
        let by_question = |question: usize| {
            let scores: Vec<f64> = samples.iter().map(|sample| sample[question]).collect();
            mean(&scores)
        };
        let by_question: Vec<f64> = (0..samples[0].len()).map(by_question).collect();
        let over_questions = variance_of_mean(&by_question);
        let over_both =
            over_questions + variance_of_mean(&by_repetition) - variance_of_mean(&samples.concat());
        let variance = over_both.max(over_questions);
        Self {
            mean: mean(&by_question),
            error: (variance > ROUNDING).then(|| variance.sqrt()),
        }
    }

    /// Half the width of the 95 % confidence interval.
    pub(crate) fn confidence(self) -> Option<f64> {
        self.error.map(|error| CONFIDENCE * error)
    }
}

/// An uncertainty behind its mean, where it is known.
pub(crate) fn plus_minus(uncertainty: Option<f64>, decimals: usize) -> String {
    let shown = |uncertainty| format!(" ± {uncertainty:.decimals$}");
    uncertainty.map_or_else(String::new, shown)
}

/// `own` scores less `others`, pair by pair; `None` where they do not score the same questions.
pub(crate) fn gains(own: &[Vec<f64>], others: &[Vec<f64>]) -> Option<Samples> {
    let pairs = || own.iter().zip(others);
    let same = own.len() == others.len() && pairs().all(|(own, other)| own.len() == other.len());
    let gain = |(own, other): (&Vec<f64>, &Vec<f64>)| {
        let pairs = own.iter().zip(other);
        pairs.map(|(own, other)| own - other).collect()
    };
    same.then(|| pairs().map(gain).collect())
}

/// The probability of gains at least as large, of either sign, if the two were equally good: for
/// one repetition by McNemar's test, for several by the standard error over questions and
/// repetitions, or where gains are too much the same to have one, by McNemar's test of their means.
pub(crate) fn probability(gains: &[Vec<f64>]) -> f64 {
    if let [gains] = gains {
        return mcnemar(gains);
    }
    let gain = Estimate::of(gains);
    match gain.error {
        Some(error) => both_tails(gain.mean, error),
        None => mcnemar(&vec![gain.mean; gains[0].len()]),
    }
}

/// A probability as people read it.
pub(crate) fn shown(probability: f64) -> String {
    if probability < 0.001 {
        "< 0.001".to_owned()
    } else {
        format!("{probability:.3}")
    }
}

/// The mean of one value or more.
pub(crate) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The variance of the mean of independent values; 0 for a single one.
fn variance_of_mean(values: &[f64]) -> f64 {
    let count = values.len() as f64;
    let mean = mean(values);
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    squares / (count - 1.0).max(1.0) / count
}

/// McNemar's test (1947): questions on which the two differ are won by either as often, if they are
/// equally good.
fn mcnemar(gains: &[f64]) -> f64 {
    let squares: f64 = gains.iter().map(|gain| gain * gain).sum();
    both_tails(gains.iter().sum(), squares.sqrt())
}

/// How likely a normal variable of mean 0 and this standard deviation is as far from it.
fn both_tails(distance: f64, deviation: f64) -> f64 {
    if distance == 0.0 {
        return 1.0;
    }
    libm::erfc(distance.abs() / deviation / std::f64::consts::SQRT_2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mcnemar_cases() {
        // Ten questions gained and none lost: (10 - 0)² / 10 = 10, p = 0.00157.
        let gained = [vec![1.0; 10], vec![0.0; 90]].concat();
        assert!((probability(std::slice::from_ref(&gained)) - 0.001_565).abs() < 1e-5);
        // The same gain of one question under every seed is no more certain than under one.
        let one = probability(&[vec![1.0]]);
        assert_eq!(probability(&[vec![1.0], vec![1.0], vec![1.0]]), one);
        assert!(one > 0.3);
        // What a gained question counts does not matter.
        let halves: Vec<f64> = gained.iter().map(|gain| gain / 2.0).collect();
        assert!((probability(&[halves]) - probability(&[gained])).abs() < 1e-12);
        let balanced = [vec![1.0; 5], vec![-1.0; 5], vec![0.0; 90]].concat();
        assert!((probability(&[balanced]) - 1.0).abs() < 1e-6);
        assert_eq!(probability(&[vec![0.0; 4]]), 1.0);
    }

    #[test]
    fn equal_scores_have_no_error() {
        for scores in [vec![0.7], vec![0.7; 30], vec![0.0, 0.0]] {
            assert_eq!(Estimate::of(&[scores]).error, None);
        }
        let one_of_many = [vec![1.0], vec![0.0; 999_999]].concat();
        assert!(Estimate::of(&[one_of_many]).error.is_some());
        assert_eq!(plus_minus(None, 3), "");
        assert_eq!(plus_minus(Some(0.0126), 2), " ± 0.01");
    }

    #[test]
    fn other_questions_and_other_seeds_are_both_in_the_error() {
        // Questions that differ and trainings that do not: as if there were one training.
        let one = [vec![1.0, 0.0, 1.0, 0.0]];
        let same = [one[0].clone(), one[0].clone(), one[0].clone()];
        assert_eq!(Estimate::of(&same), Estimate::of(&one));
        let error = Estimate::of(&one).error.expect("scores that differ");
        assert!((error - (1.0f64 / 3.0 / 4.0).sqrt()).abs() < 1e-12);

        // Trainings that differ by themselves: no number of questions makes up for them.
        let apart = [vec![0.0; 10_000], vec![0.1; 10_000]];
        let estimate = Estimate::of(&apart);
        assert!((estimate.mean - 0.05).abs() < 1e-12);
        // Two means, 0 and 0.1, have a variance of 0.005.
        assert!((estimate.error.expect("differ") - 0.0025f64.sqrt()).abs() < 1e-3);
        let one_error_from_none = 0.317;
        assert!((probability(&apart) - one_error_from_none).abs() < 5e-3);

        // Variances of the mean: 0.015625 by question, 0.140625 by repetition, 0.033482 of single
        // scores.
        let both = [vec![1.0, 1.0, 1.0, 0.0], vec![0.0; 4]];
        let confidence = Estimate::of(&both).confidence().expect("differ");
        assert!((confidence - 1.96 * 0.122_768f64.sqrt()).abs() < 1e-4);
    }
}
