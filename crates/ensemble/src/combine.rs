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
    members: Vec<Member>,
    /// Length of every question's paragraph in characters.
    lengths: Vec<usize>,
}

/// A member's scores: of one model, or of one model a fold.
struct Member {
    files: Vec<ScoreFile>,
    /// Every question's file and its place there.
    places: Vec<(usize, usize)>,
}

impl Members {
    /// Opens a split of the members' prediction artifacts; `None` where no member has it. A member is one artifact,
    /// or one a fold; `folds` says for every question which of them has it.
    pub fn open(
        members: &[Vec<&Path>],
        split: Split,
        folds: Option<&[usize]>,
    ) -> Result<Option<Self>> {
        let open = |artifacts: &Vec<&Path>| -> Result<Vec<ScoreFile>> {
            let files = artifacts
                .iter()
                .map(|artifact| ScoreFile::open(artifact, split));
            Ok(files
                .collect::<Result<Vec<_>>>()?
                .into_iter()
                .flatten()
                .collect())
        };
        let files = members.iter().map(open).collect::<Result<Vec<_>>>()?;
        if files.iter().all(Vec::is_empty) {
            return Ok(None);
        }
        let differ = || {
            UserError::new(format!(
                "the members have not scored the same {} questions",
                split.name()
            ))
        };
        let members = files
            .into_iter()
            .map(|files| {
                let questions: usize = files.iter().map(ScoreFile::questions).sum();
                let places = match folds {
                    Some(folds) => in_folds(folds, &files).ok_or_else(differ)?,
                    None => (0..questions).map(|question| (0, question)).collect(),
                };
                ensure!(folds.is_some() || files.len() == 1, differ());
                Ok(Member { files, places })
            })
            .collect::<Result<Vec<_>>>()?;
        let lengths = |member: &Member| -> Vec<usize> {
            let length =
                |&(file, place): &(usize, usize)| member.files[file].get(place).start.len();
            member.places.iter().map(length).collect()
        };
        let first = lengths(&members[0]);
        ensure!(
            members.iter().all(|member| lengths(member) == first),
            differ()
        );
        Ok(Some(Self {
            members,
            lengths: first,
        }))
    }

    /// Number of members.
    pub fn count(&self) -> usize {
        self.members.len()
    }

    /// Number of questions.
    pub fn questions(&self) -> usize {
        self.lengths.len()
    }

    /// Length of every question's paragraph in characters.
    pub fn lengths(&self) -> &[usize] {
        &self.lengths
    }

    /// All members' scores of a question.
    pub fn get(&self, question: usize) -> Vec<ScoresView<'_>> {
        let views = self.members.iter().map(|member| {
            let (file, place) = member.places[question];
            member.files[file].get(place)
        });
        views.collect()
    }
}

/// The file and the place in it of every question: each fold's file has its questions in order. `None` where they are
/// not as many as the folds say.
fn in_folds(folds: &[usize], files: &[ScoreFile]) -> Option<Vec<(usize, usize)>> {
    let mut next = vec![0; files.len()];
    let mut places = Vec::with_capacity(folds.len());
    for &fold in folds {
        let place = next.get_mut(fold)?;
        places.push((fold, *place));
        *place += 1;
    }
    let complete = files
        .iter()
        .zip(&next)
        .all(|(file, &count)| file.questions() == count);
    complete.then_some(places)
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

    /// A prediction artifact whose questions have these lengths; every score is `score`.
    fn prediction(split: Split, lengths: &[usize], score: f32) -> Result<tempfile::TempDir> {
        let directory = tempfile::tempdir()?;
        let mut writer = ScoreWriter::create(directory.path(), split, lengths.to_vec())?;
        for &length in lengths {
            let column = vec![score; length];
            writer.push(scores(&column, &column).view())?;
        }
        writer.finish()?;
        Ok(directory)
    }

    #[test]
    fn members_must_have_scored_the_same_questions() -> Result<()> {
        let a = prediction(Split::Dev, &[2, 3], 0.0)?;
        let b = prediction(Split::Dev, &[2, 4], 0.0)?;
        let empty = tempfile::tempdir()?;
        let open = |members: &[&tempfile::TempDir], split| {
            let members: Vec<Vec<&Path>> = members.iter().map(|m| vec![m.path()]).collect();
            Members::open(&members, split, None)
        };
        let both = open(&[&a, &a], Split::Dev)?.expect("there");
        assert_eq!((both.count(), both.questions()), (2, 2));
        assert!(open(&[&a], Split::Test)?.is_none());
        assert!(open(&[&a, &b], Split::Dev).is_err());
        assert!(open(&[&a, &empty], Split::Dev).is_err());
        Ok(())
    }

    #[test]
    fn every_question_is_scored_by_the_model_that_has_not_seen_it() -> Result<()> {
        let first = prediction(Split::Dev, &[2, 3], 1.0)?;
        let second = prediction(Split::Dev, &[4], 2.0)?;
        let member = vec![first.path(), second.path()];
        let open =
            |folds: &[usize]| Members::open(std::slice::from_ref(&member), Split::Dev, Some(folds));
        let members = open(&[0, 1, 0])?.expect("there");
        assert_eq!(members.lengths(), [2, 4, 3]);
        let score = |question: usize| members.get(question)[0].start[0];
        assert_eq!([score(0), score(1), score(2)], [1.0, 2.0, 1.0]);
        for folds in [&[0, 0][..], &[0, 1, 1], &[0, 1, 2]] {
            assert!(open(folds).is_err(), "{folds:?}");
        }
        Ok(())
    }
}
