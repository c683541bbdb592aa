//! Cross-validation: train and dev together, cut into folds that share no article, so that each is
//! predicted by a model that was not trained on it.

use spanwise_artifact::questions::Questions;
use spanwise_spans::holdout;

/// Returns the fold of every question. Questions about an article stay together, as do those about
/// a paragraph without one; folds are of nearly the same size.
pub fn assign(questions: &Questions, folds: usize) -> Vec<usize> {
    let group = |question: usize| {
        let paragraph = &questions.paragraphs[questions.questions[question].paragraph];
        paragraph.article.as_ref().unwrap_or(&paragraph.text)
    };
    holdout::parts((0..questions.questions.len()).map(group), folds)
}

#[cfg(test)]
mod tests {
    use spanwise_artifact::{Paragraph, Question};

    use super::*;

    #[test]
    fn questions_of_an_article_stay_together_and_else_those_of_a_paragraph() {
        fn check(articles: &[Option<&str>], questions: &[usize], expected: &[usize]) {
            let paragraph = |(index, article): (usize, Option<&str>)| Paragraph {
                text: format!("paragraph {index}"),
                article: article.map(str::to_owned),
            };
            let question = |&paragraph: &usize| Question {
                id: String::new(),
                paragraph,
                text: String::new(),
                answers: Vec::new(),
            };
            let questions = Questions {
                paragraphs: articles
                    .iter()
                    .copied()
                    .enumerate()
                    .map(paragraph)
                    .collect(),
                questions: questions.iter().map(question).collect(),
            };
            assert_eq!(assign(&questions, 2), expected);
        }
        let article = Some("article");
        check(&[article, None, article], &[0, 1, 2, 2], &[0, 1, 0, 0]);
        check(&[None, None, None], &[0, 1, 2, 2], &[1, 1, 0, 0]);
    }
}
