// Known answers without Python: test_kat kat_vectors.txt. For cross-compiled builds, run by an emulator.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

#include "fanin.h"

extern "C" {
int32_t fanin_backends(int32_t* isas);
int32_t fanin_fill(void* address, int64_t count, uint64_t start, const fanin::Plan* plan, uint64_t key, int32_t dtype,
                   int32_t threads, int32_t isa);
void fanin_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);
}

namespace {

int index_of(const std::string& word, const std::vector<std::string>& names) {
  for (size_t i = 0; i < names.size(); ++i)
    if (names[i] == word) return int(i);
  std::cerr << "unknown word " << word << "\n";
  std::exit(2);
}

uint32_t hex32(std::istream& in) {
  uint32_t word;
  in >> std::hex >> word >> std::dec;
  return word;
}

float bits(std::istream& in) {
  uint32_t word = hex32(in);
  float value;
  std::memcpy(&value, &word, 4);
  return value;
}

bool philox(std::istream& in) {
  int rounds;
  uint32_t counter[4], key[2], out[4];
  in >> rounds;
  for (auto& word : counter) word = hex32(in);
  for (auto& word : key) word = hex32(in);
  fanin_philox(counter, key, out);
  bool same = true;
  for (auto word : out) same &= word == hex32(in);
  return same;
}

bool fill(std::istream& in, int32_t isa) {
  fanin::Plan plan = {};
  std::string kind, skipped, dtype;
  in >> kind;
  plan.kind = index_of(kind, {"constant", "uniform", "normal", "truncated_normal"});
  for (int i = 0; i < 5; ++i) in >> skipped;
  uint64_t low = hex32(in), high = hex32(in), start, digest;
  int64_t count;
  in >> plan.clip >> plan.reach;
  for (float* number : {&plan.location, &plan.scale, &plan.low, &plan.high, &plan.step, &plan.inside, &plan.outside})
    *number = bits(in);
  in >> start >> dtype >> count >> std::hex >> digest;
  const int32_t code = index_of(dtype, {"float32", "float64", "float16", "bfloat16"});
  std::vector<unsigned char> out(size_t(count * fanin::size_of(code)));
  if (fanin_fill(out.data(), count, start, &plan, low | high << 32, code, 2, isa) != 0) return false;
  uint64_t found = 0xCBF29CE484222325;
  for (unsigned char byte : out) found = (found ^ byte) * 0x100000001B3;
  return found == digest;
}

}  // namespace

int main(int count, char** arguments) {
  std::ifstream table(count > 1 ? arguments[1] : "kat_vectors.txt");
  int32_t isas[4];
  const int32_t backends = fanin_backends(isas);
  int passed = 0, failed = 0;
  for (std::string line, kind; std::getline(table, line);) {
    for (int32_t i = 0; i < backends; ++i) {
      std::istringstream in(line);
      kind.clear();
      in >> kind;
      if (kind != "philox4x32" && kind != "fill") break;
      const bool good = kind == "fill" ? fill(in, isas[i]) : philox(in);
      ++(good ? passed : failed);
      if (!good) std::printf("backend %d differs: %s\n", int(isas[i]), line.c_str());
    }
  }
  std::printf("%d backends, %d passed, %d failed\n", int(backends), passed, failed);
  return failed > 0 || passed == 0;
}
