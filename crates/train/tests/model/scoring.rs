//! Scores of characters from scores of windows.

use anyhow::Result;
use spanwise_artifact::scores::Scores;
use spanwise_model::score::Scorer;
use spanwise_ops::Precision;

use crate::support::devices;
use crate::task::{files, model};

#[test]
fn scores_do_not_depend_on_batching() -> Result<()> {
    let files = files()?;
    for (name, device) in devices() {
        let model = model(0.0, &device)?;
        let score = |tokens_per_pass| -> Result<Vec<Scores>> {
            let scorer = Scorer {
                model: &model,
                device: &device,
                layout: &files.layout,
                precision: Precision::Fp32,
                tokens_per_pass,
            };
            let mut all = Vec::new();
            let mut windows = 0;
            scorer.score(
                &files.train,
                files.train.evaluation_windows(),
                |index, scores, count| {
                    assert_eq!(index, all.len(), "questions come in order");
                    windows += count;
                    all.push(scores);
                    Ok(())
                },
            )?;
            assert_eq!(windows, files.train.windows());
            Ok(all)
        };
        let alone = score(1)?;
        assert_eq!(alone.len(), 64);
        for (question, (one, several)) in alone.iter().zip(score(137)?).enumerate() {
            assert_eq!(one.start.len(), files.train.paragraph_characters(question));
            let pairs = one
                .start
                .iter()
                .zip(&several.start)
                .chain(one.end.iter().zip(&several.end));
            for (a, b) in pairs {
                assert!(
                    a.is_finite() && (a - b).abs() < 1e-5,
                    "{name}: {a} alone, {b} in a batch"
                );
            }
        }
    }
    Ok(())
}
