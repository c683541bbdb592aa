//! What members and their combinations score on dev, by the task's exact match.

use spanwise_artifact::Characters;
use spanwise_artifact::ensemble::{EnsembleReport, EnsembleScores};
use spanwise_artifact::scores::{ScoresView, Span};
use spanwise_artifact::settings::{EnsembleJob, EnsembleMethod};
use spanwise_spans::{best_spans, holdout, task_exact_match};

use crate::combine::{equal, votes, weighted};
use crate::fit;
use crate::labelled::LabelledQuestion;

/// Parts of dev that are held out in turn: weights are measured on the part that they were not
/// fitted to.
const PARTS: usize = 5;

/// Measures members and all methods on dev. `weights` are those of the method in use. `None`
/// without questions.
pub fn measure(
    dev: &[LabelledQuestion],
    settings: &EnsembleJob,
    weights: Option<Vec<f64>>,
) -> Option<EnsembleReport> {
    let members = dev.first()?.members.len();
    let longest = settings.max_answer_length;
    let best = |scores: ScoresView| best_spans(scores, longest, 1).pop();
    let combined = |weights: &dyn Fn(usize) -> Vec<f64>| {
        exact_share(dev, |index, question| {
            best(weighted(&question.members, &weights(index)).view())
        })
    };
    let parts = holdout::parts(dev.iter().map(|question| question.group), PARTS);
    let held_out = |fit: fn(&[&LabelledQuestion]) -> Vec<f64>| {
        let fitted: Vec<Vec<f64>> = (0..PARTS)
            .map(|part| {
                let others = dev.iter().zip(&parts).filter(|(_, other)| **other != part);
                fit(&others.map(|(question, _)| question).collect::<Vec<_>>())
            })
            .collect();
        combined(&|index| match &fitted[parts[index]] {
            none if none.is_empty() => equal(members),
            weights => weights.clone(),
        })
    };
    let single: Vec<f64> = (0..members)
        .map(|member| exact_share(dev, |_, question| best(question.members[member])))
        .collect();
    let mean_member = single.iter().sum::<f64>() / members as f64;
    let scores = EnsembleScores {
        members: single,
        mean_member,
        mean: combined(&|_| equal(members)),
        calibrated: held_out(fit::calibrated),
        weighted: held_out(fit::weighted),
        vote: exact_share(dev, |_, question| {
            votes(&question.members, longest).into_iter().next()
        }),
        gain: 0.0,
    };
    let in_use = match settings.method {
        EnsembleMethod::Mean => scores.mean,
        EnsembleMethod::Calibrated => scores.calibrated,
        EnsembleMethod::Weighted => scores.weighted,
        EnsembleMethod::Vote => scores.vote,
    };
    Some(EnsembleReport {
        questions: dev.len(),
        task_exact_match: EnsembleScores {
            gain: in_use - mean_member,
            ..scores
        },
        weights,
    })
}

/// Returns the share of questions whose answer is exact; `answer` gets a question and its index.
fn exact_share(
    dev: &[LabelledQuestion],
    answer: impl Fn(usize, &LabelledQuestion) -> Option<Span>,
) -> f64 {
    let right = dev.iter().enumerate().filter(|(index, question)| {
        let paragraph = Characters::new(question.paragraph);
        let answer = answer(*index, question).and_then(|span| paragraph.get(span.range()));
        let references = question.references.iter().map(|answer| &*answer.text);
        answer.is_some_and(|answer| task_exact_match(answer, references))
    });
    right.count() as f64 / dev.len() as f64
}

#[cfg(test)]
mod tests {
    use spanwise_artifact::Answer;
    use spanwise_artifact::scores::Scores;

    use super::*;

    /// Scores whose best span is that of `range`.
    fn peak(range: std::ops::Range<usize>) -> Scores {
        let mut scores = Scores {
            start: vec![0.0; 6],
            end: vec![0.0; 6],
        };
        scores.start[range.start] = 3.0;
        scores.end[range.end - 1] = 3.0;
        scores
    }

    #[test]
    fn members_and_methods_are_measured_by_the_tasks_exact_match() {
        let answer = |text: &str, start| Answer {
            text: text.to_owned(),
            start,
        };
        // The second reference counts, and so does the first without its comma.
        let references = [answer("1,2人", 1), answer("1,2", 1)];
        let (long, short, wrong) = (peak(1..5), peak(1..4), peak(0..1));
        let members = [
            [&long, &wrong],
            [&short, &wrong],
            [&wrong, &wrong],
            [&long, &short],
        ];
        let dev = [0, 1, 2, 3].map(|group| LabelledQuestion {
            members: members[group].map(Scores::view).to_vec(),
            paragraph: "共1,2人口",
            group,
            references: &references,
        });
        let report = measure(&dev, &EnsembleJob::UNCHANGED, Some(equal(2))).unwrap();
        let scores = report.task_exact_match;
        assert_eq!(report.questions, 4);
        assert_eq!(scores.members, [0.75, 0.25]);
        assert_eq!(scores.mean_member, 0.5);
        assert_eq!(scores.gain, scores.mean - scores.mean_member);
        assert_eq!(report.weights, Some(vec![0.5, 0.5]));
        assert!(measure(&[], &EnsembleJob::UNCHANGED, None).is_none());
    }
}
