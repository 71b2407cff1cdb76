// The kernels for each dtype of tensors that PyTorch hands over; all arithmetic is in REAL.
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#ifdef _OPENMP
#include <omp.h>
#else
static inline int omp_get_max_threads(void) { return 1; }
static inline int omp_get_thread_num(void) { return 0; }
#endif

// GCC and Clang; a constant argument of an inlined function is worth a kernel of its own.
#define INLINE static inline __attribute__((always_inline))

// A vector has eight numbers whatever the processor: two cache lines of a row at most.
enum { LANES = 8 };

INLINE int64_t rounded_up(int64_t n) { return (n + LANES - 1) / LANES * LANES; }

// The lanes of two vectors, by number: 0 to 7 of the first, 8 to 15 of the second.
#if defined __clang__ || __GNUC__ >= 12
#define SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (LANE_NUMBERS){__VA_ARGS__})
#endif
typedef int32_t FloatLanes __attribute__((vector_size(LANES * 4)));
typedef int64_t DoubleLanes __attribute__((vector_size(LANES * 8)));

// The usual widths of a head are constants, of which the compiler makes use, at some seconds each.
#define USUAL_DIMS(call) \
  switch (dim) {         \
    case 8: return call(8); \
    case 16: return call(16); \
    case 32: return call(32); \
    default: return call(dim); \
  }
#define ANY_DIM(call) return call(dim);

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
// polynomial of Cephes' expf; 2 units in the last place, e^-87 (1.6e-38) below -87.
INLINE float exp_at_least(float x) {
  const float above = x < -87.0f ? -87.0f : x;
  // 1.5 2^23 leaves no bits behind the point: the sum's last bits are the nearest integer.
  const float shifted = above * 1.44269504f + 12582912.0f;
  const float k = shifted - 12582912.0f;
  const float r = above - k * 0.693359375f - k * -2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + r + 1.0f;
  uint32_t bits;
  memcpy(&bits, &shifted, sizeof bits);
  bits = (bits + 127) << 23;  // the exponent k + 127; what lies above is shifted out
  float power;
  memcpy(&power, &bits, sizeof power);
  return p * power;
}

INLINE float exp_float(float x) { return x < -87.0f ? 0.0f : exp_at_least(x); }

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

// P(X < x) and the density at x of a standard normal X.
typedef struct {
  float below, density;
} NormalFloat;
typedef struct {
  double below, density;
} NormalDouble;

// Abramowitz and Stegun 7.1.26: 1 - erf(z) = t (a1 + ... + a5 t^4) e^(-z^2), t = 1 / (1 + p z), to
// 1.5e-7; here z = |x| / sqrt(2).
INLINE NormalFloat normal_float(float x) {
  const float power = exp_at_least(-0.5f * x * x);
  const float t = 1.0f / (1.0f + 0.3275911f * 0.70710678f * fabsf(x));
  float p = 1.061405429f;
  p = p * t - 1.453152027f;
  p = p * t + 1.421413741f;
  p = p * t - 0.284496736f;
  p = p * t + 0.254829592f;
  const float beyond = 0.5f * p * t * power;  // P(X > |x|)
  return (NormalFloat){x < 0.0f ? beyond : 1.0f - beyond, 0.39894228f * power};
}

// P(X < x) alone, without an exponential: erf(z) = z P(z^2) / Q(z^2) for |z| < 4, the rational
// approximation of Eigen and XLA, to 5e-7.
INLINE float below_float(float x) {
  const float scaled = 0.70710678f * x;
  const float low = scaled < -4.0f ? -4.0f : scaled;
  const float z = low > 4.0f ? 4.0f : low;
  const float square = z * z;
  float p = -2.72614225801306e-10f;
  p = p * square + 2.77068142495902e-08f;
  p = p * square - 2.10102402082508e-06f;
  p = p * square - 5.69250639462346e-05f;
  p = p * square - 7.34990630326855e-04f;
  p = p * square - 2.95459980854025e-03f;
  p = p * square - 1.60960333262415e-02f;
  float q = -1.45660718464996e-05f;
  q = q * square - 2.13374055278905e-04f;
  q = q * square - 1.68282697438203e-03f;
  q = q * square - 7.37332916720468e-03f;
  q = q * square - 1.42647390514189e-02f;
  return 0.5f + 0.5f * z * p / q;
}

INLINE double below_double(double x) { return 0.5 * erfc(-x * 0.70710678118654752440); }

INLINE NormalDouble normal_double(double x) {
  return (NormalDouble){below_double(x), 0.39894228040143267794 * exp(-0.5 * x * x)};
}

// For dropout on rows: a key for each row of a batch, and a hash for each column (lowbias32, by
// C. Wellons), which compilers make vector code of.
INLINE uint32_t row_key(uint64_t seed, int64_t row) {
  uint64_t x = seed + (uint64_t)row * 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return (uint32_t)(x >> 32);
}

INLINE uint32_t column_hash(uint32_t key, uint32_t column) {
  uint32_t x = key + column * 0x9e3779b9u;
  x = (x ^ (x >> 16)) * 0x7feb352du;
  x = (x ^ (x >> 15)) * 0x846ca68bu;
  return x ^ (x >> 16);
}

// The BLAS's products; sizes lie in 64 bits, so that 32 bits are read rightly as well (on the
// little-endian processors that PyTorch supports).
typedef void (*Gemm)(const char *, const char *, const int64_t *, const int64_t *, const int64_t *,
                     const void *, const void *, const int64_t *, const void *, const int64_t *,
                     const void *, void *, const int64_t *);
static Gemm gemm_float32, gemm_bfloat16, gemm_float64;

int kernel_threads(void) { return omp_get_max_threads(); }

void use_blas(void *float32, void *bfloat16_, void *float64) {
  gemm_float32 = (Gemm)float32;
  gemm_bfloat16 = (Gemm)bfloat16_;
  gemm_float64 = (Gemm)float64;
}

#define JOIN(a, b) a##_##b
#define EXPANDED(a, b) JOIN(a, b)
#define NAME(function) EXPANDED(function, SUFFIX)

#define REAL float
#define EXP exp_float
#define SQRT sqrtf
#define NORMAL normal_float
#define BELOW below_float
#define Normal NormalFloat
#define LANE_NUMBERS FloatLanes
#define FOR_EVERY_DIM USUAL_DIMS

#define SUFFIX float32
#define GEMM gemm_float32
#define STORED float
#define LOAD(x) (x)
#define SAVE(x) (x)
#include "every_dtype.h"
#undef SUFFIX
#undef GEMM
#undef STORED
#undef LOAD
#undef SAVE

#define SUFFIX bfloat16
#define GEMM gemm_bfloat16
#define STORED bfloat16
#define LOAD from_bfloat16
#define SAVE to_bfloat16
#include "every_dtype.h"
#undef SUFFIX
#undef GEMM
#undef STORED
#undef LOAD
#undef SAVE

#undef REAL
#undef EXP
#undef SQRT
#undef NORMAL
#undef BELOW
#undef Normal
#undef LANE_NUMBERS
#undef FOR_EVERY_DIM
#define REAL double
#define EXP exp
#define SQRT sqrt
#define NORMAL normal_double
#define BELOW below_double
#define Normal NormalDouble
#define LANE_NUMBERS DoubleLanes
#define FOR_EVERY_DIM ANY_DIM

#define SUFFIX float64
#define GEMM gemm_float64
#define STORED double
#define LOAD(x) (x)
#define SAVE(x) (x)
#include "every_dtype.h"
