//! Scores of characters from scores of windows.

use anyhow::Result;
use spanwise_artifact::Split;
use spanwise_artifact::scores::Scores;
use spanwise_artifact::settings::Placement;
use spanwise_artifact::windows::{Layout, Special, Template, WindowArrays, WindowFile};
use spanwise_model::score::Scorer;
use spanwise_model::{SpanModel, weights};
use spanwise_ops::Precision;

use crate::support::{devices, tiny};

const QUESTIONS: usize = 40;

fn layout() -> Layout {
    let special = |id, token_type| vec![Special { id, token_type }];
    Layout {
        max_length: 20,
        placement: Placement::Random,
        template: Template {
            before: special(1, 0),
            between: special(2, 0),
            after: special(2, 1),
            question_type: 0,
            paragraph_type: 1,
            padding_id: 0,
            mask_id: Some(4),
        },
    }
}

/// Questions on paragraphs of 10 to 29 tokens, one character each, most in several windows.
fn windows() -> Result<WindowFile> {
    let mut arrays = WindowArrays::default();
    for index in 0..QUESTIONS {
        let length = 10 + index * 7 % 20;
        let ids: Vec<u32> = (0..length)
            .map(|token| 10 + ((index * 31 + token * 17) % 150) as u32)
            .collect();
        let characters: Vec<_> = (0..length).map(|token| token..token + 1).collect();
        arrays.push_paragraph(&ids, &characters, length)?;
        arrays.push_question(&[5, 6], index, Some(3..5))?;
        let room = layout().room(2);
        for start in (0..).step_by(7) {
            arrays.push_window(start..(start + room).min(length))?;
            if start + room >= length {
                break;
            }
        }
    }
    let directory = tempfile::tempdir()?;
    arrays.write(directory.path(), Split::Test)?;
    let file = WindowFile::open(directory.path(), Split::Test)?;
    Ok(file.expect("just written"))
}

#[test]
fn scores_do_not_depend_on_batching() -> Result<()> {
    let (file, layout) = (windows()?, layout());
    for (name, device) in devices() {
        let (model, _) = weights::load::<SpanModel>(&tiny("bert"), &device)?;
        let score = |tokens_per_pass| -> Result<(Vec<Scores>, f64)> {
            let scorer = Scorer {
                model: &model,
                device: &device,
                layout: &layout,
                precision: Precision::Fp32,
                tokens_per_pass,
            };
            let mut all = Vec::new();
            let mut windows = 0;
            let each = |index, scores, count| {
                assert_eq!(index, all.len(), "questions come in order");
                windows += count;
                all.push(scores);
                Ok(())
            };
            let loss = scorer.score(&file, file.evaluation_windows(), each)?;
            assert_eq!(windows, file.windows());
            Ok((all, loss.value()))
        };
        let (alone, loss) = score(1)?;
        assert_eq!(alone.len(), QUESTIONS);
        let (batched, batched_loss) = score(137)?;
        assert!((loss - batched_loss).abs() < 1e-5, "{name}");
        for (question, (one, several)) in alone.iter().zip(batched).enumerate() {
            assert_eq!(one.start.len(), file.paragraph_characters(question));
            let starts = one.start.iter().zip(&several.start);
            for (a, b) in starts.chain(one.end.iter().zip(&several.end)) {
                assert!(
                    a.is_finite() && (a - b).abs() < 1e-5,
                    "{name}: {a} alone, {b} in a batch"
                );
            }
        }
    }
    Ok(())
}
