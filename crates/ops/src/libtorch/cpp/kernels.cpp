// Kernels that libtorch lacks, or has without exposing them to its Rust bindings. Each function
// returns nullptr, or a message that the caller frees. CPU tensors only, unless a function's
// comment says otherwise.

#include "guarded.h"
#include "rows.h"
#include "tiled_attention.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <mutex>
#include <optional>
#include <vector>

using at::Tensor;

// oneDNN's products, which libtorch itself uses for bfloat16 and Intel's MKL for f32. MKL is made
// for Intel's processors; on others oneDNN has been measured at more than twice its speed. No
// header declares these.
#if defined(__linux__)
#define HAS_ONEDNN 1
namespace at::native {
Tensor mkldnn_linear_pointwise(const Tensor& input, const Tensor& weight, const std::optional<Tensor>& bias,
                               std::string_view activation, c10::List<std::optional<at::Scalar>> scalars,
                               std::optional<std::string_view> algorithm);
void mkldnn_matmul(const Tensor& a, const Tensor& b, const Tensor& result, float beta, float alpha);
}  // namespace at::native
#else
#define HAS_ONEDNN 0
#endif

// Set where tiled_attention.cpp is compiled as well.
#ifndef HAS_TILED_ATTENTION
#define HAS_TILED_ATTENTION 0
#endif

using namespace spanwise;

namespace {

// While it lives, denormal numbers (below 1.2e-38) are zero to this thread and to the pool of
// threads that computes for it. They change no result that anyone could measure, but some processors
// take over a hundred times as long for each, and some batches make gradients full of them.
class FlushDenormals {
 public:
  FlushDenormals() {
    // Every time: the pool may have other threads than before. They run libtorch alone and stay so;
    // this thread runs Rust, too, which counts on the processor's default.
    at::parallel_for(0, at::get_num_threads(), 1, [](int64_t, int64_t) { at::Context::setFlushDenormal(true); });
    at::Context::setFlushDenormal(true);
  }
  ~FlushDenormals() { at::Context::setFlushDenormal(false); }
  FlushDenormals(const FlushDenormals&) = delete;
  FlushDenormals& operator=(const FlushDenormals&) = delete;
};

// Runs body, which computes on the CPU if `on_cpu`.
template <typename Body>
const char* computed(Body body, bool on_cpu = true) {
  return guarded([&] {
    std::optional<FlushDenormals> flush_denormals;
    if (on_cpu) flush_denormals.emplace();
    body();
  });
}

template <typename T>
T* data(const Tensor& tensor) {
  return static_cast<T*>(tensor.data_ptr());
}

// Calls body with a null pointer of the C++ type that holds elements of `tensor`.
template <typename Body>
void by_type(const Tensor& tensor, Body body) {
  if (tensor.scalar_type() == at::kFloat) {
    body(static_cast<float*>(nullptr));
  } else if (tensor.scalar_type() == at::kBFloat16) {
    body(static_cast<uint16_t*>(nullptr));
  } else {
    TORCH_CHECK(false, "expected float or bfloat16, found ", tensor.scalar_type());
  }
}

Dropout dropout_of(int64_t seed, double probability) {
  const auto bits = static_cast<uint64_t>(seed);
  return {static_cast<uint32_t>(bits), static_cast<uint32_t>(bits >> 32),
          static_cast<uint32_t>(std::min(probability * 4294967296.0, 4294967295.0)),
          static_cast<float>(1.0 / (1.0 - probability))};
}

// The sum of all rows of a matrix, in f32.
Tensor sum_of_rows(const Tensor& matrix) {
  const Tensor in = matrix.contiguous();
  const int64_t rows = in.size(0), width = in.size(1);
  Tensor partial = at::zeros({at::get_num_threads(), width}, in.options().dtype(at::kFloat));
  by_type(in, [&](auto* type) {
    using T = std::remove_pointer_t<decltype(type)>;
    at::parallel_for(0, rows, 64, [&](int64_t begin, int64_t end) {
      float* sums = data<float>(partial) + at::get_thread_num() * width;
      for (int64_t row = begin; row < end; row++) add_row(data<T>(in) + row * width, sums, width);
    });
  });
  return partial.sum(0);
}

// ---- Matrix products ----------------------------------------------------------------------------

#if HAS_ONEDNN
void onednn_multiply(const Tensor& a, const Tensor& b, Tensor& out) {
  at::native::mkldnn_matmul(a, b, out, 0.0f, 1.0f);
}

Tensor onednn_affine(const Tensor& x, const Tensor& weight, const Tensor& bias, bool gelu) {
  const c10::List<std::optional<at::Scalar>> none;
  return at::native::mkldnn_linear_pointwise(x, weight.t(), bias, gelu ? "gelu" : "none", none, "none");
}

// Which of the two functions above work here, in f32 and in bfloat16. On processors without
// bfloat16 instructions libtorch refuses mkldnn_matmul in both types, and oneDNN refuses bfloat16;
// the conditions change from version to version, so both are probed once.
struct OneDnn {
  bool multiplies[2], adds_bias[2];

  static const OneDnn& get() {
    static const OneDnn found = [] {
      OneDnn found{};
      for (const bool bfloat16 : {false, true}) {
        Tensor square = at::ones({2, 2}, bfloat16 ? at::kBFloat16 : at::kFloat), out = at::empty_like(square);
        found.multiplies[bfloat16] = works([&] { onednn_multiply(square, square, out); });
        found.adds_bias[bfloat16] = works([&] { onednn_affine(square, square, square[0], false); });
      }
      return found;
    }();
    return found;
  }

  template <typename Body>
  static bool works(Body body) {
    if (!at::globalContext().userEnabledMkldnn()) return false;
    try {
      body();
      return true;
    } catch (const std::exception&) {
      return false;
    }
  }
};
#endif

bool is_bfloat16(const Tensor& tensor) { return tensor.scalar_type() == at::kBFloat16; }

// out = a · b, for matrices or batches of them. oneDNN reads contiguous and transposed ones in
// place and copies any others first.
void multiply(const Tensor& a, const Tensor& b, Tensor& out) {
#if HAS_ONEDNN
  if (out.numel() > 0 && OneDnn::get().multiplies[is_bfloat16(out)]) return onednn_multiply(a, b, out);
#endif
  at::matmul_out(out, a, b);
}

// x · weight + bias with x [rows, inputs] and weight [inputs, outputs], or its GELU.
Tensor affine(const Tensor& x, const Tensor& weight, const Tensor& bias, bool gelu) {
#if HAS_ONEDNN
  if (x.numel() > 0 && OneDnn::get().adds_bias[is_bfloat16(x)]) return onednn_affine(x, weight, bias, gelu);
#endif
  const Tensor out = at::addmm(bias, x, weight);
  return gelu ? at::gelu(out) : out;
}

// ---- Attention ----------------------------------------------------------------------------------

// The rows of a packed batch, one after the other without padding: row r has the tokens from
// first[r] up to first[r + 1].
struct Rows {
  std::vector<int64_t> first;
  std::vector<uint32_t> first_weight;  // of its attention weights among those of all rows and heads
  int64_t longest = 0;

  // offsets: [rows + 1], int32.
  Rows(const Tensor& offsets, int64_t heads) : first_weight{0} {
    TORCH_CHECK(offsets.scalar_type() == at::kInt && offsets.numel() > 0, "expected offsets of rows as int32");
    const auto* from = data<int32_t>(offsets);
    first.assign(from, from + offsets.numel());
    for (int64_t row = 0; row < count(); row++) {
      longest = std::max(longest, tokens(row));
      first_weight.push_back(first_weight.back() + static_cast<uint32_t>(tokens(row) * tokens(row) * heads));
    }
  }

  int64_t count() const { return static_cast<int64_t>(first.size()) - 1; }
  int64_t tokens(int64_t row) const { return first[row + 1] - first[row]; }

  // Index of the first query of a row and head among those of all rows and heads.
  int64_t query(int64_t row, int64_t head, int64_t heads) const { return first[row] * heads + head * tokens(row); }

  // Index of the first weight of a row and head.
  uint32_t weight(int64_t row, int64_t head) const {
    return first_weight[row] + static_cast<uint32_t>(head * tokens(row) * tokens(row));
  }
};

// A few heads of one row: few enough that their scores stay in the cache, multiplied in one call.
struct Heads {
  int64_t row, first, count;
};

// About the size of a core's own cache.
constexpr int64_t CACHED_BYTES = 1 << 20;

// Calls body for every group of heads, on all threads.
template <typename Body>
void for_heads(const Tensor& qkv, const Rows& rows, int64_t heads, Body body) {
  const int64_t bytes = std::max<int64_t>(rows.longest * rows.longest * qkv.element_size(), 1);
  const int64_t together = std::clamp<int64_t>(CACHED_BYTES / bytes, 1, heads);
  const int64_t groups = (heads + together - 1) / together;
  at::parallel_for(0, rows.count() * groups, 1, [&](int64_t begin, int64_t end) {
    c10::NoGradGuard no_grad;
    for (int64_t index = begin; index < end; index++) {
      const int64_t first = index % groups * together;
      body(Heads{index / groups, first, std::min(together, heads - first)});
    }
  });
}

// Index of the first value of a token and head in part `part` of [tokens, parts · hidden].
struct Offset {
  int64_t width, size, start;

  Offset(const Tensor& x, int64_t parts, int64_t part, int64_t heads)
      : width(x.size(1)), size(width / parts / heads), start(part * (width / parts)) {}

  int64_t operator()(int64_t token, int64_t head) const { return token * width + start + head * size; }
};

// Copies one head's values. A loop, since for so few a call of memcpy takes longer than the
// copying.
template <typename T>
INLINE void copy(const T* from, T* to, int64_t size) {
#pragma omp simd
  for (int64_t i = 0; i < size; i++) to[i] = from[i];
}

// Copies part `part` of those heads out of x: [heads, tokens, size].
template <typename T>
Tensor gather(const Tensor& x, const Rows& rows, const Heads& heads, int64_t all, int64_t parts, int64_t part) {
  const Offset offset(x, parts, part, all);
  Tensor out = at::empty({heads.count, rows.tokens(heads.row), offset.size}, x.options());
  const T* from = data<T>(x);
  T* to = data<T>(out);
  for (int64_t head = heads.first; head < heads.first + heads.count; head++) {
    for (int64_t token = rows.first[heads.row]; token < rows.first[heads.row + 1]; token++, to += offset.size) {
      copy(from + offset(token, head), to, offset.size);
    }
  }
  return out;
}

// The inverse of `gather`: copies values into part `part` of those heads in x.
template <typename T>
void scatter(const Tensor& values, Tensor& x, const Rows& rows, const Heads& heads, int64_t all, int64_t parts,
             int64_t part) {
  const Offset offset(x, parts, part, all);
  const T* from = data<T>(values);
  T* to = data<T>(x);
  for (int64_t head = heads.first; head < heads.first + heads.count; head++) {
    for (int64_t token = rows.first[heads.row]; token < rows.first[heads.row + 1]; token++, from += offset.size) {
      copy(from, to + offset(token, head), offset.size);
    }
  }
}

// Attention in tiles, if this processor has the instructions for it and the heads' size divides
// into tiles; else null.
template <typename T>
const Tiles<T>* tiles_for(const Tensor& qkv, int64_t heads) {
  const Tiles<T>* tiles = nullptr;
#if HAS_TILED_ATTENTION
  const bool has_avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                          __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
  if constexpr (std::is_same_v<T, float>) {
    if (has_avx512) {
      tiles = &avx512_tiles;
    } else if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
      tiles = &avx2_tiles;
    }
  } else if (has_avx512 && __builtin_cpu_supports("avx512bf16") && !__builtin_cpu_supports("amx-bf16")) {
    // With AMX, oneDNN's products run on a faster unit.
    tiles = &avx512_bfloat16_tiles;
  }
#endif
  return tiles && qkv.size(1) / 3 / heads % tiles->divisor == 0 ? tiles : nullptr;
}

// Calls body for every head of every row, on all threads, with scratch memory.
template <typename T, typename Body>
void for_tiled_heads(const Tiles<T>& tiles, const Tensor& qkv, const Rows& rows, const Tensor& statistics,
                     int64_t heads, const Dropout& dropout, Body body) {
  const Offset queries(qkv, 3, 0, heads), keys(qkv, 3, 1, heads), values(qkv, 3, 2, heads);
  at::parallel_for(0, rows.count() * heads, 1, [&](int64_t begin, int64_t end) {
    const Tensor scratch = at::empty({tiles.scratch(rows.longest, queries.size)}, at::kByte);
    for (int64_t index = begin; index < end; index++) {
      const int64_t row = index / heads, head = index % heads, token = rows.first[row];
      Head<T> one{rows.tokens(row), queries.size, queries.width, queries.width / 3};
      one.queries = data<T>(qkv) + queries(token, head);
      one.keys = data<T>(qkv) + keys(token, head);
      one.values = data<T>(qkv) + values(token, head);
      one.statistics = data<float>(statistics) + 2 * rows.query(row, head, heads);
      one.first_weight = rows.weight(row, head);
      one.dropout = dropout;
      body(one, token, head, scratch.data_ptr());
    }
  });
}

template <typename T>
void attend_in_tiles(const Tiles<T>& tiles, const Tensor& qkv, const Rows& rows, int64_t heads,
                     const Dropout& dropout, Tensor& out, Tensor& statistics) {
  const Offset offset(out, 1, 0, heads);
  for_tiled_heads(tiles, qkv, rows, statistics, heads, dropout,
                  [&](const Head<T>& one, int64_t token, int64_t head, void* scratch) {
                    tiles.attend(one, data<T>(out) + offset(token, head), scratch);
                  });
}

template <typename T>
void attend_in_tiles_backward(const Tiles<T>& tiles, const Tensor& gradient, const Tensor& qkv, const Rows& rows,
                              const Tensor& out, const Tensor& statistics, int64_t heads, const Dropout& dropout,
                              Tensor& d_qkv) {
  const Offset offset(out, 1, 0, heads);
  for_tiled_heads(tiles, qkv, rows, statistics, heads, dropout,
                  [&](const Head<T>& one, int64_t token, int64_t head, void* scratch) {
                    const int64_t at = offset(token, head);
                    const auto part = [&](int64_t index) {
                      return data<T>(d_qkv) + Offset(d_qkv, 3, index, heads)(token, head);
                    };
                    tiles.attend_backward(one, data<T>(out) + at, data<T>(gradient) + at, part(0), part(1),
                                          part(2), scratch);
                  });
}

// Attention through oneDNN's products, where there are no tiles for it.
template <typename T>
void attend_by_products(const Tensor& qkv, const Rows& rows, int64_t heads, const Dropout& dropout, Tensor& out,
                        Tensor& statistics) {
  const int64_t size = qkv.size(1) / 3 / heads;
  const auto scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(size)));
  for_heads(qkv, rows, heads, [&](const Heads& few) {
    const auto part = [&](int64_t index) { return gather<T>(qkv, rows, few, heads, 3, index); };
    const int64_t tokens = rows.tokens(few.row);
    Tensor scores = at::empty({few.count, tokens, tokens}, qkv.options());
    multiply(part(0), part(1).transpose(1, 2), scores);
    std::vector<float> buffer(tokens);
    float* kept = data<float>(statistics) + 2 * rows.query(few.row, few.first, heads);
    const uint32_t weight = rows.weight(few.row, few.first);
    for (int64_t line = 0; line < few.count * tokens; line++) {
      softmax_row(data<T>(scores) + line * tokens, buffer.data(), kept + 2 * line, tokens, scale,
                  weight + static_cast<uint32_t>(line * tokens), dropout);
    }
    Tensor values = part(2), attended = at::empty_like(values);
    multiply(scores, values, attended);
    scatter<T>(attended, out, rows, few, heads, 1, 0);
  });
}

template <typename T>
void attend_by_products_backward(const Tensor& gradient, const Tensor& qkv, const Rows& rows, const Tensor& out,
                                 const Tensor& statistics, int64_t heads, const Dropout& dropout, Tensor& d_qkv) {
  const int64_t size = qkv.size(1) / 3 / heads;
  const auto scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(size)));
  for_heads(qkv, rows, heads, [&](const Heads& few) {
    const auto part = [&](int64_t index) { return gather<T>(qkv, rows, few, heads, 3, index); };
    const int64_t tokens = rows.tokens(few.row);
    const Tensor q = part(0), k = part(1), v = part(2);
    const Tensor attended = gather<T>(out, rows, few, heads, 1, 0);
    const Tensor d_out = gather<T>(gradient, rows, few, heads, 1, 0);
    Tensor scores = at::empty({few.count, tokens, tokens}, qkv.options()), d_scores = at::empty_like(scores);
    multiply(q, k.transpose(1, 2), scores);
    multiply(d_out, v.transpose(1, 2), d_scores);
    const float* kept = data<float>(statistics) + 2 * rows.query(few.row, few.first, heads);
    const uint32_t weight = rows.weight(few.row, few.first);
    for (int64_t line = 0; line < few.count * tokens; line++) {
      const float delta = dot_row(data<T>(d_out) + line * size, data<T>(attended) + line * size, size);
      softmax_row_backward(data<T>(scores) + line * tokens, data<T>(d_scores) + line * tokens, kept + 2 * line,
                           tokens, scale, delta, weight + static_cast<uint32_t>(line * tokens), dropout);
    }
    Tensor d_part = at::empty_like(q);
    const auto write = [&](const Tensor& a, const Tensor& b, int64_t index) {
      multiply(a, b, d_part);
      scatter<T>(d_part, d_qkv, rows, few, heads, 3, index);
    };
    write(d_scores, k, 0);
    write(d_scores.transpose(1, 2), q, 1);
    write(scores.transpose(1, 2), d_out, 2);
  });
}

}  // namespace

extern "C" {

void spanwise_free(char* message) { free(message); }

// Samples a seed for one dropout from the generator that all of libtorch uses.
int64_t spanwise_random_seed() {
  auto generator = at::detail::getDefaultCPUGenerator();
  std::lock_guard<std::mutex> lock(generator.mutex());
  return static_cast<int64_t>(at::check_generator<at::CPUGeneratorImpl>(generator)->random64());
}

// x · weight + bias, or its GELU. x: [rows, inputs], weight: [inputs, outputs], all of one type.
const char* spanwise_linear(const Tensor* x, const Tensor* weight, const Tensor* bias, int gelu,
                            Tensor** outputs) {
  return computed([&] { outputs[0] = new Tensor(affine(*x, *weight, *bias, gelu)); });
}

// Gradients of x, weight and bias; the bias's in f32, since it is a long sum over all tokens.
const char* spanwise_linear_backward(const Tensor* gradient, const Tensor* x, const Tensor* weight,
                                     Tensor** outputs) {
  return computed([&] {
    Tensor d_x = at::empty({gradient->size(0), weight->size(0)}, gradient->options());
    multiply(*gradient, weight->t(), d_x);
    outputs[0] = new Tensor(d_x);
    Tensor d_weight = at::empty_like(*weight);
    multiply(x->t(), *gradient, d_weight);
    outputs[1] = new Tensor(d_weight);
    outputs[2] = new Tensor(sum_of_rows(*gradient));
  });
}

// out = layer_norm(residual + dropout(x)) over the last dimension. `residual` may be null. x: f32
// or bfloat16, all else f32. Outputs: out, residual + dropout(x), and mean and inverse deviation of
// every row.
const char* spanwise_layer_norm(const Tensor* x, const Tensor* residual, const Tensor* gamma, const Tensor* beta,
                                double epsilon, double probability, int64_t seed, Tensor** outputs) {
  return computed([&] {
    const Tensor in = x->contiguous();
    const Tensor added = residual ? residual->contiguous() : Tensor();
    const int64_t width = in.size(-1), rows = in.numel() / std::max<int64_t>(width, 1);
    const auto f32 = in.options().dtype(at::kFloat);
    Tensor out = at::empty(in.sizes(), f32), sum = at::empty(in.sizes(), f32);
    Tensor statistics = at::empty({rows, 2}, f32);
    const std::vector<float> zeros(added.defined() ? 0 : width);
    const auto dropout = dropout_of(seed, probability);
    by_type(in, [&](auto* type) {
      using T = std::remove_pointer_t<decltype(type)>;
      at::parallel_for(0, rows, 16, [&](int64_t begin, int64_t end) {
        for (int64_t row = begin; row < end; row++) {
          const int64_t at = row * width;
          layer_norm_row(data<T>(in) + at, added.defined() ? data<float>(added) + at : zeros.data(),
                         data<float>(*gamma), data<float>(*beta), data<float>(sum) + at, data<float>(out) + at,
                         data<float>(statistics) + 2 * row, width, static_cast<uint32_t>(at), dropout,
                         static_cast<float>(epsilon));
        }
      });
    });
    outputs[0] = new Tensor(out);
    outputs[1] = new Tensor(sum);
    outputs[2] = new Tensor(statistics);
  });
}

// Gradients of x (in bfloat16 if `bfloat16`, else f32), residual (null unless `has_residual`),
// gamma and beta.
const char* spanwise_layer_norm_backward(const Tensor* gradient, const Tensor* sum, const Tensor* statistics,
                                         const Tensor* gamma, int bfloat16, int has_residual, double probability,
                                         int64_t seed, Tensor** outputs) {
  return computed([&] {
    const Tensor incoming = gradient->contiguous();
    const int64_t width = sum->size(-1), rows = sum->numel() / std::max<int64_t>(width, 1);
    Tensor d_x = at::empty(sum->sizes(), sum->options().dtype(bfloat16 ? at::kBFloat16 : at::kFloat));
    Tensor d_residual = has_residual ? at::empty_like(*sum) : Tensor();
    const int64_t threads = at::get_num_threads();
    Tensor partial = at::zeros({threads, 2, width}, sum->options());
    const auto dropout = dropout_of(seed, probability);
    by_type(d_x, [&](auto* type) {
      using T = std::remove_pointer_t<decltype(type)>;
      at::parallel_for(0, rows, 16, [&](int64_t begin, int64_t end) {
        std::vector<float> unused(has_residual ? 0 : width);
        float* sums = data<float>(partial) + at::get_thread_num() * 2 * width;
        for (int64_t row = begin; row < end; row++) {
          const int64_t at = row * width;
          layer_norm_row_backward(data<float>(incoming) + at, data<float>(*sum) + at, data<float>(*gamma),
                                  data<float>(*statistics) + 2 * row,
                                  has_residual ? data<float>(d_residual) + at : unused.data(), data<T>(d_x) + at,
                                  sums, sums + width, width, static_cast<uint32_t>(at), dropout);
        }
      });
    });
    const Tensor sums = partial.sum(0);
    outputs[0] = new Tensor(d_x);
    outputs[1] = has_residual ? new Tensor(d_residual) : nullptr;
    outputs[2] = new Tensor(sums.select(0, 0).clone());
    outputs[3] = new Tensor(sums.select(0, 1).clone());
  });
}

// x with elements zeroed and the others scaled up. Given the result's gradient as x, the gradient
// of the input.
const char* spanwise_dropout(const Tensor* x, double probability, int64_t seed, Tensor** outputs) {
  return computed([&] {
    const Tensor in = x->contiguous();
    Tensor out = at::empty_like(in);
    const auto dropout = dropout_of(seed, probability);
    by_type(in, [&](auto* type) {
      using T = std::remove_pointer_t<decltype(type)>;
      const T* from = data<T>(in);
      T* to = data<T>(out);
      at::parallel_for(0, in.numel(), 8192, [=](int64_t begin, int64_t end) {
        drop(from + begin, to + begin, end - begin, static_cast<uint32_t>(begin), dropout);
      });
    });
    outputs[0] = new Tensor(out);
  });
}

// Scaled dot-product attention within every row of a packed batch, with dropout of the weights. The
// scores of a few heads at a time stay in the cache; for the backward pass every softmax keeps its
// statistics alone, as in FlashAttention (Dao et al., 2022, arXiv:2205.14135) with all keys of a
// query in one block.
//
// qkv: queries, keys and values side by side, [tokens, 3 · hidden], f32 or bfloat16; offsets: index
// of every row's first token, and the number of tokens, [rows + 1], int32. Outputs: the attended
// values, [tokens, hidden], and the largest score and the inverse of the denominator of every
// softmax, [tokens · heads, 2], for the backward pass.
const char* spanwise_attention(const Tensor* qkv, const Tensor* offsets, int64_t heads, double probability,
                               int64_t seed, Tensor** outputs) {
  return computed([&] {
    const Tensor in = qkv->contiguous();
    const Rows rows(*offsets, heads);
    TORCH_CHECK(rows.first.back() == in.size(0), "rows end at token ", rows.first.back(), " of ", in.size(0));
    const auto dropout = dropout_of(seed, probability);
    Tensor out = at::empty({in.size(0), in.size(1) / 3}, in.options());
    Tensor statistics = at::empty({in.size(0) * heads, 2}, in.options().dtype(at::kFloat));
    by_type(in, [&](auto* type) {
      using T = std::remove_pointer_t<decltype(type)>;
      if (const auto* tiles = tiles_for<T>(in, heads)) {
        return attend_in_tiles(*tiles, in, rows, heads, dropout, out, statistics);
      }
      attend_by_products<T>(in, rows, heads, dropout, out, statistics);
    });
    outputs[0] = new Tensor(out);
    outputs[1] = new Tensor(statistics);
  });
}

// The gradient of qkv.
const char* spanwise_attention_backward(const Tensor* gradient, const Tensor* qkv, const Tensor* offsets,
                                        const Tensor* out, const Tensor* statistics, int64_t heads,
                                        double probability, int64_t seed, Tensor** outputs) {
  return computed([&] {
    const Tensor in = qkv->contiguous(), incoming = gradient->contiguous(), attended = out->contiguous();
    const Rows rows(*offsets, heads);
    TORCH_CHECK(rows.first.back() == in.size(0), "rows end at token ", rows.first.back(), " of ", in.size(0));
    const auto dropout = dropout_of(seed, probability);
    Tensor d_qkv = at::empty(in.sizes(), in.options());
    by_type(in, [&](auto* type) {
      using T = std::remove_pointer_t<decltype(type)>;
      if (const auto* tiles = tiles_for<T>(in, heads)) {
        return attend_in_tiles_backward(*tiles, incoming, in, rows, attended, *statistics, heads, dropout, d_qkv);
      }
      attend_by_products_backward<T>(incoming, in, rows, attended, *statistics, heads, dropout, d_qkv);
    });
    outputs[0] = new Tensor(d_qkv);
  });
}

// The L2 norm of `count` tensors together, on any device.
const char* spanwise_global_norm(Tensor** tensors, int64_t count, Tensor** outputs) {
  return computed([&] {
    std::vector<Tensor> all;
    for (int64_t i = 0; i < count; i++) all.push_back(*tensors[i]);
    outputs[0] = new Tensor(at::stack(at::_foreach_norm(all)).norm());
  }, count > 0 && tensors[0]->is_cpu());
}

// One step of AdamW (Loshchilov & Hutter, 2019, arXiv:1711.05101) on `count` parameters at once, in
// place, on any device. One element each: number, which step this is, counted from 1; divisor, what
// gradients are divided by first; skipped, 1 to leave everything as it is, else 0.
const char* spanwise_adamw(Tensor** parameters, Tensor** gradients, Tensor** first_moments,
                           Tensor** second_moments, int64_t count, double learning_rate, double beta_1,
                           double beta_2, double weight_decay, double epsilon, const Tensor* number,
                           const Tensor* divisor, const Tensor* skipped) {
  return computed([&] {
    const auto list = [count](Tensor** from) {
      std::vector<Tensor> all;
      for (int64_t i = 0; i < count; i++) all.push_back(*from[i]);
      return all;
    };
    if (count == 0) return;
    const auto self = list(parameters), grads = list(gradients);
    at::_fused_adamw_(self, grads, list(first_moments), list(second_moments), {},
                      std::vector<Tensor>(count, number->squeeze()), learning_rate, beta_1, beta_2, weight_decay,
                      epsilon, false, false, *divisor, *skipped);
  }, count > 0 && parameters[0]->is_cpu());
}

}  // extern "C"
