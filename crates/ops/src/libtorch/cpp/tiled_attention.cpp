// Compiled once for every set of instructions: nothing here may run before `tiles_for` of
// kernels.cpp has found that the processor has them. For the same reason no inline function of a
// library is used: the linker might use this file's version everywhere.
//
// oneDNN's products write scores to memory, where another loop reads them. Here a tile of scores is
// finished in registers; with heads as narrow as BERT's that takes two thirds of the time. The
// algorithm is FlashAttention (Dao et al., 2022, arXiv:2205.14135) with all keys of a query in one
// block: they fit a core's own cache.

#include "tiled_attention.h"

#include "vectors.h"

namespace spanwise {
namespace {

// Size of a tile of a product: with two vectors of columns, half of the registers hold sums, the
// others operands.
constexpr int64_t ROWS = LANES / 2, COLUMNS = 2 * LANES;

// Products are sums over packs: one number in f32, two neighbours in bfloat16, which the processor
// multiplies and adds at once. `pack_rows` builds packs from `packed` rows of length `width`, one
// number from each.
struct F32 {
  using Element = float;
  using Pack = float;
  static constexpr int64_t packed = 1;

  static INLINE Floats add_product(Floats sum, Pack a, const Pack* b) {
    return multiply_add(all(a), load(b), sum);
  }
  static INLINE Floats widen(const Element* from) { return load(from); }
  static INLINE void narrow(Element* to, Floats values) { store(to, values); }
  static INLINE void pack_rows(const Element* rows, int64_t width, Pack* to) {
    for (int64_t i = 0; i < width; i++) to[i] = rows[i];
  }
};

#if defined(__AVX512BF16__)
struct Bfloat16 {
  using Element = uint16_t;
  using Pack = uint32_t;
  static constexpr int64_t packed = 2;

  static INLINE Floats add_product(Floats sum, Pack a, const Pack* b) {
    return _mm512_dpbf16_ps(sum, (__m512bh)_mm512_set1_epi32(static_cast<int>(a)), (__m512bh)_mm512_loadu_si512(b));
  }
  static INLINE Floats widen(const Element* from) {
    return _mm512_castsi512_ps(
        _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from))), 16));
  }
  static INLINE void narrow(Element* to, Floats values) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), (__m256i)_mm512_cvtneps_pbh(values));
  }
  static INLINE void pack_rows(const Element* rows, int64_t width, Pack* to) {
    for (int64_t i = 0; i < width; i++) to[i] = rows[i] | static_cast<Pack>(rows[width + i]) << 16;
  }
};
#endif

// A tile of a · b. a: ROWS rows, `row` packs from one to the next, `step` from pack to pack; b:
// `width` packs from row to row; `count` packs are summed over.
template <typename F>
INLINE void multiply(const typename F::Pack* a, int64_t row, int64_t step, const typename F::Pack* b, int64_t width,
                     int64_t count, Floats (&sums)[ROWS][2]) {
  Floats tile[ROWS][2];
#pragma GCC unroll 8
  for (int64_t r = 0; r < ROWS; r++) tile[r][0] = tile[r][1] = all(0.0f);
  for (int64_t k = 0; k < count; k++, a += step, b += width) {
#pragma GCC unroll 8
    for (int64_t r = 0; r < ROWS; r++) {
      tile[r][0] = F::add_product(tile[r][0], a[r * row], b);
      tile[r][1] = F::add_product(tile[r][1], a[r * row], b + LANES);
    }
  }
#pragma GCC unroll 8
  for (int64_t r = 0; r < ROWS; r++) sums[r][0] = tile[r][0], sums[r][1] = tile[r][1];
}

// 2^x for x ≤ 0: 2^n · 2^f with f on [-1/2, 1/2].
INLINE Floats power_of_two(Floats x) {
  x = larger(x, all(-126.0f));
  const Floats whole = nearest_whole(x);
  return times_power(power_of_fraction(x - whole), whole);
}

// 0 for dropped weights, the scale for kept ones.
INLINE Floats keep(const Dropout& dropout, Integers index) {
  return where_at_least(random_bits(dropout, index), dropout.threshold, all(dropout.scale));
}

INLINE int64_t rounded_up(int64_t count, int64_t to) { return (count + to - 1) / to * to; }

// Hands out pieces of the scratch memory.
struct Scratch {
  char* free;

  template <typename T>
  T* take(int64_t count) {
    char* piece = free;
    free += rounded_up(count * static_cast<int64_t>(sizeof(T)), 64);
    return reinterpret_cast<T*>(piece);
  }
};

// A head's values of all tokens, in the layouts that products read. Tokens are padded with zeros to
// whole tiles.
template <typename F>
struct Matrix {
  using Element = typename F::Element;
  using Pack = typename F::Pack;

  int64_t padded, size;
  const Element* rows; // [padded, size]

  Matrix(const Element* from, int64_t stride, int64_t tokens, int64_t size, Scratch& scratch)
      : padded(rounded_up(tokens, COLUMNS)), size(size) {
    Element* to = scratch.take<Element>(padded * size);
    rows = to;
    for (int64_t token = 0; token < padded; token++, from += stride) {
      for (int64_t i = 0; i < size; i++) *to++ = token < tokens ? from[i] : 0;
    }
  }

  // Rows from `first`, as packs of neighbouring values: the left operand of a sum over `size`.
  const Pack* left(int64_t first) const { return reinterpret_cast<const Pack*>(rows + first * size); }
  int64_t packs() const { return size / F::packed; }

  // [packs, padded]: the right operand of a sum over `size`.
  const Pack* across(Scratch& scratch) const {
    Pack* to = scratch.take<Pack>(padded * packs());
    const Pack* from = left(0);
    for (int64_t pack = 0; pack < packs(); pack++) {
      for (int64_t token = 0; token < padded; token++) to[pack * padded + token] = from[token * packs() + pack];
    }
    return to;
  }

  // [padded / packed, size]: the right operand of a sum over tokens.
  const Pack* down(Scratch& scratch) const {
    Pack* to = scratch.take<Pack>(padded / F::packed * size);
    for (int64_t row = 0; row < padded; row += F::packed) {
      F::pack_rows(rows + row * size, size, to + row / F::packed * size);
    }
    return to;
  }
};

template <typename F>
struct Attention {
  using T = typename F::Element;
  using Pack = typename F::Pack;

  const Head<T>& head;
  Scratch scratch;
  int64_t tokens, size, padded;
  float scale;
  const float* mask; // [padded]: 0, and -∞ for the padding of tiles

  Attention(const Head<T>& head, void* memory)
      : head(head), scratch{static_cast<char*>(memory)}, tokens(head.tokens), size(head.size),
        padded(rounded_up(tokens, COLUMNS)), scale(1.0f / __builtin_sqrtf(static_cast<float>(size))) {
    float* to = scratch.take<float>(padded);
    for (int64_t i = 0; i < padded; i++) to[i] = i < tokens ? 0.0f : -__builtin_inff();
    mask = to;
  }

  Matrix<F> matrix(const T* from, int64_t stride) { return Matrix<F>(from, stride, tokens, size, scratch); }

  // Writes left · right, ROWS rows that are sums over tokens, each times its factor, to the rows of
  // `to` from `first`.
  INLINE void write(const Pack* left, int64_t row, int64_t step, const Pack* right, int64_t count, const float* factors,
                    T* to, int64_t stride, int64_t first) const {
    for (int64_t column = 0; column < size; column += COLUMNS) {
      Floats sums[ROWS][2];
      multiply<F>(left, row, step, right + column, size, count, sums);
      for (int64_t r = 0; r < ROWS && first + r < tokens; r++) {
        T* target = to + (first + r) * stride + column;
        F::narrow(target, sums[r][0] * factors[r]);
        F::narrow(target + LANES, sums[r][1] * factors[r]);
      }
    }
  }

  template <bool drops>
  void forward(T* out) {
    const Matrix<F> queries = matrix(head.queries, head.stride), keys = matrix(head.keys, head.stride);
    const Matrix<F> values = matrix(head.values, head.stride);
    const Pack *keys_across = keys.across(scratch), *values_down = values.down(scratch);
    float* scores = scratch.take<float>(ROWS * padded);
    T* weights = scratch.take<T>(ROWS * padded);
    for (int64_t query = 0; query < tokens; query += ROWS) {
      Floats largest[ROWS];
      for (auto& value : largest) value = all(-__builtin_inff());
      for (int64_t key = 0; key < padded; key += COLUMNS) {
        Floats sums[ROWS][2];
        multiply<F>(queries.left(query), queries.packs(), 1, keys_across + key, padded, queries.packs(), sums);
#pragma GCC unroll 2
        for (int64_t half = 0; half < 2; half++) {
          const int64_t column = key + half * LANES;
          const Floats masked = load(mask + column);
#pragma GCC unroll 8
          for (int64_t r = 0; r < ROWS; r++) {
            const Floats score = sums[r][half] * (scale * LOG2_E) + masked;
            store(scores + r * padded + column, score);
            largest[r] = larger(largest[r], score);
          }
        }
      }
      float inverses[ROWS];
      for (int64_t r = 0; r < ROWS; r++) {
        const float most = largest_of(largest[r]);
        const uint32_t index = head.first_weight + static_cast<uint32_t>((query + r) * tokens);
        Floats total = all(0.0f);
        for (int64_t key = 0; key < padded; key += LANES) {
          Floats weight = power_of_two(load(scores + r * padded + key) - most);
          total = total + weight;
          if constexpr (drops) {
            weight = weight * keep(head.dropout, counting() + index + static_cast<uint32_t>(key));
          }
          F::narrow(weights + r * padded + key, weight);
        }
        inverses[r] = 1.0f / sum_of(total);
        if (query + r < tokens) {
          head.statistics[2 * (query + r)] = most;
          head.statistics[2 * (query + r) + 1] = inverses[r];
        }
      }
      const int64_t packs = padded / F::packed;
      write(reinterpret_cast<const Pack*>(weights), packs, 1, values_down, packs, inverses, out, head.out_stride,
            query);
    }
  }

  template <bool drops>
  void backward(const T* out, const T* d_out, T* d_queries, T* d_keys, T* d_values) {
    const Matrix<F> queries = matrix(head.queries, head.stride), keys = matrix(head.keys, head.stride);
    const Matrix<F> values = matrix(head.values, head.stride), incoming = matrix(d_out, head.out_stride);
    const Pack *queries_across = queries.across(scratch), *incoming_across = incoming.across(scratch);
    const Pack *queries_down = queries.down(scratch), *keys_down = keys.down(scratch);
    const Pack* incoming_down = incoming.down(scratch);

    // Statistics of every query; those of padding yield weights of zero.
    float *largest = scratch.take<float>(padded), *inverse = scratch.take<float>(padded);
    float* delta = scratch.take<float>(padded);
    for (int64_t query = 0; query < padded; query++) {
      const bool real = query < tokens;
      largest[query] = real ? head.statistics[2 * query] : 0.0f;
      inverse[query] = real ? head.statistics[2 * query + 1] : 0.0f;
      Floats sum = all(0.0f);
      for (int64_t i = 0; real && i < size; i += LANES) {
        sum = sum + F::widen(d_out + query * head.out_stride + i) * F::widen(out + query * head.out_stride + i);
      }
      delta[query] = sum_of(sum);
    }

    // Keys are rows here and queries are columns, which is the layout that sums over queries read.
    // The gradients of all scores are kept for the sum over keys, in packs of keys; LANES more per
    // row keep rows off the same cache lines.
    const int64_t width = padded + LANES, packs = padded / F::packed;
    Pack* all_d_scores = scratch.take<Pack>(packs * width);
    T *weights = scratch.take<T>(ROWS * padded), *d_scores = scratch.take<T>(ROWS * padded);
    float* undropped = scratch.take<float>(ROWS * COLUMNS);
    float ones[ROWS], scales[ROWS];
    for (int64_t r = 0; r < ROWS; r++) ones[r] = 1.0f, scales[r] = scale;
    for (int64_t key = 0; key < tokens; key += ROWS) {
      for (int64_t query = 0; query < padded; query += COLUMNS) {
        Floats sums[ROWS][2];
        multiply<F>(keys.left(key), keys.packs(), 1, queries_across + query, padded, keys.packs(), sums);
#pragma GCC unroll 2
        for (int64_t half = 0; half < 2; half++) {
          const int64_t column = query + half * LANES;
          const Floats most = load(largest + column), denominator = load(inverse + column);
#pragma GCC unroll 8
          for (int64_t r = 0; r < ROWS; r++) {
            const Floats score = sums[r][half] * (scale * LOG2_E) + mask[key + r];
            store(undropped + r * COLUMNS + half * LANES, power_of_two(score - most) * denominator);
          }
        }
        multiply<F>(values.left(key), values.packs(), 1, incoming_across + query, padded, values.packs(), sums);
#pragma GCC unroll 2
        for (int64_t half = 0; half < 2; half++) {
          const int64_t column = query + half * LANES;
          const Floats subtracted = load(delta + column);
          const Integers indices =
              (counting() + static_cast<uint32_t>(column)) * static_cast<uint32_t>(tokens) + head.first_weight;
#pragma GCC unroll 8
          for (int64_t r = 0; r < ROWS; r++) {
            const Floats weight = load(undropped + r * COLUMNS + half * LANES);
            Floats dropped = weight, d_weight = sums[r][half];
            if constexpr (drops) {
              const Floats factor = keep(head.dropout, indices + static_cast<uint32_t>(key + r));
              dropped = weight * factor, d_weight = d_weight * factor;
            }
            F::narrow(weights + r * padded + column, dropped);
            F::narrow(d_scores + r * padded + column, weight * (d_weight - subtracted));
          }
        }
      }
      write(reinterpret_cast<const Pack*>(weights), packs, 1, incoming_down, packs, ones, d_values, head.stride, key);
      write(reinterpret_cast<const Pack*>(d_scores), packs, 1, queries_down, packs, scales, d_keys, head.stride, key);
      for (int64_t r = 0; r < ROWS; r += F::packed) {
        F::pack_rows(d_scores + r * padded, padded, all_d_scores + (key + r) / F::packed * width);
      }
    }
    const int64_t summed = rounded_up(tokens, ROWS) / F::packed;
    for (int64_t query = 0; query < tokens; query += ROWS) {
      write(all_d_scores + query, 1, width, keys_down, summed, scales, d_queries, head.stride, query);
    }
  }
};

// Bytes of scratch memory, aligned to 64, that a head needs.
int64_t scratch(int64_t tokens, int64_t size) {
  // The backward pass in f32 needs the most: nine layouts of heads, the scores' gradients, a few
  // rows.
  const int64_t padded = rounded_up(tokens, COLUMNS);
  return sizeof(float) * (9 * padded * size + padded * (padded + LANES) + (2 * ROWS + 4) * padded + ROWS * COLUMNS) +
         20 * 64;
}

template <typename F, typename T = typename F::Element>
void attend(const Head<T>& head, T* out, void* scratch) {
  Attention<F> attention(head, scratch);
  head.dropout.threshold ? attention.template forward<true>(out) : attention.template forward<false>(out);
}

template <typename F, typename T = typename F::Element>
void attend_backward(const Head<T>& head, const T* out, const T* d_out, T* d_queries, T* d_keys, T* d_values,
                     void* scratch) {
  Attention<F> attention(head, scratch);
  head.dropout.threshold ? attention.template backward<true>(out, d_out, d_queries, d_keys, d_values)
                         : attention.template backward<false>(out, d_out, d_queries, d_keys, d_values);
}

template <typename F>
constexpr Tiles<typename F::Element> tiles() {
  return {COLUMNS, scratch, attend<F>, attend_backward<F>};
}

}  // namespace

#if defined(__AVX512F__)
const Tiles<float> avx512_tiles = tiles<F32>();
const Tiles<uint16_t> avx512_bfloat16_tiles = tiles<Bfloat16>();
#else
const Tiles<float> avx2_tiles = tiles<F32>();
#endif

}  // namespace spanwise
