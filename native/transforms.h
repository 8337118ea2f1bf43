// Philox4x32-10 and the transforms, written once for every instruction set.
//
// V supplies the registers: F (floats), I (32-bit integers), H (64-bit lanes that each hold one 32-bit word), WIDTH
// floats per register, and the operations used below, each correctly rounded. The order of operations is the one of
// src/fanin/keys/_transforms.py and is part of the format: same key, same bits, everywhere.
#pragma once

#include <cstdint>

#include "coefficients.h"
#include "fanin.h"

namespace fanin {

constexpr int ROW = 16, ROWS = 4, TILE = ROW * ROWS;

constexpr uint64_t PHILOX_M0 = 0xD2511F53, PHILOX_M1 = 0xCD9E8D57;
constexpr uint32_t PHILOX_W0 = 0x9E3779B9, PHILOX_W1 = 0xBB67AE85;

// Two sets of registers as one: independent instructions between the dependent ones keep the units busy.
template <class V>
struct Twice {
  template <class T>
  struct Pair {
    T a, b;
  };
  using F = Pair<typename V::F>;
  using I = Pair<typename V::I>;
  using H = Pair<typename V::H>;
  using M = Pair<typename V::M>;

#define FANIN_TWICE_1(R, NAME, A) \
  static inline R NAME(A x) { return {V::NAME(x.a), V::NAME(x.b)}; }
#define FANIN_TWICE_2(R, NAME, A, B) \
  static inline R NAME(A x, B y) { return {V::NAME(x.a, y.a), V::NAME(x.b, y.b)}; }
#define FANIN_TWICE_3(R, NAME, A, B, C) \
  static inline R NAME(A x, B y, C z) { return {V::NAME(x.a, y.a, z.a), V::NAME(x.b, y.b, z.b)}; }
  FANIN_TWICE_1(H, high_half, H)
  FANIN_TWICE_2(H, mul_wide, H, H)
  FANIN_TWICE_2(H, add_wide, H, H)
  FANIN_TWICE_2(H, xor_wide, H, H)
  FANIN_TWICE_3(H, xor3_wide, H, H, H)
  FANIN_TWICE_2(I, merge, H, H)
  FANIN_TWICE_2(F, add, F, F)
  FANIN_TWICE_2(F, sub, F, F)
  FANIN_TWICE_2(F, mul, F, F)
  FANIN_TWICE_2(F, div, F, F)
  FANIN_TWICE_3(F, fma, F, F, F)
  FANIN_TWICE_1(F, sqrt, F)
  FANIN_TWICE_2(F, min, F, F)
  FANIN_TWICE_2(F, max, F, F)
  FANIN_TWICE_1(F, from_int, I)
  FANIN_TWICE_1(F, from_unsigned, I)
  FANIN_TWICE_1(F, exponent, F)
  FANIN_TWICE_1(F, mantissa, F)
  FANIN_TWICE_1(F, as_float, I)
  FANIN_TWICE_2(I, and_int, I, I)
  FANIN_TWICE_1(I, flip_magnitude, I)
  FANIN_TWICE_1(M, bit30, I)
  FANIN_TWICE_2(M, at_least, F, F)
  FANIN_TWICE_3(F, choose, M, F, F)
  FANIN_TWICE_2(F, flip_sign, F, I)
#undef FANIN_TWICE_1
#undef FANIN_TWICE_2
#undef FANIN_TWICE_3
  static inline I low_23_or(I x, uint32_t high) { return {V::low_23_or(x.a, high), V::low_23_or(x.b, high)}; }
  static inline bool any(M mask) { return V::any(mask.a) || V::any(mask.b); }
  static inline F set(float value) { return {V::set(value), V::set(value)}; }
  static inline I set_int(uint32_t value) { return {V::set_int(value), V::set_int(value)}; }
  static inline H wide(uint64_t value) { return {V::wide(value), V::wide(value)}; }
};

template <class V>
struct Words {
  typename V::I row[ROWS];
};

// The round keys, and what rounds 1 and 2 make of a counter (low, high, 0, 0): half of their products are the same
// for all blocks that share the high word.
namespace {  // a copy for each instruction set: never shared with code compiled for another

struct Schedule {
  uint64_t k0[10], k1[10];

  Schedule(uint32_t first, uint32_t second) {
    for (uint32_t turn = 0; turn < 10; ++turn) {
      k0[turn] = uint32_t(first + turn * PHILOX_W0);
      k1[turn] = uint32_t(second + turn * PHILOX_W1);
    }
  }
};

}  // namespace

// Blocks whose words sit in 64-bit lanes; what is above bit 31 is never read.
template <class V>
struct Lanes {
  typename V::H c0, c1, c2, c3;

  inline void begin(typename V::H low, uint32_t high, const Schedule& key) {
    const uint64_t shared = PHILOX_M0 * uint64_t(high ^ uint32_t(key.k0[0]));
    c2 = V::xor_wide(V::high_half(V::mul_wide(low, V::wide(PHILOX_M0))), V::wide(key.k1[0]));
    c3 = V::mul_wide(low, V::wide(PHILOX_M0));
    c1 = V::mul_wide(c2, V::wide(PHILOX_M1));
    c0 = V::xor_wide(V::high_half(c1), V::wide(key.k0[1]));
    c2 = V::xor_wide(c3, V::wide((shared >> 32) ^ key.k1[1]));
    c3 = V::wide(shared & 0xFFFFFFFF);
  }

  inline void round(uint64_t k0, uint64_t k1) {
    typename V::H p0 = V::mul_wide(c0, V::wide(PHILOX_M0)), p1 = V::mul_wide(c2, V::wide(PHILOX_M1));
    c0 = V::xor3_wide(V::high_half(p1), c1, V::wide(k0));
    c2 = V::xor3_wide(V::high_half(p0), c3, V::wide(k1));
    c1 = p1;
    c3 = p0;
  }
};

// The words of the blocks at the lanes' counters; all of them share the high word of the counter.
template <class V>
inline Words<V> philox(typename V::H even_low, typename V::H odd_low, uint32_t high, const Schedule& key) {
  Lanes<V> even, odd;
  even.begin(even_low, high, key);
  odd.begin(odd_low, high, key);
#pragma GCC unroll 8
  for (uint32_t turn = 2; turn < 10; ++turn) {
    even.round(key.k0[turn], key.k1[turn]);
    odd.round(key.k0[turn], key.k1[turn]);
  }
  return {{V::merge(even.c0, odd.c0), V::merge(even.c1, odd.c1), V::merge(even.c2, odd.c2),
           V::merge(even.c3, odd.c3)}};
}

template <class V, int N>
inline typename V::F horner(const float (&coefficients)[N], typename V::F x) {
  typename V::F value = V::set(coefficients[N - 1]);
#pragma GCC unroll 16
  for (int k = N - 2; k >= 0; --k) value = V::fma(value, x, V::set(coefficients[k]));
  return value;
}

// added - 2 log(doubled / 2).
template <class V>
inline typename V::F minus_2_log_of_half(typename V::F doubled, float added) {
  typename V::F e = V::exponent(doubled), f = V::sub(V::mantissa(doubled), V::set(1.0f));
  typename V::F log = horner<V>(LOG, f);
  return V::fma(e, V::set(MINUS_2_LN2), added == 0 ? V::mul(f, log) : V::fma(f, log, V::set(added)));
}

template <class V>
inline void uniform(const Words<V>& words, typename V::F value[ROWS], const Plan& plan) {
  const typename V::F step = V::set(plan.step), location = V::set(plan.location);
  for (int row = 0; row < ROWS; ++row)
    value[row] = V::fma(V::from_int(V::and_int(words.row[row], V::set_int(0xFFFFFF))), step, location);
}

// Rows `row` and `row` + 1 of `value` from the words of the same rows.
template <class V>
inline void normal(typename V::I first, typename V::I second, typename V::F& even, typename V::F& odd,
                   const Plan& plan) {
  const typename V::F location = V::set(plan.location);
  typename V::F doubled = V::fma(V::from_unsigned(first), V::set(0x1.fffffep-32f), V::set(0x1p-32f));
  typename V::F radius = V::mul(V::sqrt(minus_2_log_of_half<V>(doubled, 0)), V::set(plan.scale));
  typename V::F y = V::sub(V::as_float(V::low_23_or(second, 0x40000000)), V::set(3.0f));
  typename V::F square = V::mul(y, y);
  typename V::F sine = V::mul(y, horner<V>(SIN, square));
  typename V::F cosine = V::flip_sign(V::fma(square, horner<V>(COS, square), V::set(1.0f)), second);
  typename V::M swap = V::bit30(second);
  even = V::fma(radius, V::choose(swap, sine, cosine), location);
  odd = V::fma(radius, V::choose(swap, cosine, sine), location);
}

template <class V, Reach REACH>
inline typename V::F truncated_normal(typename V::I word, const Plan& plan) {
  const typename V::F location = V::set(plan.location);
  typename V::F place = V::from_int(word);
  typename V::F from_bound = V::from_int(V::flip_magnitude(word));
  typename V::F q = V::fma(from_bound, V::set(plan.step), V::set(plan.outside));
  typename V::F doubled = V::mul(q, V::fma(q, V::set(-0.5f), V::set(2.0f)));
  typename V::F p = V::mul(place, V::set(plan.inside));
  if (REACH == NARROW)
    return V::fma(p, V::div(horner<V>(NARROW_ABOVE, doubled), horner<V>(NARROW_BELOW, doubled)), location);
  typename V::F t = minus_2_log_of_half<V>(doubled, -CENTRE_AT);
  typename V::F value = V::fma(p, horner<V>(CENTRE, t), location);
  if (REACH == FAR) {
    typename V::M tail = V::at_least(t, V::set(CENTRE_AT));
    if (V::any(tail)) {
      typename V::F s = V::sub(V::sqrt(V::add(t, V::set(CENTRE_AT))), V::set(TAIL_AT));
      typename V::F z = V::flip_sign(horner<V>(TAIL, s), word);
      value = V::choose(tail, V::fma(V::set(plan.scale), z, location), value);
    }
  }
  return value;
}

}  // namespace fanin
