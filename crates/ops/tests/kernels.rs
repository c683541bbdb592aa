//! What devices compute in place of compositions, against these, and its gradients against finite
//! differences: kernels on libtorch's CPU, libtorch's operators on GPUs, and with `SPANWISE_NATIVE`
//! on the CPU as well.
#![cfg(feature = "tch")]

use burn::tensor::{Device, FloatDType, Tensor, TensorData};
use spanwise_artifact::settings;
use spanwise_ops::device::{Implementation, implementation};
use spanwise_ops::{self as ops, Activation, MASKED, PackedRows, Precision, Rows, device};

fn cpu() -> Device {
    device::open(settings::Device::Cpu).unwrap().device
}

/// libtorch's CPU, and a GPU where there is one.
fn devices() -> Vec<Device> {
    let gpu = device::open(settings::Device::Cuda(0)).ok();
    let devices: Vec<_> = [cpu()]
        .into_iter()
        .chain(gpu.map(|open| open.device))
        .collect();
    for device in &devices {
        assert_ne!(implementation(device), Implementation::Compositions);
        assert_eq!(
            implementation(&device.clone().autodiff()),
            implementation(device)
        );
    }
    devices
}

/// Whether kernels of this project compute.
fn is_ours(device: &Device) -> bool {
    implementation(device) == Implementation::Kernels
}

/// Numbers between -1 and 1 that look random and are the same everywhere.
fn numbers(count: usize, salt: u32) -> Vec<f32> {
    let number = |i: usize| {
        let mut x = (i as u32)
            .wrapping_mul(0x9e37_79b9)
            .wrapping_add(salt.wrapping_mul(0x85eb_ca6b));
        x ^= x >> 15;
        x = x.wrapping_mul(0x2c1b_3c6d);
        x ^= x >> 12;
        x as f32 / u32::MAX as f32 * 2.0 - 1.0
    };
    (0..count).map(number).collect()
}

/// An input of an operation, flat.
type Input = Vec<f32>;

fn input(shape: &[usize], salt: u32) -> Input {
    numbers(shape.iter().product(), salt)
}

/// Tensors of the inputs, flat, so that a list can hold them.
type Flat = Vec<Tensor<1>>;
type Operation<'a> = &'a dyn Fn(&Flat) -> Tensor<1>;

fn tensors(inputs: &[Input], device: &Device) -> Flat {
    let tensor =
        |values: &Input| Tensor::from_data(TensorData::new(values.clone(), [values.len()]), device);
    inputs.iter().map(tensor).collect()
}

fn values(tensor: Tensor<1>) -> Vec<f32> {
    tensor
        .cast(FloatDType::F32)
        .into_data()
        .try_into_vec()
        .unwrap()
}

/// The operation's output, and the gradients of a weighted sum of it.
fn run(inputs: &[Input], device: &Device, operation: Operation) -> (Vec<f32>, Vec<Vec<f32>>) {
    device.seed(5);
    let device = device.clone().autodiff();
    let leaves: Flat = tensors(inputs, &device)
        .into_iter()
        .map(Tensor::require_grad)
        .collect();
    let output = operation(&leaves);
    let weights = numbers(output.dims()[0], 99);
    let weights =
        Tensor::<1>::from_data(TensorData::new(weights.clone(), [weights.len()]), &device);
    let gradients = (output.clone().cast(FloatDType::F32) * weights)
        .sum()
        .backward();
    let gradient = |leaf: &Tensor<1>| leaf.grad(&gradients).map(values).unwrap_or_default();
    (values(output), leaves.iter().map(gradient).collect())
}

fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter()
        .zip(b)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f32::max)
}

/// An operation on every device of libtorch's against the composition on flex: output and gradients.
fn check_composition(name: &str, inputs: &[Input], operation: Operation, tolerance: f32) {
    for device in devices() {
        check_composition_on(&device, name, inputs, operation, tolerance);
    }
}

fn check_composition_on(
    device: &Device,
    name: &str,
    inputs: &[Input],
    operation: Operation,
    tolerance: f32,
) {
    let (output, gradients) = run(inputs, device, operation);
    let (expected, expected_gradients) = run(inputs, &Device::flex(), operation);
    let difference = largest_difference(&output, &expected);
    assert!(
        difference < tolerance,
        "{name}: outputs differ by {difference}"
    );
    for (index, (found, expected)) in gradients.iter().zip(&expected_gradients).enumerate() {
        let difference = largest_difference(found, expected);
        assert!(
            difference < tolerance,
            "{name}: gradients of input {index} differ by {difference}"
        );
    }
}

/// The gradients of every device against finite differences of its own output, in one direction per
/// input.
fn check_differences(name: &str, inputs: &[Input], operation: Operation) {
    for device in devices() {
        check_differences_on(&device, name, inputs, operation);
    }
}

fn check_differences_on(device: &Device, name: &str, inputs: &[Input], operation: Operation) {
    let (output, gradients) = run(inputs, device, operation);
    let weights = numbers(output.len(), 99);
    for (index, gradient) in gradients
        .iter()
        .enumerate()
        .filter(|(_, gradient)| !gradient.is_empty())
    {
        let direction = numbers(gradient.len(), 7 + index as u32);
        let moved = |step: f32| -> f64 {
            let mut inputs = inputs.to_vec();
            for (value, along) in inputs[index].iter_mut().zip(&direction) {
                *value += step * along;
            }
            let (output, _) = run(&inputs, device, operation);
            output
                .iter()
                .zip(&weights)
                .map(|(a, b)| f64::from(a * b))
                .sum()
        };
        const STEP: f32 = 2e-3;
        let difference = (moved(STEP) - moved(-STEP)) / f64::from(2.0 * STEP);
        let expected: f64 = gradient
            .iter()
            .zip(&direction)
            .map(|(a, b)| f64::from(a * b))
            .sum();
        let scale = expected.abs().max(1.0);
        assert!(
            (difference - expected).abs() < 2e-2 * scale,
            "{name}, input {index}: {expected} by gradient, {difference} by difference"
        );
    }
}

const BATCH: usize = 3;
const TOKENS: usize = 13;
const HIDDEN: usize = 20;
const HEADS: usize = 4;

fn three(x: &Tensor<1>) -> Tensor<3> {
    x.clone().reshape([BATCH, TOKENS, HIDDEN])
}

fn flat<const D: usize>(x: Tensor<D>) -> Tensor<1> {
    let count = x.shape().num_elements();
    x.reshape([count])
}

fn sequence(salt: u32) -> Input {
    input(&[BATCH, TOKENS, HIDDEN], salt)
}

#[test]
fn linear() {
    let _generator = device::hold_generator();
    let inputs = [sequence(1), input(&[HIDDEN, 7], 2), input(&[7], 3)];
    let operation = |precision| {
        move |x: &Flat| {
            let weight = x[1].clone().reshape([HIDDEN, 7]);
            flat(ops::linear(three(&x[0]), weight, x[2].clone(), precision))
        }
    };
    check_composition("f32", &inputs, &operation(Precision::Fp32), 1e-5);
    check_differences("f32", &inputs, &operation(Precision::Fp32));
    // The two round sums over tokens at different points, to three digits.
    check_composition("bf16", &inputs, &operation(Precision::Bf16), 0.1);
    check_composition("fp16", &inputs, &operation(Precision::Fp16), 0.02);
}

#[test]
fn linear_activated() {
    let _generator = device::hold_generator();
    let inputs = [sequence(1), input(&[HIDDEN, 7], 2), input(&[7], 3)];
    let operation = |precision| {
        move |x: &Flat| {
            let (weight, bias) = (x[1].clone().reshape([HIDDEN, 7]), x[2].clone());
            let gelu = Activation::Gelu;
            flat(ops::linear_activated(
                three(&x[0]),
                weight,
                bias,
                precision,
                gelu,
            ))
        }
    };
    check_composition("f32", &inputs, &operation(Precision::Fp32), 1e-5);
    check_differences("f32", &inputs, &operation(Precision::Fp32));
    check_composition("bf16", &inputs, &operation(Precision::Bf16), 0.1);
    for device in devices() {
        let without_gradients = |precision| {
            let inputs = tensors(&inputs, &device);
            values(operation(precision)(&inputs))
        };
        let (expected, _) = run(&inputs, &device, &operation(Precision::Fp32));
        let found = without_gradients(Precision::Fp32);
        assert!(largest_difference(&found, &expected) < 1e-5);
        let found = without_gradients(Precision::Bf16);
        assert!(largest_difference(&found, &expected) < 0.1);
    }
}

#[test]
fn denormal_numbers_are_zero_in_kernels_and_not_in_rust() {
    let _generator = device::hold_generator();
    if !is_ours(&cpu()) {
        return;
    }
    // Every product is about 1e-40, and rows are enough for all threads.
    let rows = 1024;
    let tensor =
        |value: f32, count| Tensor::from_data(TensorData::new(vec![value; count], [count]), &cpu());
    let x = tensor(1e-20, rows * HIDDEN).reshape([1, rows, HIDDEN]);
    let weight = tensor(1e-20, HIDDEN * HIDDEN).reshape([HIDDEN, HIDDEN]);
    let product = ops::linear(x, weight, tensor(0.0, HIDDEN), Precision::Fp32);
    let product = values(product.reshape([rows * HIDDEN]));
    assert!(product.iter().all(|&value| value == 0.0));
    let [small, smaller] = std::hint::black_box([1e-20f32, 1e-20]);
    assert!(
        small * smaller > 0.0,
        "this thread computes as Rust expects"
    );
}

#[test]
fn layer_norms() {
    let _generator = device::hold_generator();
    let inputs = [
        sequence(1),
        input(&[HIDDEN], 2),
        input(&[HIDDEN], 3),
        sequence(4),
    ];
    let plain = |x: &Flat| {
        flat(ops::layer_norm(
            three(&x[0]),
            x[1].clone(),
            x[2].clone(),
            1e-5,
        ))
    };
    check_composition("plain", &inputs[..3], &plain, 1e-4);
    check_differences("plain", &inputs[..3], &plain);
    let residual = |probability, low: bool| {
        move |x: &Flat| {
            let (gamma, beta) = (x[1].clone(), x[2].clone());
            let input = three(&x[0]);
            let input = if low {
                input.cast(FloatDType::BF16)
            } else {
                input
            };
            flat(ops::residual_layer_norm(
                input,
                three(&x[3]),
                gamma,
                beta,
                1e-5,
                probability,
            ))
        }
    };
    check_composition("residual", &inputs, &residual(0.0, false), 1e-4);
    check_differences("residual", &inputs, &residual(0.0, false));
    check_differences("residual with dropout", &inputs, &residual(0.3, false));
    check_composition("residual in bf16", &inputs, &residual(0.0, true), 0.05);
    for device in devices() {
        let (high, gradients) = run(&inputs, &device, &residual(0.3, false));
        let (low, low_gradients) = run(&inputs, &device, &residual(0.3, true));
        assert!(
            largest_difference(&high, &low) < 0.05,
            "the same is dropped"
        );
        for (high, low) in gradients.iter().zip(&low_gradients) {
            assert!(largest_difference(high, low) < 0.1);
        }
    }
}

/// Checks heads of `size` values each, in rows of these lengths.
fn check_attention(lengths: &[usize], heads: usize, size: usize) {
    let _generator = device::hold_generator();
    let (tokens, width) = (lengths.iter().sum(), 3 * heads * size);
    let inputs = [input(&[tokens, width], 1)];
    let operation = |dropout: f64, low: bool| {
        move |x: &Flat| {
            let qkv = x[0].clone().reshape([1, tokens, width]);
            let qkv = qkv.mul_scalar(2.0);
            let qkv = if low { qkv.cast(FloatDType::BF16) } else { qkv };
            let rows = PackedRows::new(lengths.iter().copied(), &qkv.device());
            flat(ops::attention(qkv, &Rows::Packed(rows), heads, dropout))
        }
    };
    let name = |what: &str| format!("{what}, rows of {lengths:?} tokens, {heads} × {size}");
    check_composition(&name("f32"), &inputs, &operation(0.0, false), 1e-5);
    check_differences(&name("f32"), &inputs, &operation(0.0, false));
    check_differences(&name("f32 with dropout"), &inputs, &operation(0.3, false));
    check_composition(&name("bf16"), &inputs, &operation(0.0, true), 0.1);
}

/// Packed rows attend as padded ones do, and rows that are there twice as two batches would.
#[test]
fn packed_rows_attend_like_padded_ones() {
    let _generator = device::hold_generator();
    let (lengths, heads, width) = ([13, 9, 1], 2, 3 * 8);
    let tokens: usize = lengths.iter().sum();
    let packed = input(&[tokens, width], 1);
    let (mut padded, mut mask) = (Vec::new(), Vec::new());
    let mut rest = &packed[..];
    for length in lengths {
        let (row, others) = rest.split_at(length * width);
        rest = others;
        padded.extend(row);
        padded.resize(padded.len().next_multiple_of(TOKENS * width), 9.0);
        mask.extend((0..TOKENS).map(|token| if token < length { 0.0 } else { MASKED }));
    }
    let flex = Device::flex();
    let tensor = |values: &[f32], shape: [usize; 3], device: &Device| {
        Tensor::<3>::from_data(TensorData::new(values.to_vec(), shape), device)
    };
    let mask = Tensor::from_data(TensorData::new(mask, [BATCH, TOKENS]), &flex);
    let qkv = tensor(&padded, [BATCH, TOKENS, width], &flex);
    let expected = values(flat(ops::attention(qkv, &Rows::Padded(mask), heads, 0.0)));
    let expected: Vec<f32> = lengths
        .iter()
        .zip(expected.chunks(TOKENS * width / 3))
        .flat_map(|(length, row)| row[..length * width / 3].to_vec())
        .collect();
    for device in devices().into_iter().chain([flex]) {
        let rows = PackedRows::new(lengths, &device);
        let qkv = tensor(&packed, [1, tokens, width], &device);
        let found = ops::attention(qkv.clone(), &Rows::Packed(rows.clone()), heads, 0.0);
        assert!(largest_difference(&values(flat(found)), &expected) < 1e-5);
        let twice = Tensor::cat(vec![qkv.clone(), qkv], 1);
        let found = ops::attention(twice, &Rows::Packed(rows.twice()), heads, 0.0);
        let expected = [&expected[..], &expected].concat();
        assert!(largest_difference(&values(flat(found)), &expected) < 1e-5);
    }
}

#[test]
fn attention_of_any_size() {
    check_attention(&[TOKENS, 1, 9], HEADS, HIDDEN / HEADS);
}

/// Heads of sizes that are tiled where the processor has the instructions.
#[test]
fn attention_of_whole_vectors() {
    check_attention(&[TOKENS, 1, 9], 3, 32);
    check_attention(&[32, 32], 2, 64);
    check_attention(&[16, 75, 33], 2, 32);
}

/// Both precisions drop the same weights, in the forward and the backward pass.
#[test]
fn attention_drops_the_same_in_both_precisions() {
    let _generator = device::hold_generator();
    let device = cpu();
    if !is_ours(&device) {
        return;
    }
    let (lengths, heads, width) = ([40, 36, 40], 2, 3 * 64);
    let tokens = lengths.iter().sum();
    let inputs = [input(&[tokens, width], 1)];
    let operation = |low: bool| {
        move |x: &Flat| {
            let qkv = x[0].clone().reshape([1, tokens, width]);
            let qkv = if low { qkv.cast(FloatDType::BF16) } else { qkv };
            let rows = PackedRows::new(lengths, &qkv.device());
            flat(ops::attention(qkv, &Rows::Packed(rows), heads, 0.5))
        }
    };
    let (high, high_gradients) = run(&inputs, &device, &operation(false));
    let (low, low_gradients) = run(&inputs, &device, &operation(true));
    assert!(largest_difference(&high, &low) < 0.02);
    assert!(largest_difference(&high_gradients[0], &low_gradients[0]) < 0.05);
    let (other, _) = run(&inputs, &device, &|x: &Flat| {
        device.seed(6);
        operation(false)(x)
    });
    assert!(
        largest_difference(&high, &other) > 0.1,
        "another seed drops others"
    );
}

#[test]
fn dropout_drops_its_share_and_scales_the_rest() {
    let _generator = device::hold_generator();
    devices().iter().for_each(check_dropout);
}

fn check_dropout(device: &Device) {
    let count = 200_000;
    let ones = [vec![1.0; count]];
    for probability in [0.1, 0.5] {
        let operation = move |x: &Flat| ops::dropout(x[0].clone(), probability);
        let (output, gradients) = run(&ones, device, &operation);
        let kept = 1.0 / (1.0 - probability as f32);
        assert!(
            output
                .iter()
                .all(|&value| value == 0.0 || (value - kept).abs() < 1e-6)
        );
        let dropped = output.iter().filter(|value| **value == 0.0).count() as f64;
        let deviation = (count as f64 * probability * (1.0 - probability)).sqrt();
        let expected = count as f64 * probability;
        assert!(
            (dropped - expected).abs() < 5.0 * deviation,
            "{dropped} of {count}, not {expected}"
        );
        // Neighbours are dropped independently.
        let pairs = output.windows(2).filter(|pair| pair == &[0.0, 0.0]).count() as f64;
        let expected = count as f64 * probability * probability;
        assert!(
            (pairs - expected).abs() < 6.0 * expected.sqrt(),
            "{pairs} pairs, not {expected}"
        );
        let weighted = numbers(count, 99)
            .iter()
            .zip(&output)
            .map(|(a, b)| a * b)
            .collect::<Vec<_>>();
        assert!(
            largest_difference(&gradients[0], &weighted) < 1e-6,
            "the gradient goes through the same mask"
        );

        assert_eq!(
            run(&ones, device, &operation).0,
            output,
            "the same seed drops the same"
        );
        let twice = move |x: &Flat| {
            let _ = ops::dropout(x[0].clone(), probability);
            ops::dropout(x[0].clone(), probability)
        };
        assert_ne!(
            run(&ones, device, &twice).0,
            output,
            "the next dropout drops others"
        );
    }
}

#[test]
fn nothing_is_dropped_without_gradients() {
    for device in devices() {
        let x = Tensor::<1>::from_data(TensorData::new(numbers(50, 1), [50]), &device);
        assert_eq!(values(ops::dropout(x.clone(), 0.5)), values(x));
    }
}
