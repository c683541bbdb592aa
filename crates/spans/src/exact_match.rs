//! The task's exact match, as the course defines it: the headline where no other metric is in use,
//! and what trainings and ensembles are measured by.

/// Returns whether an answer equals one of a question's references after deleting ASCII commas on
/// both sides. Nothing else is normalised. False without references.
pub fn task_exact_match<'a>(answer: &str, references: impl IntoIterator<Item = &'a str>) -> bool {
    let mut references = references.into_iter();
    references.any(|reference| without_commas(answer).eq(without_commas(reference)))
}

fn without_commas(text: &str) -> impl Iterator<Item = u8> {
    text.bytes().filter(|&byte| byte != b',')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_are_deleted_and_nothing_else() {
        fn check(answer: &str, references: &[&str], expected: bool) {
            let found = task_exact_match(answer, references.iter().copied());
            assert_eq!(found, expected, "{answer:?} {references:?}");
        }
        check("李白", &["李白"], true);
        check("1,234人", &["1234人"], true);
        check("1234人", &["1,234人"], true);
        check("1，234人", &["1234人"], false);
        check("李白。", &["李白"], false);
        check(" 李白", &["李白"], false);
        check("A", &["a"], false);
        check("李白", &["詩人李白", "李白"], true);
        check("李白", &["詩人李白", "杜甫"], false);
        check("", &["李白"], false);
        check("李", &["李白"], false);
        check("李白", &[], false);
    }
}
