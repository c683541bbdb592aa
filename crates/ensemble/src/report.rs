//! What members and their combinations score on dev, by the task's exact match.

use anyhow::Result;
use spanwise_artifact::Characters;
use spanwise_artifact::ensemble::{EnsembleReport, EnsembleScores};
use spanwise_artifact::scores::{ScoresView, Span};
use spanwise_artifact::settings::{EnsembleJob, EnsembleMethod};
use spanwise_spans::{best_spans, task_exact_match};

use crate::combine::{equal, votes, weighted};
use crate::dev::{Dev, Labelled};
use crate::fit::Fitted;

/// Measures members and all methods on dev, which has a question with reference answers.
///
/// `held_out` are the weights fitted without each part: they are measured on the part. `weights`
/// are those of the method in use.
///
/// # Errors
/// Fails if dev cannot be read.
pub fn measure(
    dev: &Dev,
    settings: &EnsembleJob,
    held_out: &[Fitted],
    weights: Option<Vec<f64>>,
) -> Result<EnsembleReport> {
    let members = dev.members().count();
    let longest = settings.max_answer_length;
    let mean = equal(members);
    let best = |scores: ScoresView| best_spans(scores, longest, 1).pop();
    let spans = |question: &Labelled| -> Vec<Option<Span>> {
        let combined = |weights: &[f64]| best(weighted(&question.members, weights).view());
        let fitted = &held_out[question.part];
        let methods = [
            combined(&mean),
            combined(&fitted.calibrated),
            combined(&fitted.weighted),
            votes(&question.members, longest).into_iter().next(),
        ];
        let alone = question.members.iter().map(|member| best(*member));
        methods.into_iter().chain(alone).collect()
    };
    let mut right = vec![0usize; METHODS + members];
    dev.in_order_with_texts(
        |question, paragraph, references| {
            let characters = Characters::new(paragraph);
            let is_right = |span: Option<Span>| {
                let answer = span.and_then(|span| characters.get(span.range()));
                let references = references.iter().map(|answer| &*answer.text);
                answer.is_some_and(|answer| task_exact_match(answer, references))
            };
            spans(question)
                .into_iter()
                .map(is_right)
                .collect::<Vec<_>>()
        },
        |is_right| {
            for (count, is_right) in right.iter_mut().zip(is_right) {
                *count += usize::from(is_right);
            }
        },
    )?;
    let shares = right
        .iter()
        .map(|&count| count as f64 / dev.labelled() as f64);
    let shares: Vec<f64> = shares.collect();
    let alone = shares[METHODS..].to_vec();
    let mean_member = alone.iter().sum::<f64>() / members as f64;
    let scores = EnsembleScores {
        members: alone,
        mean_member,
        mean: shares[0],
        calibrated: shares[1],
        weighted: shares[2],
        vote: shares[3],
        gain: 0.0,
    };
    let in_use = match settings.method {
        EnsembleMethod::Mean => scores.mean,
        EnsembleMethod::Calibrated => scores.calibrated,
        EnsembleMethod::Weighted => scores.weighted,
        EnsembleMethod::Vote => scores.vote,
    };
    Ok(EnsembleReport {
        questions: dev.labelled(),
        task_exact_match: EnsembleScores {
            gain: in_use - mean_member,
            ..scores
        },
        weights,
    })
}

/// Number of ways of combining members.
const METHODS: usize = 4;

#[cfg(test)]
mod tests {
    use spanwise_artifact::Answer;
    use spanwise_artifact::scores::Scores;

    use super::*;
    use crate::dev::PARTS;
    use crate::fit::{Questions, fit};
    use crate::testing::{TestQuestion, with_dev};

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
        let questions = members
            .into_iter()
            .enumerate()
            .map(|(paragraph, members)| TestQuestion {
                members: members.map(Scores::clone).to_vec(),
                paragraph,
                references: references.to_vec(),
            });
        let unlabelled = TestQuestion {
            members: vec![long.clone(), long.clone()],
            paragraph: 0,
            references: Vec::new(),
        };
        let questions: Vec<TestQuestion> = [unlabelled].into_iter().chain(questions).collect();
        with_dev("共1,2人口", &questions, |dev| {
            let parts: Vec<Questions> = (0..PARTS).map(Questions::Without).collect();
            let held_out = fit(dev, &parts).unwrap();
            let unchanged = EnsembleJob::UNCHANGED;
            let report = measure(dev, &unchanged, &held_out, Some(equal(2))).unwrap();
            let scores = report.task_exact_match;
            assert_eq!(report.questions, 4, "one without references does not count");
            assert_eq!(scores.members, [0.75, 0.25]);
            assert_eq!(scores.mean_member, 0.5);
            assert_eq!(scores.gain, scores.mean - scores.mean_member);
            assert_eq!(report.weights, Some(vec![0.5, 0.5]));
        });
    }
}
