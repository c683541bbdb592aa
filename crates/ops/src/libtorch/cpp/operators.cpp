// What libtorch computes, and does not expose to its Rust bindings, on any device. Each function
// returns nullptr, or a message that the caller frees.

#include "guarded.h"

#include <ATen/ATen.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/profiler_kineto.h>

#include <set>

#if defined(__linux__)
#include <dlfcn.h>
#endif

using at::Tensor;

using namespace spanwise;

namespace {

// The kind of mask that _efficient_attention_forward knows as none.
constexpr int64_t NO_MASK = 0;

// Queries, keys and values, each [tokens, heads, size], of [tokens, 3 · hidden].
std::vector<Tensor> parts_of(const Tensor& qkv, int64_t heads) {
  return qkv.view({qkv.size(0), 3, heads, qkv.size(1) / 3 / heads}).unbind(1);
}

}  // namespace

extern "C" {

// Gradients of the normalised sum, gamma and beta. mean and deviation: those that
// at::native_layer_norm has returned beside its result.
const char* spanwise_native_layer_norm_backward(const Tensor* gradient, const Tensor* sum, const Tensor* mean,
                                                const Tensor* deviation, const Tensor* gamma, Tensor** outputs) {
  return guarded([&] {
    // beta's values do not matter, only that there is one.
    auto [d_sum, d_gamma, d_beta] = at::native_layer_norm_backward(
        *gradient, *sum, {sum->size(-1)}, *mean, *deviation, *gamma, *gamma, {true, true, true});
    outputs[0] = new Tensor(d_sum);
    outputs[1] = new Tensor(d_gamma);
    outputs[2] = new Tensor(d_beta);
  });
}

// Attention within every row of a packed batch, on a GPU. qkv: [tokens, 3 · hidden]; offsets: index of
// every row's first token, and the number of tokens, [rows + 1], int32. Outputs: the attended values,
// [tokens, hidden], then what the backward pass reads: the logarithms of the softmaxes'
// denominators, and two tensors of the random numbers' state. flash: through flash attention, which
// takes 16-bit formats, else through memory-efficient attention.
const char* spanwise_native_attention(const Tensor* qkv, const Tensor* offsets, int64_t longest, int64_t heads,
                                      double probability, int flash, Tensor** outputs) {
  return guarded([&] {
    const auto parts = parts_of(*qkv, heads);
    const std::vector<int64_t> shape{qkv->size(0), qkv->size(1) / 3};
    Tensor out, logarithms, seed, offset;
    if (flash) {
      std::tie(out, logarithms, seed, offset, std::ignore) = at::_flash_attention_forward(
          parts[0], parts[1], parts[2], *offsets, *offsets, longest, longest, probability, false, false);
    } else {
      std::tie(out, logarithms, seed, offset, std::ignore, std::ignore) = at::_efficient_attention_forward(
          parts[0].unsqueeze(0), parts[1].unsqueeze(0), parts[2].unsqueeze(0), std::nullopt, *offsets, *offsets,
          longest, longest, probability, NO_MASK, true);
    }
    outputs[0] = new Tensor(out.reshape(shape));
    outputs[1] = new Tensor(logarithms);
    outputs[2] = new Tensor(seed);
    outputs[3] = new Tensor(offset);
  });
}

// The gradient of qkv. out, logarithms, seed and offset: those of the forward pass.
const char* spanwise_native_attention_backward(const Tensor* gradient, const Tensor* qkv, const Tensor* out,
                                               const Tensor* logarithms, const Tensor* seed, const Tensor* offset,
                                               const Tensor* offsets, int64_t longest, int64_t heads,
                                               double probability, int flash, Tensor** outputs) {
  return guarded([&] {
    const auto parts = parts_of(*qkv, heads);
    const Tensor incoming = gradient->reshape(parts[0].sizes()), attended = out->reshape(parts[0].sizes());
    Tensor d_queries, d_keys, d_values;
    if (flash) {
      std::tie(d_queries, d_keys, d_values) =
          at::_flash_attention_backward(incoming, parts[0], parts[1], parts[2], attended, *logarithms, *offsets,
                                        *offsets, longest, longest, probability, false, *seed, *offset);
    } else {
      std::tie(d_queries, d_keys, d_values, std::ignore) = at::_efficient_attention_backward(
          incoming.unsqueeze(0), parts[0].unsqueeze(0), parts[1].unsqueeze(0), parts[2].unsqueeze(0), std::nullopt,
          attended.unsqueeze(0), *offsets, *offsets, longest, longest, *logarithms, probability, *seed, *offset,
          NO_MASK, false);
    }
    const std::vector<int64_t> shape{qkv->size(0), 1, heads, qkv->size(1) / 3 / heads};
    outputs[0] = new Tensor(
        at::cat({d_queries.reshape(shape), d_keys.reshape(shape), d_values.reshape(shape)}, 1).view(qkv->sizes()));
  });
}

// The gradient of `input`, given that of `result`, from what libtorch has recorded between them.
const char* spanwise_recorded_backward(const Tensor* result, const Tensor* input, const Tensor* gradient,
                                       Tensor** outputs) {
  return guarded([&] {
    outputs[0] = new Tensor(torch::autograd::grad({*result}, {*input}, {*gradient})[0]);
  });
}

// Ten times the compute capability of a GPU, such as 75 for 7.5, or 0 where the driver cannot be
// asked. libtorch's own way to ask needs CUDA's headers.
int spanwise_compute_capability(int index) {
#if defined(__linux__)
  void* driver = dlopen("libcuda.so.1", RTLD_NOW);
  if (!driver) return 0;
  const auto initialise = reinterpret_cast<int (*)(unsigned)>(dlsym(driver, "cuInit"));
  const auto get = reinterpret_cast<int (*)(int*, int)>(dlsym(driver, "cuDeviceGet"));
  const auto attribute = reinterpret_cast<int (*)(int*, int, int)>(dlsym(driver, "cuDeviceGetAttribute"));
  constexpr int major_attribute = 75, minor_attribute = 76;  // of CUdevice_attribute
  int device = 0, major = 0, minor = 0;
  if (!initialise || !get || !attribute || initialise(0) || get(&device, index)) return 0;
  if (attribute(&major, major_attribute, device) || attribute(&minor, minor_attribute, device)) return 0;
  return 10 * major + minor;
#else
  return 0;
#endif
}

// The largest number of bytes that were in tensors of a GPU at once since the last call.
int64_t spanwise_peak_memory(int64_t index) {
  auto* allocator = dynamic_cast<c10::DeviceAllocator*>(c10::GetAllocator(c10::DeviceType::CUDA));
  if (!allocator || !allocator->initialized()) return 0;
  const auto device = static_cast<c10::DeviceIndex>(index);
  const auto peak = allocator->getDeviceStats(device).allocated_bytes[0].peak;
  allocator->resetPeakStats(device);
  return peak;
}

// Lets GPUs compute products of f32 in TF32.
void spanwise_allow_tf32() { at::globalContext().setAllowTF32CuBLAS(true); }

// Records every operator, and every kernel of a GPU, up to spanwise_trace_stop.
const char* spanwise_trace_start(int cuda) {
  return guarded([&] {
    using namespace torch::profiler::impl;
    const ProfilerConfig config(ProfilerState::KINETO);
    std::set<ActivityType> activities{ActivityType::CPU};
    if (cuda) activities.insert(ActivityType::CUDA);
    torch::autograd::profiler::prepareProfiler(config, activities);
    torch::autograd::profiler::enableProfiler(config, activities, {at::RecordScope::FUNCTION});
  });
}

// Writes what was recorded to a file, as a Chrome trace.
const char* spanwise_trace_stop(const char* path) {
  return guarded([&] { torch::autograd::profiler::disableProfiler()->save(path); });
}

}  // extern "C"
