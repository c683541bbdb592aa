//! One question's scores from all members', and the spans most members find best.

use std::path::Path;

use anyhow::{Result, ensure};
use spanwise_artifact::scores::{ScoreFile, Scores, ScoresView, Span};
use spanwise_artifact::{Split, UserError};

/// The sum of the members' scores, each times its weight, character by character.
///
/// A character is a candidate where it is one for any member. A member whose tokens cannot express it scores it as
/// the tightest span it has around it ([`ScoresView::covering`]), so that the best span is found among all spans that
/// begin where some member can begin and end where some member can end. A single member of weight 1 passes
/// unchanged.
///
/// # Panics
/// Unless there is a member, a weight for each, and all score the same characters.
pub fn weighted(members: &[ScoresView], weights: &[f64]) -> Scores {
    assert_eq!(members.len(), weights.len(), "a weight a member");
    let length = members[0].start.len();
    assert!(
        members.iter().all(|member| member.start.len() == length),
        "members score different paragraphs"
    );
    let covering: Vec<Scores> = members.iter().map(ScoresView::covering).collect();
    let column = |raw: fn(&ScoresView) -> Vec<f32>, covering: Vec<&[f32]>| -> Vec<f32> {
        let raw: Vec<Vec<f32>> = members.iter().map(raw).collect();
        let score = |place: usize| {
            if raw.iter().all(|scores| scores[place] == f32::NEG_INFINITY) {
                return f32::NEG_INFINITY;
            }
            let scores = covering.iter().zip(weights);
            scores
                .map(|(scores, weight)| f64::from(scores[place]) * weight)
                .sum::<f64>() as f32
        };
        (0..length).map(score).collect()
    };
    Scores {
        start: column(
            |scores| scores.start.to_vec(),
            covering.iter().map(|scores| &scores.start[..]).collect(),
        ),
        end: column(
            |scores| scores.end.to_vec(),
            covering.iter().map(|scores| &scores.end[..]).collect(),
        ),
    }
}

/// Weights that make [`weighted`] the mean.
pub fn equal(members: usize) -> Vec<f64> {
    vec![1.0 / members as f64; members]
}

/// The members' best spans, those that more members find best first. A span's score is its number of votes; where
/// it is equal, the span with the larger mean score comes first.
pub fn votes(members: &[ScoresView], max_answer_length: usize) -> Vec<Span> {
    let mean = weighted(members, &equal(members.len()));
    let mut spans: Vec<Span> = Vec::new();
    for member in members {
        let Some(best) = member.best_spans(max_answer_length, 1).pop() else {
            continue;
        };
        match spans
            .iter_mut()
            .find(|span| (span.start, span.end) == (best.start, best.end))
        {
            Some(span) => span.score += 1.0,
            None => spans.push(Span { score: 1.0, ..best }),
        }
    }
    let rank = |span: &Span| (span.score, mean.view().of(span.start, span.end));
    spans.sort_by(|a, b| {
        let ((votes, mean), (other_votes, other_mean)) = (rank(a), rank(b));
        other_votes
            .total_cmp(&votes)
            .then(other_mean.total_cmp(&mean))
    });
    spans
}

/// One split of all members.
pub struct Members {
    files: Vec<ScoreFile>,
}

impl Members {
    /// Opens a split of the members' prediction artifacts; `None` where no member has it.
    pub fn open(members: &[&Path], split: Split) -> Result<Option<Self>> {
        let files = members
            .iter()
            .map(|member| ScoreFile::open(member, split))
            .collect::<Result<Vec<_>>>()?;
        let files: Vec<ScoreFile> = files.into_iter().flatten().collect();
        let Some(first) = files.first() else {
            return Ok(None);
        };
        ensure!(
            files.len() == members.len()
                && files.iter().all(|file| file.lengths().eq(first.lengths())),
            UserError::new(format!(
                "the members have not scored the same {} questions",
                split.name()
            ))
        );
        Ok(Some(Self { files }))
    }

    /// Number of members.
    pub fn count(&self) -> usize {
        self.files.len()
    }

    /// Number of questions.
    pub fn questions(&self) -> usize {
        self.files[0].questions()
    }

    /// Length of every question's paragraph in characters.
    pub fn lengths(&self) -> Vec<usize> {
        self.files[0].lengths().collect()
    }

    /// All members' scores of a question.
    pub fn get(&self, question: usize) -> Vec<ScoresView<'_>> {
        self.files.iter().map(|file| file.get(question)).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use spanwise_artifact::scores::ScoreWriter;

    use super::*;

    const NONE: f32 = f32::NEG_INFINITY;

    fn scores(start: &[f32], end: &[f32]) -> Scores {
        Scores {
            start: start.to_vec(),
            end: end.to_vec(),
        }
    }

    #[test]
    fn one_member_passes_unchanged_and_equals_are_averaged() {
        let one = scores(&[1.0, NONE], &[0.3, 7.0]);
        let two = scores(&[3.0, NONE], &[0.1, -1.0]);
        assert_eq!(weighted(&[one.view()], &[1.0]), one);
        assert_eq!(
            weighted(&[one.view(), two.view()], &equal(2)),
            scores(&[2.0, NONE], &[0.2, 3.0])
        );
        assert_eq!(
            weighted(&[one.view(), two.view()], &[2.0, 0.0]),
            scores(&[2.0, NONE], &[0.6, 14.0])
        );
    }

    #[test]
    fn members_with_other_tokens_have_a_say_on_every_span() {
        // "1998年": one member has a token a character, the other one for the number and one for the unit.
        let fine = scores(&[5.0, 0.0, 0.0, 0.0, 0.0], &[0.0, 0.0, 0.0, 4.0, 3.0]);
        let coarse = scores(&[6.0, NONE, NONE, NONE, 0.0], &[NONE, NONE, NONE, 1.0, 9.0]);
        let both = weighted(&[fine.view(), coarse.view()], &equal(2));
        let best = both.view().best_spans(30, 1)[0];
        assert_eq!((best.start, best.end, best.score), (0, 4, 11.5));
        // "998年" is none of the second member's spans; it gets what "1998年" gets there.
        assert_eq!(both.view().of(1, 4), (0.0 + 3.0 + 6.0 + 9.0) / 2.0);
    }

    #[test]
    fn votes_count_before_scores() {
        let sure = scores(&[0.0, 0.0, 90.0], &[0.0, 0.0, 90.0]);
        let one = scores(&[2.0, 0.0, 0.0], &[2.0, 0.0, 0.0]);
        let two = scores(&[1.0, 0.0, 0.0], &[1.0, 0.0, 0.0]);
        let found = votes(&[sure.view(), one.view(), two.view()], 30);
        let found: Vec<_> = found.iter().map(|s| (s.start, s.end, s.score)).collect();
        assert_eq!(found, [(0, 0, 2.0), (2, 2, 1.0)]);
        let tied = votes(&[sure.view(), one.view()], 30);
        assert_eq!((tied[0].start, tied[0].end), (2, 2), "the mean decides");
        assert_eq!(votes(&[Scores::none(3).view()], 30), []);
    }

    proptest! {
        #[test]
        fn every_members_span_is_a_candidate(
            members in prop::collection::vec(prop::collection::vec((-5i8..5, -5i8..5, any::<bool>()), 6), 1..4),
        ) {
            let members: Vec<Scores> = members
                .iter()
                .map(|member| Scores {
                    start: member.iter().map(|s| if s.2 { NONE } else { f32::from(s.0) }).collect(),
                    end: member.iter().map(|s| if s.2 { NONE } else { f32::from(s.1) }).collect(),
                })
                .collect();
            let views: Vec<ScoresView> = members.iter().map(Scores::view).collect();
            let all = weighted(&views, &equal(views.len()));
            for span in views.iter().flat_map(|view| view.best_spans(6, 100)) {
                // A member may have no token before or after a character; then it has no span around it.
                let covered = views.iter().all(|view| {
                    let covering = view.covering();
                    covering.view().of(span.start, span.end) > NONE
                });
                prop_assert_eq!(all.view().of(span.start, span.end) > NONE, covered);
            }
        }
    }

    #[test]
    fn members_must_have_scored_the_same_questions() -> Result<()> {
        let write = |lengths: &[usize]| -> Result<tempfile::TempDir> {
            let directory = tempfile::tempdir()?;
            let mut writer = ScoreWriter::create(directory.path(), Split::Dev, lengths.to_vec())?;
            for &length in lengths {
                writer.push(Scores::none(length).view())?;
            }
            writer.finish()?;
            Ok(directory)
        };
        let (a, b) = (write(&[2, 3])?, write(&[2, 4])?);
        let both = Members::open(&[a.path(), a.path()], Split::Dev)?.expect("there");
        assert_eq!((both.count(), both.questions()), (2, 2));
        assert!(Members::open(&[a.path()], Split::Test)?.is_none());
        assert!(Members::open(&[a.path(), b.path()], Split::Dev).is_err());
        let empty = tempfile::tempdir()?;
        assert!(Members::open(&[a.path(), empty.path()], Split::Dev).is_err());
        Ok(())
    }
}
