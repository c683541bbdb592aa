// Scaled dot-product attention of one head at a time, tiled for registers, on processors with AVX-512 or
// AVX2.

#pragma once

#include <cstdint>

#include "elements.h"

namespace spanwise {

// One head of one row of a batch. `T`: float, or uint16_t, the bits of a bfloat16. A head's values of one token are
// `size` in a row; from token to token it is `stride` elements in queries, keys, values and their gradients, and
// `out_stride` in the result and its gradient.
template <typename T>
struct Head {
  int64_t tokens, size, stride, out_stride;
  const T *queries, *keys, *values;
  const float* mask;    // [tokens], added to the scores of a key
  float* statistics;    // [tokens, 2]: of every softmax the largest logit, base 2, and the denominator's inverse
  uint32_t first_query; // index of the first query among those of all rows and heads
  Dropout dropout;
};

// What is computed with one set of instructions.
template <typename T>
struct Tiles {
  int64_t sizes; // of heads, of which this has to be a divisor

  // Bytes of scratch memory, aligned to 64, that a head needs.
  int64_t (*scratch)(int64_t tokens, int64_t size);

  // Writes the attended values and the statistics.
  void (*attend)(const Head<T>& head, T* out, void* scratch);

  // Reads the statistics; `out` and `d_out` are the attended values and their gradient.
  void (*attend_backward)(const Head<T>& head, const T* out, const T* d_out, T* d_queries, T* d_keys, T* d_values,
                          void* scratch);
};

extern const Tiles<float> avx512_tiles, avx2_tiles;
extern const Tiles<uint16_t> avx512_bfloat16_tiles;

}  // namespace spanwise
