//! Dev questions with reference answers: what weights are fitted to and methods are measured on.

use spanwise_artifact::Answer;
use spanwise_artifact::questions::Questions;
use spanwise_artifact::scores::ScoresView;

use crate::members::Members;

/// A question with reference answers and every member's scores.
pub struct LabelledQuestion<'a> {
    /// The scores of every member.
    pub members: Vec<ScoresView<'a>>,
    /// The text that the question is about.
    pub paragraph: &'a str,
    /// The paragraph's index. Questions about one paragraph are held out together: they share what
    /// is hard about it.
    pub group: usize,
    /// The reference answers, at least one.
    pub references: &'a [Answer],
}

/// Returns the questions with reference answers.
pub fn labelled<'a>(members: &'a Members, dev: &'a Questions) -> Vec<LabelledQuestion<'a>> {
    let questions = dev.questions.iter().enumerate();
    let questions = questions.filter(|(_, question)| !question.answers.is_empty());
    let questions = questions.map(|(index, question)| LabelledQuestion {
        members: members.get(index),
        paragraph: dev.paragraph(question),
        group: question.paragraph,
        references: &question.answers,
    });
    questions.collect()
}
