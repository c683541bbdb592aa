//! Cross-validation: train and dev together, cut into folds that share no article, so that each is
//! predicted by a model that was not trained on it.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::Result;
use spanwise_artifact::UserError;
use spanwise_spans::holdout;

use crate::collect::Collected;
use crate::input::excerpt;

/// Returns the fold of every question of `parts`, one after the other. Questions about an article
/// stay together, as do those about a paragraph without one; folds are of nearly the same size.
///
/// In memory are titles, the paragraphs of no article, and a few bytes for each question.
///
/// # Errors
/// Fails if a file cannot be read, or if there are fewer articles than folds.
pub fn assign(parts: &[&Collected], folds: usize) -> Result<Vec<usize>> {
    let mut names: Vec<Arc<str>> = Vec::new();
    let mut numbers: HashMap<Arc<str>, u32> = HashMap::new();
    let mut of_questions: Vec<u32> = Vec::new();
    let mut articles = 0;
    for part in parts {
        for next in part.questions()? {
            let (_, paragraph) = next?;
            let name = paragraph.article.as_ref().unwrap_or(&paragraph.text);
            let number = match numbers.get(&**name) {
                Some(&number) => number,
                None => {
                    let name: Arc<str> = name.as_str().into();
                    let number = u32::try_from(names.len())?;
                    articles += usize::from(paragraph.article.is_some());
                    names.push(Arc::clone(&name));
                    numbers.insert(name, number);
                    number
                }
            };
            of_questions.push(number);
        }
    }
    drop(numbers);
    if names.len() < folds {
        return Err(too_few(&names, articles, folds).into());
    }
    let groups = of_questions.iter().map(|&number| &*names[number as usize]);
    Ok(holdout::parts(groups, folds))
}

/// Why questions about these articles, or paragraphs where they are not of one, make no folds.
fn too_few(names: &[Arc<str>], articles: usize, folds: usize) -> UserError {
    let about = match (names, articles) {
        ([title], 1) => format!("1 article (title {})", excerpt(title)),
        (_, 0) => format!("{} paragraphs", names.len()),
        _ if articles == names.len() => format!("{articles} articles"),
        _ => format!("{} articles and paragraphs", names.len()),
    };
    UserError::new(format!(
        "ensemble.folds is {folds}, but all questions are about {about}"
    ))
    .hint(
        "an article is never divided among folds: use fewer folds, or give each article a title of \
         its own, or none, so that only paragraphs are kept together",
    )
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use spanwise_artifact::profile::SplitProfile;
    use spanwise_artifact::questions::{QuestionCounts, Questions};
    use spanwise_artifact::{Paragraph, Question, Reference, Split};

    use super::*;

    /// The folds of questions about paragraphs of these articles.
    fn folds(
        directory: &Path,
        articles: &[Option<&str>],
        questions: &[usize],
        count: usize,
    ) -> Result<Vec<usize>> {
        let paragraph = |(index, article): (usize, Option<&str>)| Paragraph {
            text: format!("paragraph {index}"),
            article: article.map(str::to_owned),
        };
        let question = |&paragraph: &usize| Question {
            id: String::new(),
            paragraph,
            text: String::new(),
            reference: Reference::Unknown,
        };
        let data = Questions {
            paragraphs: articles
                .iter()
                .copied()
                .enumerate()
                .map(paragraph)
                .collect(),
            questions: questions.iter().map(question).collect(),
        };
        data.write(directory, Split::Train)?;
        let collected = Collected {
            split: Split::Train,
            directory: directory.to_owned(),
            counts: QuestionCounts::default(),
            profile: SplitProfile::default(),
            course_layout: false,
        };
        assign(&[&collected], count)
    }

    #[test]
    fn questions_of_an_article_stay_together_and_else_those_of_a_paragraph() -> Result<()> {
        let directory = tempfile::tempdir()?;
        let check = |articles: &[Option<&str>], questions: &[usize], expected: &[usize]| {
            let found = folds(directory.path(), articles, questions, 2).unwrap();
            assert_eq!(found, expected);
        };
        let article = Some("article");
        check(&[article, None, article], &[0, 1, 2, 2], &[0, 1, 0, 0]);
        check(&[None, None, None], &[0, 1, 2, 2], &[1, 1, 0, 0]);
        Ok(())
    }

    #[test]
    fn fewer_articles_than_folds_are_refused() -> Result<()> {
        let directory = tempfile::tempdir()?;
        let check = |articles: &[Option<&str>], count: usize, expected: &str| {
            let questions: Vec<usize> = (0..articles.len()).collect();
            let error = folds(directory.path(), articles, &questions, count).unwrap_err();
            assert!(error.is::<UserError>());
            assert_eq!(error.to_string(), expected);
        };
        check(
            &[Some("t"), Some("t")],
            2,
            "ensemble.folds is 2, but all questions are about 1 article (title \"t\")",
        );
        check(
            &[Some("t"), Some("u")],
            1_000_000_000,
            "ensemble.folds is 1000000000, but all questions are about 2 articles",
        );
        check(
            &[None, None, None],
            4,
            "ensemble.folds is 4, but all questions are about 3 paragraphs",
        );
        check(
            &[None, Some("t")],
            3,
            "ensemble.folds is 3, but all questions are about 2 articles and paragraphs",
        );
        Ok(())
    }
}
