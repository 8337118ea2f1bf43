// Entry points of the fills: choosing the instruction set, threads, huge pages and stores past the caches.
#include <cfenv>
#include <cstring>
#include <initializer_list>

#include "convert.h"
#include "cpu.h"
#include "kernel.h"
#include "pool.h"

#if defined(__linux__)
#include <sys/mman.h>
#endif
#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#endif

namespace fanin {
namespace {

Fill table(int32_t isa) {
  switch (isa) {
    case SCALAR: return scalar_fill();
    case AVX2: return avx2_fill();
    case AVX512: return avx512_fill();
    case NEON: return neon_fill();
    default: return nullptr;
  }
}

bool supported(int32_t isa) { return table(isa) && runs(isa); }

int32_t best_isa() {
  static const int32_t chosen = supported(AVX512) ? AVX512 : supported(AVX2) ? AVX2 : supported(NEON) ? NEON : SCALAR;
  return chosen;
}

// Rounding to nearest with subnormals kept, whatever the calling thread has set (torch.set_flush_denormal).
class PlainArithmetic {
#if defined(__x86_64__) || defined(_M_X64)
  unsigned int saved = _mm_getcsr();

 public:
  PlainArithmetic() { if (saved != 0x1F80) _mm_setcsr(0x1F80); }
  ~PlainArithmetic() { if (saved != 0x1F80) _mm_setcsr(saved); }
#else
  std::fenv_t saved;

 public:
  PlainArithmetic() { std::fegetenv(&saved); std::fesetenv(FE_DFL_ENV); }
  ~PlainArithmetic() { std::fesetenv(&saved); }
#endif
};

constexpr int64_t HUGE_PAGE = int64_t(2) << 20;
constexpr int64_t CHUNK = int64_t(1) << 18;           // elements a thread takes at a time
constexpr int64_t HUGE_PAGES_FROM = int64_t(4) << 20;  // bytes from which page faults dominate a fresh tensor
constexpr int64_t STREAM_FROM = int64_t(16) << 20;     // bytes; smaller fills are better kept in the caches

// Fresh memory is bound by page faults; 2 MiB pages make 512 times fewer. A hint: it may fail, and nothing depends on it.
void ask_for_huge_pages(char* out, int64_t bytes) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  const uintptr_t first = (uintptr_t(out) + HUGE_PAGE - 1) & ~uintptr_t(HUGE_PAGE - 1);
  const uintptr_t last = (uintptr_t(out) + uintptr_t(bytes)) & ~uintptr_t(HUGE_PAGE - 1);
  if (last > first) madvise(reinterpret_cast<void*>(first), last - first, MADV_HUGEPAGE);
#else
  (void)out;
  (void)bytes;
#endif
}

void fill_constant(char* out, int64_t count, const Plan& plan, int32_t dtype) {
  char one[8];
  const float value = plan.location;
  const uint16_t half = dtype == FLOAT16 ? to_float16(value) : to_bfloat16(value);
  if (dtype == FLOAT64) std::memcpy(one, &plan.exact, 8);
  else if (dtype == FLOAT32) std::memcpy(one, &value, 4);
  else std::memcpy(one, &half, 2);
  const int64_t size = size_of(dtype);
  for (int64_t i = 0; i < count; ++i) std::memcpy(out + i * size, one, size_t(size));
}

}  // namespace
}  // namespace fanin

using namespace fanin;

// The instruction sets that this build holds and this processor runs, best first; returns how many.
FANIN_EXPORT int32_t fanin_backends(int32_t* isas) {
  int32_t found = 0;
  for (int32_t isa : {AVX512, AVX2, NEON, SCALAR})
    if (supported(isa)) isas[found++] = isa;
  return found;
}

// Elements start … start + count of the stream (key) under `plan`. isa: -1 for the best. Returns 0, or 1 where the
// instruction set is not available (nothing was written).
FANIN_EXPORT int32_t fanin_fill(void* address, int64_t count, uint64_t start, const Plan* plan, uint64_t key,
                                int32_t dtype, int32_t threads, int32_t isa) {
  if (isa < 0) isa = best_isa();
  else if (!supported(isa)) return 1;
  char* out = static_cast<char*>(address);
  const int64_t size = size_of(dtype);
  if (count * size >= HUGE_PAGES_FROM) ask_for_huge_pages(out, count * size);
  const Fill run = table(isa);
  const bool aligned = ((uintptr_t(out) - (start % (2 * TILE)) * 4) & 63) == 0;
  const int32_t stream = dtype == FLOAT32 && aligned && count * size >= STREAM_FROM;
  // Chunks end on tile borders, so that no tile is computed twice.
  const uint64_t first = start / CHUNK, chunks = count > 0 ? (start + uint64_t(count) - 1) / CHUNK - first + 1 : 0;
  auto body = [&](int64_t chunk) {
    PlainArithmetic scope;
    const uint64_t low = (first + uint64_t(chunk)) * CHUNK, high = low + CHUNK;
    const uint64_t from = low > start ? low : start, to = high < start + count ? high : start + count;
    char* place = out + int64_t(from - start) * size;
    if (plan->kind == CONSTANT) return fill_constant(place, int64_t(to - from), *plan, dtype);
    run({place, from, int64_t(to - from), plan, uint32_t(key), uint32_t(key >> 32), dtype, stream});
  };
  parallel(int64_t(chunks), threads, body);
  return 0;
}

// The same with its arguments packed into one block of bytes: converting eight one by one would take ctypes longer
// than filling a thousand elements.
FANIN_EXPORT int32_t fanin_fill_packed(const char* packed) {
  struct {
    uint64_t address, plan, key, start;
    int64_t count;
    int32_t dtype, threads, isa, unused;
  } call;
  std::memcpy(&call, packed, sizeof call);
  return fanin_fill(reinterpret_cast<void*>(uintptr_t(call.address)), call.count, call.start,
                    reinterpret_cast<const Plan*>(uintptr_t(call.plan)), call.key, call.dtype, call.threads, call.isa);
}

// `rows` runs of `count` elements each, `stride` apart in the stream and contiguous one after another in memory: the
// part of a matrix that a column-wise shard owns.
FANIN_EXPORT int32_t fanin_fill_rows(void* address, int64_t rows, int64_t count, uint64_t start, uint64_t stride,
                                     const Plan* plan, uint64_t key, int32_t dtype, int32_t threads, int32_t isa) {
  if (isa < 0) isa = best_isa();
  else if (!supported(isa)) return 1;
  const int64_t size = size_of(dtype), at_once = count >= CHUNK ? 1 : CHUNK / (count > 0 ? count : 1);
  if (rows * count * size >= HUGE_PAGES_FROM) ask_for_huge_pages(static_cast<char*>(address), rows * count * size);
  const Fill run = table(isa);
  auto body = [&](int64_t chunk) {
    PlainArithmetic scope;
    const int64_t last = (chunk + 1) * at_once < rows ? (chunk + 1) * at_once : rows;
    for (int64_t row = chunk * at_once; row < last; ++row) {
      char* place = static_cast<char*>(address) + row * count * size;
      if (plan->kind == CONSTANT) fill_constant(place, count, *plan, dtype);
      else run({place, start + uint64_t(row) * stride, count, plan, uint32_t(key), uint32_t(key >> 32), dtype, 0});
    }
  };
  parallel(count > 0 ? (rows + at_once - 1) / at_once : 0, threads, body);
  return 0;
}

// The Philox4x32-10 block function by itself, for the known-answer vectors.
FANIN_EXPORT void fanin_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]) {
  uint32_t c[4] = {counter[0], counter[1], counter[2], counter[3]};
  for (uint32_t turn = 0; turn < 10; ++turn) {
    const uint64_t p0 = PHILOX_M0 * c[0], p1 = PHILOX_M1 * c[2];
    c[0] = uint32_t(p1 >> 32) ^ c[1] ^ (key[0] + turn * PHILOX_W0);
    c[2] = uint32_t(p0 >> 32) ^ c[3] ^ (key[1] + turn * PHILOX_W1);
    c[1] = uint32_t(p1);
    c[3] = uint32_t(p0);
  }
  std::memcpy(out, c, 16);
}
