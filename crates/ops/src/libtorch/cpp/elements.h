// Functions of single elements, one at a time or on all lanes of a vector at once. They are always
// inlined, since the files that include this are compiled for different processors.

#pragma once

#include <cstdint>

#define INLINE inline __attribute__((always_inline))

namespace spanwise {

// Whether an element is dropped is a function of a seed and the element's index: threads need no
// order, and the backward pass computes the same again instead of keeping a mask.
struct Dropout {
  uint32_t first, second, threshold;
  float scale;
};

// A random number per element: the element is kept if it is not below the threshold. The steps are
// those of the hash function lowbias32 (Wellons, 2018, https://nullprogram.com/blog/2018/07/31/),
// with half of the seed added before each multiplication.
template <typename Integers>
INLINE Integers random_bits(const Dropout& dropout, Integers index) {
  Integers x = index + dropout.first;
  x ^= x >> 16;
  x *= 0x7feb352dU;
  x += dropout.second;
  x ^= x >> 15;
  x *= 0x846ca68bU;
  x ^= x >> 16;
  return x;
}

constexpr float LOG2_E = 1.44269504f;

// 2^x on [-1/2, 1/2], by a polynomial interpolated at Chebyshev's nodes: within 3e-7 relative.
template <typename Floats>
INLINE Floats power_of_fraction(Floats x) {
  Floats p = x * 1.33908633e-3f + 9.67603177e-3f;
  p = p * x + 5.55035695e-2f;
  p = p * x + 2.40221068e-1f;
  p = p * x + 6.93147182e-1f;
  return p * x + 1.00000012f;
}

}  // namespace spanwise
