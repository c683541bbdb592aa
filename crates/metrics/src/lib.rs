//! Exact match and F1 by published definitions. Reported, never fitted to: another definition makes
//! no model stale.
//!
//! The task's own exact match, which everything fitted is fitted to, is in `spanwise-spans`.
//!
//! - [`any_reference_exact_match`]: the exact string
//! - [`cmrc`]: CMRC 2018's exact match and F1, with which DRCD is scored, too
//!
//! Every function returns the best over a question's references, 0 without any.

#![warn(missing_docs)]

pub mod cmrc;
mod treebank;

/// Returns 1 where an answer equals a reference, character by character, and 0 elsewhere.
pub fn any_reference_exact_match(answer: &str, references: &[&str]) -> f64 {
    f64::from(references.contains(&answer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_reference_counts_and_nothing_is_normalised() {
        fn check(answer: &str, references: &[&str], expected: f64) {
            assert_eq!(any_reference_exact_match(answer, references), expected);
        }
        check("李白", &["杜甫", "李白"], 1.0);
        check("1,234", &["1234"], 0.0);
        check("李白", &[], 0.0);
    }
}
