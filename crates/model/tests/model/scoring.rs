//! Scores of characters from scores of windows.

use anyhow::Result;
use spanwise_model::score::{Scored, Scorer};
use spanwise_ops::Precision;
use spanwise_testing::backends::devices;
use spanwise_testing::high_ids::Files;
use spanwise_testing::tiny::span_model;

#[test]
fn scores_do_not_depend_on_batching() -> Result<()> {
    let files = Files::new()?;
    let file = &files.train;
    for (name, device) in devices() {
        let model = span_model(0.0, &device)?;
        let score = |tokens_per_pass| -> Result<(Vec<Scored>, f64)> {
            let scorer = Scorer {
                model: &model,
                device: &device,
                layout: &files.layout,
                precision: Precision::Fp32,
                tokens_per_pass,
            };
            let mut all = Vec::new();
            let mut windows = 0;
            let each = |scored: Scored| {
                assert_eq!(scored.question, all.len(), "questions come in order");
                windows += scored.new_windows;
                all.push(scored);
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
            let whole = [one.whole, several.whole];
            let wholes = whole.map(|whole| [whole.null, whole.window.score]);
            let (one, several) = (&one.scores, &several.scores);
            assert_eq!(one.start.len(), file.paragraph_characters(question));
            let starts = one.start.iter().zip(&several.start);
            let scores = starts.chain(one.end.iter().zip(&several.end));
            for (a, b) in scores.chain(wholes[0].iter().zip(&wholes[1])) {
                assert!(
                    a.is_finite() && (a - b).abs() < 1e-5,
                    "{name}: {a} alone, {b} in a batch"
                );
            }
            // No window's start and end score more together than the best of all windows.
            let best = |scores: &[f32]| scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            assert!(whole[0].window.score <= best(&one.start) + best(&one.end));
            assert!(whole[0].window.end <= one.start.len());
        }
    }
    Ok(())
}
