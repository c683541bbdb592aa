//! The average of the weights, on every backend that this build has.

use anyhow::Result;
use spanwise_model::SpanModel;
use spanwise_testing::backends::devices;
use spanwise_testing::tiny::{largest_difference, random, span_model, values};
use spanwise_training::average::AveragedWeights;

#[test]
fn the_average_moves_by_its_decay_and_leaves_the_model_alone() -> Result<()> {
    for (name, device) in devices() {
        let device = device.autodiff();
        let first = span_model(0.0, &device)?;
        let mut average = AveragedWeights::new(&first, 0.25);
        let start = values(average.model());
        assert_eq!(start, values(&first), "{name}");
        let second: SpanModel = random(0.0, 4, &device)?;
        let end = values(&second);
        // After many steps the decay is what was asked for; after one it is 2/11.
        for (step, decay) in [(1, 2.0f32 / 11.0), (1000, 0.25)] {
            let before = values(average.model());
            average.update(&second, step);
            let expected = before.iter().zip(&end);
            let expected: Vec<f32> = expected
                .map(|(a, b)| decay * a + (1.0 - decay) * b)
                .collect();
            let found = values(average.model());
            assert!(largest_difference(&found, &expected) < 1e-6, "{name}");
        }
        assert_eq!(start, values(&first), "{name}: the average is a copy");
    }
    Ok(())
}
