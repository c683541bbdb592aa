//! What members and their combinations score on dev, by the task's exact match.

use anyhow::Result;
use spanwise_artifact::Characters;
use spanwise_artifact::ensemble::{EnsembleReport, EnsembleScores};
use spanwise_artifact::scores::{ScoresView, Span, Whole};
use spanwise_artifact::settings::EnsembleMethod;
use spanwise_spans::{best_spans, span_score, task_exact_match};

use crate::combine::{equal, votes, weighted, weighted_whole};
use crate::dev::{Dev, Labelled};
use crate::fit::Fitted;

/// Measures members and all methods on dev, which has a labelled question. With `knows_no_answer`,
/// the answer is none where that scores higher than the best span; a vote's scores are the mean's.
///
/// `longest`: the longest answer in characters. `held_out` are the weights fitted without each part,
/// which are measured on the part; none where nothing is held out. `weights` are those of the method
/// in use.
///
/// # Errors
/// Fails if dev cannot be read.
pub fn measure(
    dev: &Dev,
    method: EnsembleMethod,
    longest: usize,
    knows_no_answer: bool,
    held_out: &[Fitted],
    weights: Option<Vec<f64>>,
) -> Result<EnsembleReport> {
    let members = dev.members().count();
    let mean = equal(members);
    // The best span; `None` where no answer scores higher.
    let answer = |best: Option<Span>, scores: ScoresView, whole: Whole| {
        let score = |span: &Span| span_score(scores, span.range());
        best.filter(|span| !knows_no_answer || whole.null <= score(span))
    };
    let best =
        |scores: ScoresView, whole| answer(best_spans(scores, longest, 1).pop(), scores, whole);
    let spans = |question: &Labelled| -> Vec<Option<Span>> {
        let combined = |weights: &[f64]| {
            let scores = weighted(&question.members, weights);
            (scores, weighted_whole(&question.wholes, weights))
        };
        let of_weights = |weights: &[f64]| {
            let (scores, whole) = combined(weights);
            best(scores.view(), whole)
        };
        let fitted = held_out.get(question.part);
        let of_fitted =
            |weights: fn(&Fitted) -> &[f64]| fitted.and_then(|f| of_weights(weights(f)));
        let vote = votes(&question.members, longest).into_iter().next();
        let (scores, whole) = combined(&mean);
        let methods = [
            of_weights(&mean),
            of_fitted(|fitted| &fitted.calibrated),
            of_fitted(|fitted| &fitted.weighted),
            answer(vote, scores.view(), whole),
        ];
        let members = question.members.iter().zip(&question.wholes);
        let alone = members.map(|(scores, whole)| best(*scores, *whole));
        methods.into_iter().chain(alone).collect()
    };
    let mut right = vec![0usize; METHODS + members];
    dev.in_order_with_texts(
        |question, paragraph, references| {
            let characters = Characters::new(paragraph);
            let is_right = |span: Option<Span>| {
                let answer = span.and_then(|span| characters.get(span.range()));
                let references = references.iter().map(|answer| &*answer.text);
                match answer {
                    Some(answer) => task_exact_match(answer, references),
                    None => knows_no_answer && question.references.is_empty(),
                }
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
    let is_fitted = !held_out.is_empty();
    let scores = EnsembleScores {
        members: alone,
        mean_member,
        mean: shares[0],
        calibrated: is_fitted.then_some(shares[1]),
        weighted: is_fitted.then_some(shares[2]),
        vote: shares[3],
        gain: 0.0,
    };
    let in_use = match method {
        EnsembleMethod::Mean => scores.mean,
        // Without fitted weights members count alike.
        EnsembleMethod::Calibrated => scores.calibrated.unwrap_or(scores.mean),
        EnsembleMethod::Weighted => scores.weighted.unwrap_or(scores.mean),
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
    use spanwise_artifact::scores::Scores;
    use spanwise_artifact::{Answer, Reference};

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
                references: Reference::Spans(references.to_vec()),
            });
        let unlabelled = TestQuestion {
            members: vec![long.clone(), long.clone()],
            paragraph: 0,
            references: Reference::Unknown,
        };
        let questions: Vec<TestQuestion> = [unlabelled].into_iter().chain(questions).collect();
        with_dev("共1,2人口", &questions, |dev| {
            let parts: Vec<Questions> = (0..PARTS).map(Questions::Without).collect();
            let held_out = fit(dev, &parts).unwrap();
            let mean = EnsembleMethod::Mean;
            let report = measure(dev, mean, 30, false, &held_out, Some(equal(2))).unwrap();
            let scores = report.task_exact_match;
            assert_eq!(report.questions, 4, "one without references does not count");
            assert_eq!(scores.members, [0.75, 0.25]);
            assert_eq!(scores.mean_member, 0.5);
            assert_eq!(scores.gain, scores.mean - scores.mean_member);
            assert_eq!(report.weights, Some(vec![0.5, 0.5]));
            assert!(scores.calibrated.is_some() && dev.are_held_out());
        });
        // All about one paragraph.
        let together = questions.into_iter().map(|question| TestQuestion {
            paragraph: 0,
            ..question
        });
        with_dev("共1,2人口", &together.collect::<Vec<_>>(), |dev| {
            assert!(!dev.are_held_out());
            let weighted = EnsembleMethod::Weighted;
            let report = measure(dev, weighted, 30, false, &[], Some(equal(2))).unwrap();
            let scores = report.task_exact_match;
            assert_eq!((scores.calibrated, scores.weighted), (None, None));
            assert_eq!(scores.gain, scores.mean - scores.mean_member);
        });
    }

    #[test]
    fn no_answer_is_right_where_there_is_none() {
        let low = Scores {
            start: vec![0.25; 6],
            end: vec![0.25; 6],
        };
        let answer = Answer {
            text: "1,2人".to_owned(),
            start: 1,
        };
        let question = |paragraph, members: [&Scores; 2], references| TestQuestion {
            members: members.map(Scores::clone).to_vec(),
            paragraph,
            references,
        };
        let spans = Reference::Spans(vec![answer]);
        let right = peak(1..5);
        let questions = [
            question(0, [&low, &low], Reference::Unanswerable),
            question(1, [&low, &right], Reference::Unanswerable),
            question(2, [&low, &right], spans.clone()),
            question(3, [&right, &right], spans),
        ];
        with_dev("共1,2人口", &questions, |dev| {
            let parts: Vec<Questions> = (0..PARTS).map(Questions::Without).collect();
            let held_out = fit(dev, &parts).unwrap();
            let mean = EnsembleMethod::Mean;
            let report = measure(dev, mean, 30, true, &held_out, Some(equal(2))).unwrap();
            let scores = report.task_exact_match;
            assert_eq!(report.questions, 4);
            assert_eq!(scores.members, [0.75, 0.75]);
            assert_eq!(scores.mean, 0.75, "a mean of 3.25 is above no answer's");
        });
    }
}
