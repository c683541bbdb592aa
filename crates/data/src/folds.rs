//! Train and dev together, cut into parts that share no article: each is predicted by a model that has not seen it.

use std::collections::BTreeMap;

use spanwise_artifact::questions::Questions;

/// The fold of every question. The questions of an article stay together, or of a paragraph where its article is not
/// known; folds are of nearly the same size.
pub fn assign(questions: &Questions, folds: usize) -> Vec<usize> {
    let group = |question: usize| {
        let paragraph = &questions.paragraphs[questions.questions[question].paragraph];
        paragraph.article.as_ref().unwrap_or(&paragraph.text)
    };
    let mut groups: BTreeMap<&String, Vec<usize>> = BTreeMap::new();
    for question in 0..questions.questions.len() {
        groups.entry(group(question)).or_default().push(question);
    }
    // The largest first, each into the fold that has least so far.
    let mut groups: Vec<Vec<usize>> = groups.into_values().collect();
    groups.sort_by_key(|group| std::cmp::Reverse(group.len()));
    let mut sizes = vec![0; folds];
    let mut assigned = vec![0; questions.questions.len()];
    for group in groups {
        let smallest = (0..folds)
            .min_by_key(|&fold| sizes[fold])
            .expect("there are folds");
        sizes[smallest] += group.len();
        for question in group {
            assigned[question] = smallest;
        }
    }
    assigned
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use spanwise_artifact::{Paragraph, Question};

    use super::*;

    fn questions(paragraphs: &[(Option<u8>, usize)]) -> Questions {
        let mut questions = Questions::default();
        for (index, (article, count)) in paragraphs.iter().enumerate() {
            questions.paragraphs.push(Paragraph {
                text: format!("paragraph {index}"),
                article: article.map(|article| format!("article {article}")),
            });
            for number in 0..*count {
                questions.questions.push(Question {
                    id: format!("{index}-{number}"),
                    paragraph: index,
                    text: String::new(),
                    answers: Vec::new(),
                });
            }
        }
        questions
    }

    proptest! {
        #[test]
        fn articles_stay_together_and_folds_are_balanced(
            paragraphs in prop::collection::vec((prop::option::of(0u8..6), 1usize..5), 1..60),
            folds in 2usize..6,
        ) {
            let questions = questions(&paragraphs);
            let assigned = assign(&questions, folds);
            let mut sizes = vec![0usize; folds];
            let mut groups: BTreeMap<String, (usize, usize)> = BTreeMap::new();
            for (question, &fold) in questions.questions.iter().zip(&assigned) {
                let paragraph = &questions.paragraphs[question.paragraph];
                let group = paragraph.article.clone().unwrap_or(paragraph.text.clone());
                let (first, size) = groups.entry(group).or_insert((fold, 0));
                prop_assert_eq!(*first, fold);
                *size += 1;
                sizes[fold] += 1;
            }
            let largest = groups.values().map(|(_, size)| *size).max().unwrap_or(0);
            let spread = sizes.iter().max().unwrap() - sizes.iter().min().unwrap();
            prop_assert!(spread <= largest, "{sizes:?}");
        }
    }
}
