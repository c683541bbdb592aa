//! Scores of characters from scores of windows.

use anyhow::Result;
use spanwise_artifact::scores::Scores;
use spanwise_artifact::settings::Precision;
use spanwise_model::score::Scorer;
use spanwise_testing::backends::devices;
use spanwise_testing::high_ids::Files;
use spanwise_testing::tiny::span_model;

#[test]
fn scores_do_not_depend_on_batching() -> Result<()> {
    let files = Files::new()?;
    let file = &files.train;
    for (name, device) in devices() {
        let model = span_model(0.0, &device)?;
        let score = |tokens_per_pass| -> Result<(Vec<Scores>, f64)> {
            let scorer = Scorer {
                model: &model,
                device: &device,
                layout: &files.layout,
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
            let loss = scorer.score(file, file.evaluation_windows(), each)?;
            assert_eq!(windows, file.windows());
            Ok((all, loss.value()))
        };
        let (alone, loss) = score(1)?;
        let (batched, batched_loss) = score(137)?;
        assert_eq!(alone.len(), file.questions());
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
