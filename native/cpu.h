// What this processor and its operating system can run.
#pragma once

#include "fanin.h"

#if (defined(__x86_64__) || defined(_M_X64)) && (defined(__GNUC__) || defined(__clang__))
#include <cpuid.h>

namespace fanin {

static inline bool runs(int32_t isa) {
  __builtin_cpu_init();
  if (isa == AVX512)
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  if (isa == AVX2) {
    static const bool half = [] {  // asked once: on a virtual machine the instruction takes microseconds
      unsigned a, b, c = 0, d;     // f16c, bit 29 of ecx in leaf 1, has no name in some compilers' cpu_supports
      return __get_cpuid(1, &a, &b, &c, &d) && ((c >> 29) & 1);
    }();
    return half && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  }
  return isa == SCALAR;
}

}  // namespace fanin
#else
namespace fanin {

static inline bool runs(int32_t isa) { return isa == SCALAR || isa == NEON; }

}  // namespace fanin
#endif
