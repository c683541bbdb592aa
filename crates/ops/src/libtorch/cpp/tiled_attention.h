// Scaled dot-product attention of one head at a time, in tiles that fit the registers of AVX-512
// and AVX2.

#pragma once

#include <cstdint>

#include "elements.h"

namespace spanwise {

// One head of one row of a batch. `T` is float, or uint16_t for the bits of a bfloat16. A token has
// `size` values, one after the other; the next token's begin `stride` elements later in queries,
// keys, values and their gradients, and `out_stride` elements later in the result and its gradient.
template <typename T>
struct Head {
  int64_t tokens, size, stride, out_stride;
  const T *queries, *keys, *values;
  float* statistics;     // [tokens, 2]: largest logit, base 2, and inverse of the denominator
  uint32_t first_weight; // index of the first weight among those of all rows and heads
  Dropout dropout;
};

// Attention with one set of instructions.
template <typename T>
struct Tiles {
  int64_t divisor; // must divide the size of a head

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
