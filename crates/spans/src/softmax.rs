//! Softmax over scores: probabilities, their logarithms, temperature.

/// Returns softmax(scores / temperature); uniform where every score is minus infinity.
pub fn softmax(scores: &[f32], temperature: f32) -> Vec<f32> {
    let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    if largest == f32::NEG_INFINITY {
        return vec![1.0 / scores.len() as f32; scores.len()];
    }
    let weights: Vec<f32> = scores
        .iter()
        .map(|score| ((score - largest) / temperature).exp())
        .collect();
    let sum: f32 = weights.iter().sum();
    weights.into_iter().map(|weight| weight / sum).collect()
}

/// Returns `−ln softmax(logits)[target]`, the cross-entropy of one label.
pub fn cross_entropy(logits: &[f32], target: usize) -> f64 {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits
        .iter()
        .map(|&logit| f64::from(logit - largest).exp())
        .sum();
    sum.ln() - f64::from(logits[target] - largest)
}

/// Returns ln Σ exp(scores), the logarithm of softmax's denominator.
pub fn log_sum_exp(scores: &[f64]) -> f64 {
    let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = scores.iter().map(|score| (score - largest).exp()).sum();
    sum.ln() + largest
}

/// Returns ln(exp(a) + exp(b)): the score that has the probability of both under a softmax.
pub fn log_add_exp(a: f32, b: f32) -> f32 {
    let (larger, smaller) = (a.max(b), a.min(b));
    larger + (smaller - larger).exp().ln_1p()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn softmax_cases() {
        fn check(scores: &[f32], temperature: f32, expected: &[f32]) {
            let found = softmax(scores, temperature);
            assert_eq!(found.len(), expected.len());
            for (found, expected) in found.iter().zip(expected) {
                assert!((found - expected).abs() < 1e-6, "{found} {expected}");
            }
        }
        check(&[0.0, 3f32.ln()], 1.0, &[0.25, 0.75]);
        check(&[0.0, 2.0 * 3f32.ln()], 2.0, &[0.25, 0.75]);
        check(&[1000.0, f32::NEG_INFINITY], 1.0, &[1.0, 0.0]);
        check(&[f32::NEG_INFINITY; 2], 1.0, &[0.5, 0.5]);
    }

    #[test]
    fn cross_entropy_cases() {
        assert!((cross_entropy(&[0.0, 0.0], 1) - 2f64.ln()).abs() < 1e-12);
        assert!(cross_entropy(&[100.0, 0.0], 0) < 1e-12);
        assert!((cross_entropy(&[100.0, 0.0], 1) - 100.0).abs() < 1e-9);
    }

    #[test]
    fn logarithms_of_sums_do_not_overflow() {
        assert!((log_sum_exp(&[0.0, 3f64.ln()]) - 4f64.ln()).abs() < 1e-12);
        assert!((log_sum_exp(&[1000.0, 1000.0]) - 1000.0 - 2f64.ln()).abs() < 1e-9);
        assert!((log_add_exp(0.0, 3f32.ln()) - 4f32.ln()).abs() < 1e-6);
        assert_eq!(log_add_exp(1000.0, -1000.0), 1000.0);
        assert_eq!(log_add_exp(-1000.0, 1000.0), 1000.0);
    }
}
