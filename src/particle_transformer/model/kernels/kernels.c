// The kernels for each dtype of tensors that PyTorch hands over; all arithmetic is in REAL.
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

// GCC and Clang; a constant argument of an inlined function is worth a kernel of its own.
#define INLINE static inline __attribute__((always_inline))

typedef struct {
  uint16_t bits;
} bfloat16;

INLINE float from_bfloat16(bfloat16 x) {
  const uint32_t bits = (uint32_t)x.bits << 16;
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

INLINE bfloat16 to_bfloat16(float x) {  // to the nearest, ties to even
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  const uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  return (bfloat16){(uint16_t)(isnan(x) ? 0x7fc0 : rounded)};
}

// e^x for x <= 0, of which compilers make vector code: 2^k e^r with |r| <= ln(2)/2, and the
// polynomial of Cephes' expf; 2 units in the last place, 0 below e^-87.
INLINE float exp_float(float x) {
  const float above = x < -87.0f ? -87.0f : x;
  const float k = rintf(above * 1.44269504f);
  const float r = above - k * 0.693359375f - k * -2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  const int32_t bits = ((int32_t)k + 127) << 23;
  float power;
  memcpy(&power, &bits, sizeof power);
  return x < -87.0f ? 0.0f : p * power;
}

// Whether a dropout of probability p = threshold / 2^32 keeps an attention weight: the hash of
// splitmix64, so that backward repeats what forward did and no mask is stored.
INLINE bool keeps(uint64_t seed, int64_t query, int64_t key, int64_t head, uint64_t threshold) {
  uint64_t x = seed + (uint64_t)query * 0x9e3779b97f4a7c15u + (uint64_t)key * 0xd1342543de82ef95u +
               (uint64_t)head * 0x2545f4914f6cdd1du;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return ((x ^ (x >> 31)) >> 32) >= threshold;
}

typedef struct {
  double probability;
  uint64_t seed;
} Dropout;

#define JOIN(a, b) a##_##b
#define EXPANDED(a, b) JOIN(a, b)
#define NAME(function) EXPANDED(function, SUFFIX)

#define SUFFIX float32
#define STORED float
#define REAL float
#define LOAD(x) (x)
#define SAVE(x) (x)
#define EXP exp_float
#include "attention.h"
#undef SUFFIX
#undef STORED
#undef LOAD
#undef SAVE

#define SUFFIX bfloat16
#define STORED bfloat16
#define LOAD from_bfloat16
#define SAVE to_bfloat16
#include "attention.h"
#undef SUFFIX
#undef STORED
#undef REAL
#undef LOAD
#undef SAVE
#undef EXP

#define SUFFIX float64
#define STORED double
#define REAL double
#define LOAD(x) (x)
#define SAVE(x) (x)
#define EXP exp
#include "attention.h"
