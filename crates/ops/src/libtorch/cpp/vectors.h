// Vectors of floats as wide as the target has them, for files that are compiled for one set of
// instructions each.

#pragma once

#include <immintrin.h>

#include "elements.h"

namespace spanwise {
namespace {

#if defined(__AVX512F__)
constexpr int BYTES = 64;
#else
constexpr int BYTES = 32;
#endif

typedef float Floats __attribute__((vector_size(BYTES)));
typedef uint32_t Integers __attribute__((vector_size(BYTES)));

constexpr int64_t LANES = BYTES / sizeof(float);

INLINE Floats load(const float* from) {
  Floats values;
  __builtin_memcpy(&values, from, sizeof values);
  return values;
}

INLINE void store(float* to, Floats values) { __builtin_memcpy(to, &values, sizeof values); }

// The value in every lane.
INLINE Floats all(float value) { return value - Floats{}; }

// The lanes' indices: 0, 1, 2, …
INLINE Integers counting() {
  Integers numbers;
  for (int64_t i = 0; i < LANES; i++) numbers[i] = static_cast<uint32_t>(i);
  return numbers;
}

// Operations that vector types have no operator for, or one that compiles to more instructions.

#if defined(__AVX512F__)

INLINE Floats multiply_add(Floats a, Floats b, Floats sum) { return _mm512_fmadd_ps(a, b, sum); }
INLINE Floats larger(Floats a, Floats b) { return _mm512_max_ps(a, b); }
INLINE float largest_of(Floats values) { return _mm512_reduce_max_ps(values); }
INLINE float sum_of(Floats values) { return _mm512_reduce_add_ps(values); }
INLINE Floats nearest_whole(Floats x) { return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT); }
// x · 2^whole, within the range of normal numbers.
INLINE Floats times_power(Floats x, Floats whole) { return _mm512_scalef_ps(x, whole); }
// `values` where the number is at least `limit`, 0 elsewhere.
INLINE Floats where_at_least(Integers numbers, uint32_t limit, Floats values) {
  const __mmask16 chosen = _mm512_cmpge_epu32_mask((__m512i)numbers, _mm512_set1_epi32(static_cast<int>(limit)));
  return _mm512_maskz_mov_ps(chosen, values);
}

#else

INLINE Floats multiply_add(Floats a, Floats b, Floats sum) { return _mm256_fmadd_ps(a, b, sum); }
INLINE Floats larger(Floats a, Floats b) { return _mm256_max_ps(a, b); }
INLINE float largest_of(Floats values) {
  const __m128 four = _mm_max_ps(_mm256_castps256_ps128(values), _mm256_extractf128_ps(values, 1));
  const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}
INLINE float sum_of(Floats values) {
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(values), _mm256_extractf128_ps(values, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
INLINE Floats nearest_whole(Floats x) { return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
INLINE Floats times_power(Floats x, Floats whole) {
  const __m256i exponent = _mm256_add_epi32(_mm256_cvtps_epi32(whole), _mm256_set1_epi32(127));
  return _mm256_mul_ps(x, _mm256_castsi256_ps(_mm256_slli_epi32(exponent, 23)));
}
INLINE Floats where_at_least(Integers numbers, uint32_t limit, Floats values) {
  const __m256i larger = _mm256_max_epu32((__m256i)numbers, _mm256_set1_epi32(static_cast<int>(limit)));
  return _mm256_and_ps(_mm256_castsi256_ps(_mm256_cmpeq_epi32(larger, (__m256i)numbers)), values);
}

#endif

}  // namespace
}  // namespace spanwise
