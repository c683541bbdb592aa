// Loops over one row, written so that the compiler vectorises them. The type and whether elements
// are dropped are template parameters: a branch in a loop would keep the compiler from doing so.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "elements.h"

// One binary for every x86-64: the compiler emits a version per instruction set, and the loader
// picks one. Levels of x86-64 include fused multiply-add and vectors of full width, which the names
// of single extensions do not.
#if !defined(__x86_64__) || !defined(__linux__)
#define VECTORISED
#elif !defined(__clang__) && __GNUC__ >= 12
#define VECTORISED __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define VECTORISED __attribute__((target_clones("avx512f", "avx2", "default")))
#endif

namespace spanwise {
namespace {

INLINE float load(const float* from) { return *from; }

INLINE float load(const uint16_t* from) {
  const uint32_t bits = static_cast<uint32_t>(*from) << 16;
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

INLINE void store(float* to, float value) { *to = value; }

// Rounds to nearest, ties to even. Nothing stored here is ever NaN unless training has diverged
// already.
INLINE void store(uint16_t* to, float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  *to = static_cast<uint16_t>((bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16);
}

// e^x for x ≤ 0, as a power of two. Rounding x · log2(e) once adds 6e-8 · |x| to its error.
INLINE float exponential(float x) {
  const float scaled = std::max(x, -87.0f) * LOG2_E;
  const float whole = std::nearbyint(scaled);
  const int32_t bits = (static_cast<int32_t>(whole) + 127) << 23;
  float power;
  std::memcpy(&power, &bits, sizeof power);
  return power_of_fraction(scaled - whole) * power;
}

// 0 for a dropped element, 1 / (1 - probability) for a kept one.
INLINE float keep(const Dropout& dropout, uint32_t index) {
  return random_bits(dropout, index) >= dropout.threshold ? dropout.scale : 0.0f;
}

template <bool drops>
INLINE float kept(const Dropout& dropout, uint32_t index) {
  if constexpr (drops) return keep(dropout, index);
  return 1.0f;
}

// Writes residual + dropout(x) to `sum`, its layer norm to `out`, and its mean and inverse
// deviation to `statistics`. `first` is the index of the row's first element, for dropout.
template <bool drops, typename T>
INLINE void layer_norm_row_of(const T* x, const float* residual, const float* gamma, const float* beta, float* sum,
                              float* out, float* statistics, int64_t width, uint32_t first, Dropout dropout,
                              float epsilon) {
  float total = 0.0f;
#pragma omp simd reduction(+ : total)
  for (int64_t i = 0; i < width; i++) {
    const float value = load(x + i) * kept<drops>(dropout, first + static_cast<uint32_t>(i)) + residual[i];
    sum[i] = value;
    total += value;
  }
  const float mean = total / static_cast<float>(width);
  float squares = 0.0f;
#pragma omp simd reduction(+ : squares)
  for (int64_t i = 0; i < width; i++) squares += (sum[i] - mean) * (sum[i] - mean);
  const float inverse = 1.0f / std::sqrt(squares / static_cast<float>(width) + epsilon);
#pragma omp simd
  for (int64_t i = 0; i < width; i++) out[i] = (sum[i] - mean) * inverse * gamma[i] + beta[i];
  statistics[0] = mean;
  statistics[1] = inverse;
}

// Writes the gradients of x and residual, and adds the row's share to those of gamma and beta.
template <bool drops, typename T>
INLINE void layer_norm_row_backward_of(const float* gradient, const float* sum, const float* gamma,
                                       const float* statistics, float* d_residual, T* d_x, float* d_gamma,
                                       float* d_beta, int64_t width, uint32_t first, Dropout dropout) {
  const float mean = statistics[0], inverse = statistics[1];
  float total = 0.0f, projected = 0.0f;
#pragma omp simd reduction(+ : total, projected)
  for (int64_t i = 0; i < width; i++) {
    const float normal = (sum[i] - mean) * inverse;
    total += gradient[i] * gamma[i];
    projected += gradient[i] * gamma[i] * normal;
    d_gamma[i] += gradient[i] * normal;
    d_beta[i] += gradient[i];
  }
  total /= static_cast<float>(width);
  projected /= static_cast<float>(width);
#pragma omp simd
  for (int64_t i = 0; i < width; i++) {
    const float normal = (sum[i] - mean) * inverse;
    const float value = inverse * (gradient[i] * gamma[i] - total - normal * projected);
    d_residual[i] = value;
    store(d_x + i, value * kept<drops>(dropout, first + static_cast<uint32_t>(i)));
  }
}

// Turns the scores of one query into weights with dropout, in place. Writes the largest score and
// the inverse of the sum of exponentials to `statistics`.
template <bool drops, typename T>
INLINE void softmax_row_of(T* scores, float* buffer, float* statistics, int64_t width, float scale,
                           uint32_t first, Dropout dropout) {
  float largest = -std::numeric_limits<float>::infinity();
#pragma omp simd reduction(max : largest)
  for (int64_t j = 0; j < width; j++) {
    const float score = load(scores + j) * scale;
    buffer[j] = score;
    largest = score > largest ? score : largest;
  }
  float total = 0.0f;
#pragma omp simd reduction(+ : total)
  for (int64_t j = 0; j < width; j++) {
    const float power = exponential(buffer[j] - largest);
    buffer[j] = power;
    total += power;
  }
  const float inverse = 1.0f / total;
#pragma omp simd
  for (int64_t j = 0; j < width; j++) {
    store(scores + j, buffer[j] * inverse * kept<drops>(dropout, first + static_cast<uint32_t>(j)));
  }
  statistics[0] = largest;
  statistics[1] = inverse;
}

// Turns scores into weights with dropout, and the weights' gradients into the scores', in place.
// `delta` is the dot product of the query's result and its gradient.
template <bool drops, typename T>
INLINE void softmax_row_backward_of(T* scores, T* gradient, const float* statistics, int64_t width, float scale,
                                    float delta, uint32_t first, Dropout dropout) {
  const float largest = statistics[0], inverse = statistics[1];
#pragma omp simd
  for (int64_t j = 0; j < width; j++) {
    const float weight = exponential(load(scores + j) * scale - largest) * inverse;
    const float factor = kept<drops>(dropout, first + static_cast<uint32_t>(j));
    store(gradient + j, weight * (load(gradient + j) * factor - delta) * scale);
    store(scores + j, weight * factor);
  }
}

// Dropout of `count` elements; `first` is the index of the first.
template <typename T>
INLINE void drop_of(const T* from, T* to, int64_t count, uint32_t first, Dropout dropout) {
#pragma omp simd
  for (int64_t i = 0; i < count; i++) {
    store(to + i, load(from + i) * keep(dropout, first + static_cast<uint32_t>(i)));
  }
}

// Adds a row to `sums`.
template <typename T>
INLINE void add_row_of(const T* row, float* sums, int64_t width) {
#pragma omp simd
  for (int64_t i = 0; i < width; i++) sums[i] += load(row + i);
}

// Dot product of two rows.
template <typename T>
INLINE float dot_row_of(const T* a, const T* b, int64_t width) {
  float total = 0.0f;
#pragma omp simd reduction(+ : total)
  for (int64_t i = 0; i < width; i++) total += load(a + i) * load(b + i);
  return total;
}

// A function compiled in several versions cannot be a template itself, so each type has its own.
#define VERSIONS(T)                                                                                                  \
  VECTORISED void layer_norm_row(const T* x, const float* residual, const float* gamma, const float* beta,           \
                                 float* sum, float* out, float* statistics, int64_t width, uint32_t first,           \
                                 Dropout dropout, float epsilon) {                                                   \
    if (dropout.threshold) {                                                                                         \
      layer_norm_row_of<true>(x, residual, gamma, beta, sum, out, statistics, width, first, dropout, epsilon);       \
    } else {                                                                                                         \
      layer_norm_row_of<false>(x, residual, gamma, beta, sum, out, statistics, width, first, dropout, epsilon);      \
    }                                                                                                                \
  }                                                                                                                  \
  VECTORISED void layer_norm_row_backward(const float* gradient, const float* sum, const float* gamma,               \
                                          const float* statistics, float* d_residual, T* d_x, float* d_gamma,        \
                                          float* d_beta, int64_t width, uint32_t first, Dropout dropout) {           \
    if (dropout.threshold) {                                                                                         \
      layer_norm_row_backward_of<true>(gradient, sum, gamma, statistics, d_residual, d_x, d_gamma, d_beta, width,    \
                                       first, dropout);                                                              \
    } else {                                                                                                         \
      layer_norm_row_backward_of<false>(gradient, sum, gamma, statistics, d_residual, d_x, d_gamma, d_beta, width,   \
                                        first, dropout);                                                             \
    }                                                                                                                \
  }                                                                                                                  \
  VECTORISED void softmax_row(T* scores, float* buffer, float* statistics, int64_t width, float scale,               \
                              uint32_t first, Dropout dropout) {                                                     \
    if (dropout.threshold) {                                                                                         \
      softmax_row_of<true>(scores, buffer, statistics, width, scale, first, dropout);                                \
    } else {                                                                                                         \
      softmax_row_of<false>(scores, buffer, statistics, width, scale, first, dropout);                               \
    }                                                                                                                \
  }                                                                                                                  \
  VECTORISED void softmax_row_backward(T* scores, T* gradient, const float* statistics, int64_t width, float scale,  \
                                       float delta, uint32_t first, Dropout dropout) {                               \
    if (dropout.threshold) {                                                                                         \
      softmax_row_backward_of<true>(scores, gradient, statistics, width, scale, delta, first, dropout);              \
    } else {                                                                                                         \
      softmax_row_backward_of<false>(scores, gradient, statistics, width, scale, delta, first, dropout);             \
    }                                                                                                                \
  }                                                                                                                  \
  VECTORISED void drop(const T* from, T* to, int64_t count, uint32_t first, Dropout dropout) {                       \
    drop_of(from, to, count, first, dropout);                                                                        \
  }                                                                                                                  \
  VECTORISED void add_row(const T* row, float* sums, int64_t width) { add_row_of(row, sums, width); }                \
  VECTORISED float dot_row(const T* a, const T* b, int64_t width) { return dot_row_of(a, b, width); }

VERSIONS(float)
VERSIONS(uint16_t)

}  // namespace
}  // namespace spanwise
