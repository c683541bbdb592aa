//! The functions of `cpp/kernels.cpp` and `cpp/operators.cpp`, on tch's tensors: all of the project's
//! calls into C++.

#![expect(
    unsafe_code,
    reason = "calls into C++; every function checks its arguments and reports failures as messages"
)]

use std::ffi::{CStr, CString, c_char, c_int};

use tch::Tensor;

use crate::optimizer::{AdamWStep, BETA_1, BETA_2, EPSILON};

/// An `at::Tensor` of C++, behind a pointer only.
#[repr(C)]
struct CTensor {
    _opaque: [u8; 0],
}

unsafe extern "C" {
    fn spanwise_free(message: *const c_char);
    fn spanwise_random_seed() -> i64;
    fn spanwise_linear(
        x: *const CTensor,
        weight: *const CTensor,
        bias: *const CTensor,
        gelu: c_int,
        outputs: *mut *mut CTensor,
    ) -> *const c_char;
    fn spanwise_linear_backward(
        gradient: *const CTensor,
        x: *const CTensor,
        weight: *const CTensor,
        outputs: *mut *mut CTensor,
    ) -> *const c_char;
    fn spanwise_layer_norm(
        x: *const CTensor,
        residual: *const CTensor,
        gamma: *const CTensor,
        beta: *const CTensor,
        epsilon: f64,
        probability: f64,
        seed: i64,
        outputs: *mut *mut CTensor,
    ) -> *const c_char;
    fn spanwise_layer_norm_backward(
        gradient: *const CTensor,
        sum: *const CTensor,
        statistics: *const CTensor,
        gamma: *const CTensor,
        bfloat16: c_int,
        has_residual: c_int,
        probability: f64,
        seed: i64,
        outputs: *mut *mut CTensor,
    ) -> *const c_char;
    fn spanwise_dropout(
        x: *const CTensor,
        probability: f64,
        seed: i64,
        outputs: *mut *mut CTensor,
    ) -> *const c_char;
    fn spanwise_attention(
        qkv: *const CTensor,
        offsets: *const CTensor,
        heads: i64,
        probability: f64,
        seed: i64,
        outputs: *mut *mut CTensor,
    ) -> *const c_char;
    fn spanwise_attention_backward(
        gradient: *const CTensor,
        qkv: *const CTensor,
        offsets: *const CTensor,
        out: *const CTensor,
        statistics: *const CTensor,
        heads: i64,
        probability: f64,
        seed: i64,
        outputs: *mut *mut CTensor,
    ) -> *const c_char;
    fn spanwise_global_norm(
        tensors: *const *const CTensor,
        count: i64,
        outputs: *mut *mut CTensor,
    ) -> *const c_char;
    fn spanwise_adamw(
        parameters: *const *const CTensor,
        gradients: *const *const CTensor,
        first_moments: *const *const CTensor,
        second_moments: *const *const CTensor,
        count: i64,
        learning_rate: f64,
        beta_1: f64,
        beta_2: f64,
        weight_decay: f64,
        epsilon: f64,
        number: *const CTensor,
        divisor: *const CTensor,
        skipped: *const CTensor,
    ) -> *const c_char;
    fn spanwise_native_layer_norm_backward(
        gradient: *const CTensor,
        sum: *const CTensor,
        mean: *const CTensor,
        deviation: *const CTensor,
        gamma: *const CTensor,
        outputs: *mut *mut CTensor,
    ) -> *const c_char;
    fn spanwise_native_attention(
        qkv: *const CTensor,
        offsets: *const CTensor,
        longest: i64,
        heads: i64,
        probability: f64,
        flash: c_int,
        outputs: *mut *mut CTensor,
    ) -> *const c_char;
    fn spanwise_native_attention_backward(
        gradient: *const CTensor,
        qkv: *const CTensor,
        out: *const CTensor,
        logarithms: *const CTensor,
        seed: *const CTensor,
        offset: *const CTensor,
        offsets: *const CTensor,
        longest: i64,
        heads: i64,
        probability: f64,
        flash: c_int,
        outputs: *mut *mut CTensor,
    ) -> *const c_char;
    fn spanwise_recorded_backward(
        result: *const CTensor,
        input: *const CTensor,
        gradient: *const CTensor,
        outputs: *mut *mut CTensor,
    ) -> *const c_char;
    fn spanwise_compute_capability(index: c_int) -> c_int;
    fn spanwise_peak_memory(index: i64) -> i64;
    fn spanwise_allow_tf32();
    fn spanwise_trace_start(cuda: c_int) -> *const c_char;
    fn spanwise_trace_stop(path: *const c_char) -> *const c_char;
}

/// One dropout: the same elements in the forward and the backward pass.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dropout {
    /// Share of elements that are zeroed.
    pub(super) probability: f64,
    /// Determines which ones.
    pub(super) seed: i64,
}

impl Dropout {
    /// Zeroes nothing.
    pub(super) const NONE: Self = Self {
        probability: 0.0,
        seed: 0,
    };

    /// Samples a seed from libtorch's generator, which `Device::seed` sets.
    pub(super) fn sample(probability: f64) -> Self {
        if probability == 0.0 {
            return Self::NONE;
        }
        // SAFETY: takes no pointers; the generator has a lock of its own.
        let seed = unsafe { spanwise_random_seed() };
        Self { probability, seed }
    }
}

fn pointer(tensor: &Tensor) -> *const CTensor {
    tensor.as_ptr().cast()
}

fn pointers(tensors: &[Tensor]) -> Vec<*const CTensor> {
    tensors.iter().map(pointer).collect()
}

/// Runs a call that fills `N` outputs; those that it leaves null are `None`.
fn call<const N: usize>(
    run: impl FnOnce(*mut *mut CTensor) -> *const c_char,
) -> [Option<Tensor>; N] {
    let mut outputs = [std::ptr::null_mut::<CTensor>(); N];
    let message = run(outputs.as_mut_ptr());
    if !message.is_null() {
        // SAFETY: a message is a string that C++ allocated for us to free.
        let text = unsafe {
            let text = CStr::from_ptr(message).to_string_lossy().into_owned();
            spanwise_free(message);
            text
        };
        // Like any other tensor operation given shapes that do not fit.
        panic!("libtorch: {text}");
    }
    // SAFETY: the call succeeded, so each output is null or a tensor from `new` for us to own.
    outputs.map(|output| (!output.is_null()).then(|| unsafe { Tensor::from_ptr(output.cast()) }))
}

fn all<const N: usize>(outputs: [Option<Tensor>; N]) -> [Tensor; N] {
    outputs.map(|output| output.expect("the kernel fills every output"))
}

/// `x · weight + bias`, or its GELU. x: `[rows, inputs]`, weight: `[inputs, outputs]`.
pub(super) fn linear(x: &Tensor, weight: &Tensor, bias: &Tensor, gelu: bool) -> Tensor {
    let [x, weight, bias] = [x, weight, bias].map(pointer);
    // SAFETY: every pointer is that of a tensor that is borrowed for the call.
    let [out] = all(call(|outputs| unsafe {
        spanwise_linear(x, weight, bias, gelu.into(), outputs)
    }));
    out
}

/// Gradients of x, weight and bias; the bias's in f32.
pub(super) fn linear_backward(gradient: &Tensor, x: &Tensor, weight: &Tensor) -> [Tensor; 3] {
    let [gradient, x, weight] = [gradient, x, weight].map(pointer);
    // SAFETY: every pointer is that of a tensor that is borrowed for the call.
    all(call(|outputs| unsafe {
        spanwise_linear_backward(gradient, x, weight, outputs)
    }))
}

/// Layer norm of `sum = residual + dropout(x)`. Returns the result, the sum, and mean and inverse
/// deviation of every row.
pub(super) fn layer_norm(
    x: &Tensor,
    residual: Option<&Tensor>,
    gamma: &Tensor,
    beta: &Tensor,
    epsilon: f64,
    dropout: Dropout,
) -> [Tensor; 3] {
    let residual = residual.map_or(std::ptr::null(), pointer);
    let Dropout { probability, seed } = dropout;
    let [x, gamma, beta] = [x, gamma, beta].map(pointer);
    // SAFETY: every pointer is null or that of a tensor that is borrowed for the call.
    all(call(|outputs| unsafe {
        spanwise_layer_norm(
            x,
            residual,
            gamma,
            beta,
            epsilon,
            probability,
            seed,
            outputs,
        )
    }))
}

/// Gradients of x, residual, gamma and beta.
pub(super) fn layer_norm_backward(
    gradient: &Tensor,
    sum: &Tensor,
    statistics: &Tensor,
    gamma: &Tensor,
    bfloat16: bool,
    has_residual: bool,
    dropout: Dropout,
) -> [Option<Tensor>; 4] {
    let Dropout { probability, seed } = dropout;
    let [gradient, sum, statistics, gamma] = [gradient, sum, statistics, gamma].map(pointer);
    // SAFETY: every pointer is that of a tensor that is borrowed for the call.
    call(|outputs| unsafe {
        spanwise_layer_norm_backward(
            gradient,
            sum,
            statistics,
            gamma,
            bfloat16.into(),
            has_residual.into(),
            probability,
            seed,
            outputs,
        )
    })
}

/// `x` with dropout. Given the result's gradient as `x`, the gradient of the input.
pub(super) fn dropout(x: &Tensor, dropout: Dropout) -> Tensor {
    let Dropout { probability, seed } = dropout;
    let x = pointer(x);
    // SAFETY: the pointer is that of a tensor that is borrowed for the call.
    let [out] = all(call(|outputs| unsafe {
        spanwise_dropout(x, probability, seed, outputs)
    }));
    out
}

/// Attended values, and per softmax its largest score and its denominator's inverse for the
/// backward pass. qkv: `[tokens, 3 · hidden]`; offsets: where rows begin and end, i32.
pub(super) fn attention(
    qkv: &Tensor,
    offsets: &Tensor,
    heads: usize,
    dropout: Dropout,
) -> [Tensor; 2] {
    let Dropout { probability, seed } = dropout;
    let [qkv, offsets] = [qkv, offsets].map(pointer);
    // SAFETY: every pointer is that of a tensor that is borrowed for the call.
    all(call(|outputs| unsafe {
        spanwise_attention(qkv, offsets, heads as i64, probability, seed, outputs)
    }))
}

/// The gradient of qkv.
pub(super) fn attention_backward(
    gradient: &Tensor,
    [qkv, offsets]: [&Tensor; 2],
    [out, statistics]: [&Tensor; 2],
    heads: usize,
    dropout: Dropout,
) -> Tensor {
    let Dropout { probability, seed } = dropout;
    let [gradient, qkv, offsets, out, statistics] =
        [gradient, qkv, offsets, out, statistics].map(pointer);
    // SAFETY: every pointer is that of a tensor that is borrowed for the call.
    let [d_qkv] = all(call(|outputs| unsafe {
        spanwise_attention_backward(
            gradient,
            qkv,
            offsets,
            out,
            statistics,
            heads as i64,
            probability,
            seed,
            outputs,
        )
    }));
    d_qkv
}

/// The L2 norm of all tensors together, one element.
pub(super) fn global_norm(tensors: &[Tensor]) -> Tensor {
    let pointers = pointers(tensors);
    // SAFETY: the pointers are those of tensors that are borrowed for the call.
    let [norm] = all(call(|outputs| unsafe {
        spanwise_global_norm(pointers.as_ptr(), pointers.len() as i64, outputs)
    }));
    norm
}

/// One step of AdamW on all parameters, in place. `tensors`, one element each: which step this is,
/// counted from 1; what gradients are divided by first; 1 to leave everything as it is, else 0.
pub(super) fn adamw(
    parameters: &[Tensor],
    gradients: &[Tensor],
    moments: [&[Tensor]; 2],
    step: AdamWStep,
    tensors: &[Tensor; 3],
) {
    let lists = [parameters, gradients, moments[0], moments[1]].map(pointers);
    assert!(lists.iter().all(|list| list.len() == parameters.len()));
    let [parameters, gradients, first, second] = &lists;
    let [number, divisor, skipped] = tensors.each_ref().map(pointer);
    // SAFETY: the lists are equally long and hold tensors that are borrowed for the call.
    let [] = call(|_| unsafe {
        spanwise_adamw(
            parameters.as_ptr(),
            gradients.as_ptr(),
            first.as_ptr(),
            second.as_ptr(),
            parameters.len() as i64,
            step.learning_rate,
            BETA_1,
            BETA_2,
            step.weight_decay,
            EPSILON,
            number,
            divisor,
            skipped,
        )
    });
}

/// Gradients of what was normalised, gamma and beta, through libtorch's own operator.
pub(super) fn native_layer_norm_backward(
    gradient: &Tensor,
    sum: &Tensor,
    mean: &Tensor,
    deviation: &Tensor,
    gamma: &Tensor,
) -> [Tensor; 3] {
    let [gradient, sum, mean, deviation, gamma] =
        [gradient, sum, mean, deviation, gamma].map(pointer);
    // SAFETY: every pointer is that of a tensor that is borrowed for the call.
    all(call(|outputs| unsafe {
        spanwise_native_layer_norm_backward(gradient, sum, mean, deviation, gamma, outputs)
    }))
}

/// What libtorch's own attention is given, on a GPU.
#[derive(Debug, Clone, Copy)]
pub(super) struct AttentionArguments<'a> {
    /// Where rows begin and end, i32.
    pub(super) offsets: &'a Tensor,
    /// Tokens of the longest row.
    pub(super) longest: usize,
    /// Number of heads.
    pub(super) heads: usize,
    /// Of dropout.
    pub(super) probability: f64,
    /// Whether flash attention computes, else memory-efficient attention.
    pub(super) flash: bool,
}

/// Attended values, and three tensors for the backward pass. qkv: `[tokens, 3 · hidden]`.
pub(super) fn native_attention(qkv: &Tensor, arguments: AttentionArguments) -> [Tensor; 4] {
    let [qkv, offsets] = [qkv, arguments.offsets].map(pointer);
    // SAFETY: every pointer is that of a tensor that is borrowed for the call.
    all(call(|outputs| unsafe {
        spanwise_native_attention(
            qkv,
            offsets,
            arguments.longest as i64,
            arguments.heads as i64,
            arguments.probability,
            arguments.flash.into(),
            outputs,
        )
    }))
}

/// The gradient of qkv, given the outputs of the forward pass.
pub(super) fn native_attention_backward(
    gradient: &Tensor,
    qkv: &Tensor,
    outputs: [&Tensor; 4],
    arguments: AttentionArguments,
) -> Tensor {
    let [gradient, qkv, offsets] = [gradient, qkv, arguments.offsets].map(pointer);
    let [out, logarithms, seed, offset] = outputs.map(pointer);
    // SAFETY: every pointer is that of a tensor that is borrowed for the call.
    let [d_qkv] = all(call(|outputs| unsafe {
        spanwise_native_attention_backward(
            gradient,
            qkv,
            out,
            logarithms,
            seed,
            offset,
            offsets,
            arguments.longest as i64,
            arguments.heads as i64,
            arguments.probability,
            arguments.flash.into(),
            outputs,
        )
    }));
    d_qkv
}

/// The gradient of `input`, given that of `result`, which libtorch has recorded.
pub(super) fn recorded_backward(result: &Tensor, input: &Tensor, gradient: &Tensor) -> Tensor {
    let [result, input, gradient] = [result, input, gradient].map(pointer);
    // SAFETY: every pointer is that of a tensor that is borrowed for the call.
    let [d_input] = all(call(|outputs| unsafe {
        spanwise_recorded_backward(result, input, gradient, outputs)
    }));
    d_input
}

/// The compute capability of a GPU, major and minor; `None` where the driver cannot be asked.
pub(super) fn compute_capability(index: usize) -> Option<(u32, u32)> {
    // SAFETY: takes no pointers.
    let capability = unsafe { spanwise_compute_capability(c_int::try_from(index).ok()?) };
    let capability = u32::try_from(capability).ok().filter(|&found| found > 0)?;
    Some((capability / 10, capability % 10))
}

/// The largest number of bytes that were in tensors of a GPU at once since the last call.
pub(super) fn peak_memory(index: usize) -> u64 {
    // SAFETY: reads and resets counters under the allocator's own lock.
    let bytes = unsafe { spanwise_peak_memory(index as i64) };
    bytes.max(0) as u64
}

/// Lets GPUs compute products of f32 in TF32.
pub(super) fn allow_tf32() {
    // SAFETY: takes no pointers and sets a flag.
    unsafe { spanwise_allow_tf32() }
}

/// Records operators, and kernels of a GPU, up to [`trace_stop`].
pub(super) fn trace_start(cuda: bool) {
    // SAFETY: takes no pointers.
    let [] = call(|_| unsafe { spanwise_trace_start(cuda.into()) });
}

/// Writes what was recorded to a file, as a Chrome trace.
pub(super) fn trace_stop(path: &CString) {
    // SAFETY: the string is borrowed for the call.
    let [] = call(|_| unsafe { spanwise_trace_stop(path.as_ptr()) });
}
