// Fills a run of elements with one instruction set; included once by each of scalar, avx2, avx512 and neon.cpp.
#pragma once

#include <cstring>

#include "transforms.h"

namespace fanin {

struct Job {
  char* out;       // where element `start` goes
  uint64_t start;  // index of the first element in the full tensor
  int64_t count;
  const Plan* plan;
  uint32_t k0, k1;
  int32_t dtype;
  int32_t stream;  // write past the caches
};

// V::REGISTERS decides how many values are in the making: four registers of them where 32 are at hand, else two.
// Two registers of blocks at once: V::WIDTH blocks from `block` on and as many from `block` + `apart` on, all in tiles
// whose elements go to `out` (the tile of `block`) and to `out` + `far` values.
template <class V, Kind KIND, Reach REACH, bool CLIP, class Store>
inline void blocks(char* out, int64_t far, uint64_t block, uint64_t apart, const Plan& plan, const Schedule& key) {
  using D = Twice<V>;
  const typename V::H low = V::wide(uint32_t(block)), next = V::wide(uint32_t(block + apart));
  Words<D> words = philox<D>({V::add_wide(low, V::even()), V::add_wide(next, V::even())},
                             {V::add_wide(low, V::odd()), V::add_wide(next, V::odd())}, uint32_t(block >> 32), key);
  typename D::F value[ROWS];
  if (KIND == UNIFORM) {
    uniform<D>(words, value, plan);
  } else if (KIND == NORMAL && V::REGISTERS == 32) {
    using Q = Twice<D>;
    typename Q::F even, odd;
    normal<Q>({words.row[0], words.row[2]}, {words.row[1], words.row[3]}, even, odd, plan);
    value[0] = even.a, value[1] = odd.a, value[2] = even.b, value[3] = odd.b;
  } else if (KIND == NORMAL) {
    for (int row = 0; row < ROWS; row += 2)
      normal<D>(words.row[row], words.row[row + 1], value[row], value[row + 1], plan);
  } else if (V::REGISTERS == 32) {
    using Q = Twice<D>;
    for (int row = 0; row < ROWS; row += 2) {
      typename Q::F both = truncated_normal<Q, REACH>({words.row[row], words.row[row + 1]}, plan);
      value[row] = both.a, value[row + 1] = both.b;
    }
  } else {
    for (int row = 0; row < ROWS; ++row) value[row] = truncated_normal<D, REACH>(words.row[row], plan);
  }
  for (int row = 0; row < ROWS; ++row) {
    if (CLIP) value[row] = D::min(D::set(plan.high), D::max(D::set(plan.low), value[row]));
    Store::put(out + row * ROW * Store::SIZE, value[row].a);
    Store::put(out + (row * ROW + far) * Store::SIZE, value[row].b);
  }
}

// A register as wide as a row takes two tiles at a time, a narrower one two parts of a row.
template <class V, Kind KIND, Reach REACH, bool CLIP, class Store>
inline void two_tiles(char* out, uint64_t tile, const Plan& plan, const Schedule& key) {
  if (V::WIDTH == ROW) return blocks<V, KIND, REACH, CLIP, Store>(out, TILE, tile * ROW, ROW, plan, key);
  for (int part = 0; part < 2 * ROW; part += 2 * V::WIDTH) {
    const int place = part / ROW * TILE + part % ROW;
    blocks<V, KIND, REACH, CLIP, Store>(out + place * Store::SIZE, V::WIDTH, tile * ROW + part, V::WIDTH, plan, key);
  }
}

template <class V, Kind KIND, Reach REACH, bool CLIP, class Store>
void run(const Job& job) {
  constexpr int64_t STEP = 2 * TILE;  // two tiles, the first one even, so that their blocks share the high word
  const Plan plan = *job.plan;
  const Schedule key(job.k0, job.k1);
  uint64_t index = job.start / STEP;
  int64_t skipped = int64_t(job.start % STEP), left = job.count;
  char* out = job.out;
  while (left > 0) {
    if (skipped == 0 && left >= STEP) {
      for (; left >= STEP; left -= STEP, out += STEP * Store::SIZE)
        two_tiles<V, KIND, REACH, CLIP, Store>(out, 2 * index++, plan, key);
    } else {
      alignas(64) char whole[STEP * 8];
      const int64_t taken = STEP - skipped < left ? STEP - skipped : left;
      two_tiles<V, KIND, REACH, CLIP, Store>(whole, 2 * index++, plan, key);
      std::memcpy(out, whole + skipped * Store::SIZE, size_t(taken * Store::SIZE));
      out += taken * Store::SIZE;
      left -= taken;
      skipped = 0;
    }
  }
}

template <class V>
struct StoreFloat32 {
  static constexpr int SIZE = 4;
  static inline void put(char* out, typename V::F value) { V::store(out, value); }
};
// For whole aligned tiles only: the caches stay free and nothing is read before it is overwritten.
template <class V>
struct StreamFloat32 {
  static constexpr int SIZE = 4;
  static inline void put(char* out, typename V::F value) { V::stream(out, value); }
};
template <class V>
struct StoreFloat64 {
  static constexpr int SIZE = 8;
  static inline void put(char* out, typename V::F value) { V::store_float64(out, value); }
};
template <class V>
struct StoreFloat16 {
  static constexpr int SIZE = 2;
  static inline void put(char* out, typename V::F value) { V::store_float16(out, value); }
};
template <class V>
struct StoreBfloat16 {
  static constexpr int SIZE = 2;
  static inline void put(char* out, typename V::F value) { V::store_bfloat16(out, value); }
};

template <class V, Kind KIND, Reach REACH, bool CLIP>
void run_dtype(const Job& job) {
  switch (job.dtype) {
    case FLOAT64: return run<V, KIND, REACH, CLIP, StoreFloat64<V>>(job);
    case FLOAT16: return run<V, KIND, REACH, CLIP, StoreFloat16<V>>(job);
    case BFLOAT16: return run<V, KIND, REACH, CLIP, StoreBfloat16<V>>(job);
    default:
      if (job.stream) {
        run<V, KIND, REACH, CLIP, StreamFloat32<V>>(job);
        V::fence();
      } else {
        run<V, KIND, REACH, CLIP, StoreFloat32<V>>(job);
      }
  }
}

template <class V>
void fill(const Job& job) {
  const Plan& plan = *job.plan;
  if (plan.kind == UNIFORM)
    return plan.clip ? run_dtype<V, UNIFORM, NARROW, true>(job) : run_dtype<V, UNIFORM, NARROW, false>(job);
  if (plan.kind == NORMAL) return run_dtype<V, NORMAL, NARROW, false>(job);
  if (plan.reach == NARROW) return run_dtype<V, TRUNCATED_NORMAL, NARROW, true>(job);
  if (plan.reach == CENTRAL) return run_dtype<V, TRUNCATED_NORMAL, CENTRAL, true>(job);
  return run_dtype<V, TRUNCATED_NORMAL, FAR, true>(job);
}

// The four tables of functions; one that this build lacks is null.
using Fill = void (*)(const Job&);
Fill scalar_fill();
Fill avx2_fill();
Fill avx512_fill();
Fill neon_fill();

}  // namespace fanin
