// Softmax attention inside events whose objects lie end to end, for one dtype (see kernels.c).
//
// rows       objects of the batch; event e owns rows offsets[e] to offsets[e + 1]
// width      heads x dim; head h owns the channels h dim to (h + 1) dim
// pairs      every two objects i < j of an event once, in the order (0, 1), (0, 2), ..., (1, 2), ...
//
// Keys are transposed first, so that the inner loops run over keys without sums across lanes.
// Buffers belong to a thread. Events are short: a row of probabilities stays in registers.

// Most events have few objects: longer vectors would be filled with nothing.
enum { NAME(LANES) = 16 / sizeof(REAL) };

INLINE int64_t NAME(rounded_up)(int64_t n) {
  return (n + NAME(LANES) - 1) / NAME(LANES) * NAME(LANES);
}

INLINE int64_t NAME(pairs_of)(int64_t n) { return n * (n - 1) / 2; }

// Place of the pair of i and j in the list of an event with n objects.
INLINE int64_t NAME(pair)(int64_t i, int64_t j, int64_t n) {
  const int64_t low = i < j ? i : j, high = i < j ? j : i;
  return low * (2 * n - low - 1) / 2 + high - low - 1;
}

// scores (n) -> probabilities; what is behind the n scores, up to `slots`, becomes 0.
INLINE void NAME(softmax)(REAL *scores, int64_t n, int64_t slots) {
  REAL top = scores[0];
  for (int64_t j = 1; j < n; j++) top = scores[j] > top ? scores[j] : top;
  for (int64_t j = n; j < slots; j++) scores[j] = top;
  REAL sum = 0;
  for (int64_t j = 0; j < slots; j++) scores[j] = EXP(scores[j] - top);
  for (int64_t j = 0; j < n; j++) sum += scores[j];
  for (int64_t j = n; j < slots; j++) scores[j] = 0;
  const REAL inverse = 1 / sum;
  for (int64_t j = 0; j < slots; j++) scores[j] *= inverse;
}

// scores[j] = sum over d of query[d] keys[d][j], with `slots` keys to a row
INLINE void NAME(products)(const REAL *restrict query, const REAL *restrict keys, int64_t dim,
                           int64_t slots, REAL *restrict scores) {
  for (int64_t begin = 0; begin < slots; begin += NAME(LANES)) {
    REAL sum[NAME(LANES)] = {0};
    for (int64_t d = 0; d < dim; d++)
      for (int64_t lane = 0; lane < NAME(LANES); lane++)
        sum[lane] += query[d] * keys[d * slots + begin + lane];
    for (int64_t lane = 0; lane < NAME(LANES); lane++) scores[begin + lane] = sum[lane];
  }
}

// sum += factor row
INLINE void NAME(add)(REAL *restrict sum, REAL factor, const REAL *restrict row, int64_t dim) {
  for (int64_t d = 0; d < dim; d++) sum[d] += factor * row[d];
}

INLINE void NAME(read)(const STORED *restrict from, int64_t dim, REAL *restrict to) {
  for (int64_t d = 0; d < dim; d++) to[d] = LOAD(from[d]);
}

INLINE void NAME(write)(const REAL *restrict from, int64_t dim, STORED *restrict to) {
  for (int64_t d = 0; d < dim; d++) to[d] = SAVE(from[d]);
}

// to (dim, slots): row j of `from`, times `factor`, becomes column j; the other columns 0
INLINE void NAME(read_transposed)(const STORED *restrict from, int64_t stride, int64_t n,
                                  int64_t slots, int64_t dim, REAL factor, REAL *restrict to) {
  for (int64_t j = 0; j < n; j++)
    for (int64_t d = 0; d < dim; d++) to[d * slots + j] = LOAD(from[j * stride + d]) * factor;
  for (int64_t j = n; j < slots; j++)
    for (int64_t d = 0; d < dim; d++) to[d * slots + j] = 0;
}

INLINE void NAME(clear)(REAL *values, int64_t count) {
  memset(values, 0, (size_t)count * sizeof(REAL));  // all bits 0 is +0
}

INLINE void NAME(add_bias)(const STORED *bias, int64_t i, int64_t n, int64_t heads, int64_t h,
                           REAL *scores) {
  for (int64_t j = 0; j < n; j++)
    if (j != i) scores[j] += LOAD(bias[NAME(pair)(i, j, n) * heads + h]);
}

// factors[j] = 1 / (1 - p) where the weight is kept, 0 where it is dropped
INLINE void NAME(drop)(Dropout dropout, int64_t query, int64_t first, int64_t n, int64_t head,
                       REAL *factors) {
  const uint64_t threshold = (uint64_t)(dropout.probability * 4294967296.0);
  const REAL kept = (REAL)(1 / (1 - dropout.probability));
  for (int64_t j = 0; j < n; j++)
    factors[j] = keeps(dropout.seed, query, first + j, head, threshold) ? kept : 0;
}

INLINE bool NAME(attend_events)(const STORED *query_key_value, const int64_t *offsets,
                                const STORED *bias, const int64_t *pair_offsets, int64_t events,
                                int64_t heads, int64_t dim, Dropout dropout, STORED *attended) {
  const int64_t width = heads * dim;
  const REAL scale = (REAL)(1 / sqrt((double)dim));
  bool enough = true;
#pragma omp parallel reduction(&& : enough)
  {
    int64_t room = 0;  // objects that the buffers hold
    REAL *buffer = NULL;
#pragma omp for schedule(static)
    for (int64_t e = 0; e < events; e++) {
      const int64_t first = offsets[e], n = offsets[e + 1] - first;
      if (!n) continue;
      const int64_t slots = NAME(rounded_up)(n);
      if (slots > room) {
        free(buffer);
        buffer = malloc((size_t)(slots * (2 * dim + 2) + 2 * dim) * sizeof(REAL));
        room = buffer ? slots : 0;
      }
      enough = enough && buffer;
      if (!buffer) continue;
      REAL *const keys = buffer, *const values = keys + dim * slots;
      REAL *const weights = values + slots * dim, *const factors = weights + slots;
      REAL *const query = factors + slots, *const sum = query + dim;
      for (int64_t h = 0; h < heads; h++) {
        const STORED *const rows = query_key_value + first * 3 * width + h * dim;
        NAME(read_transposed)(rows + width, 3 * width, n, slots, dim, scale, keys);
        for (int64_t j = 0; j < n; j++)
          NAME(read)(rows + (j * 3 + 2) * width, dim, values + j * dim);
        for (int64_t i = 0; i < n; i++) {
          NAME(read)(rows + i * 3 * width, dim, query);
          NAME(products)(query, keys, dim, slots, weights);
          if (bias) NAME(add_bias)(bias + pair_offsets[e] * heads, i, n, heads, h, weights);
          NAME(softmax)(weights, n, slots);
          if (dropout.probability > 0) {
            NAME(drop)(dropout, first + i, first, n, h, factors);
            for (int64_t j = 0; j < n; j++) weights[j] *= factors[j];
          }
          NAME(clear)(sum, dim);
          for (int64_t j = 0; j < n; j++) NAME(add)(sum, weights[j], values + j * dim, dim);
          NAME(write)(sum, dim, attended + (first + i) * width + h * dim);
        }
      }
    }
    free(buffer);
  }
  return enough;
}

// With p = softmax(s), s = scale q.k + bias, o = (f p) v and a gradient g of o:
// dv = (f p)^T g, dp = f g v^T, ds = p (dp - p.dp), dq = scale ds k, dk = scale ds^T q, dbias = ds.
INLINE bool NAME(attend_events_backward)(const STORED *query_key_value, const STORED *gradient,
                                         const int64_t *offsets, const STORED *bias,
                                         const int64_t *pair_offsets, int64_t events,
                                         int64_t heads, int64_t dim, Dropout dropout,
                                         STORED *query_key_value_gradient,
                                         STORED *bias_gradient) {
  const int64_t width = heads * dim;
  const REAL scale = (REAL)(1 / sqrt((double)dim));
  bool enough = true;
#pragma omp parallel reduction(&& : enough)
  {
    int64_t room = 0;
    REAL *buffer = NULL;
#pragma omp for schedule(static)
    for (int64_t e = 0; e < events; e++) {
      const int64_t first = offsets[e], n = offsets[e + 1] - first;
      if (!n) continue;
      const int64_t slots = NAME(rounded_up)(n), pairs = NAME(pairs_of)(n);
      if (slots > room) {
        const int64_t per_object = 5 * dim + 3 + (bias ? heads * slots / 2 : 0);
        free(buffer);
        buffer = malloc((size_t)(slots * per_object + 3 * dim) * sizeof(REAL));
        room = buffer ? slots : 0;
      }
      enough = enough && buffer;
      if (!buffer) continue;
      REAL *const keys = buffer, *const values = keys + dim * slots;  // (dim, slots)
      REAL *const key_rows = values + dim * slots;                    // (slots, dim)
      REAL *const key_sums = key_rows + slots * dim, *const value_sums = key_sums + slots * dim;
      REAL *const weights = value_sums + slots * dim, *const slopes = weights + slots;
      REAL *const factors = slopes + slots, *const query = factors + slots;
      REAL *const out = query + dim, *const query_sum = out + dim;
      REAL *const bias_sums = query_sum + dim;  // (pairs, heads)
      if (bias) NAME(clear)(bias_sums, pairs * heads);
      for (int64_t h = 0; h < heads; h++) {
        const STORED *const rows = query_key_value + first * 3 * width + h * dim;
        STORED *const row_gradients = query_key_value_gradient + first * 3 * width + h * dim;
        NAME(read_transposed)(rows + width, 3 * width, n, slots, dim, scale, keys);
        NAME(read_transposed)(rows + 2 * width, 3 * width, n, slots, dim, 1, values);
        for (int64_t j = 0; j < n; j++)
          NAME(read)(rows + (j * 3 + 1) * width, dim, key_rows + j * dim);
        NAME(clear)(key_sums, n * dim);
        NAME(clear)(value_sums, n * dim);
        for (int64_t i = 0; i < n; i++) {
          NAME(read)(rows + i * 3 * width, dim, query);
          NAME(read)(gradient + (first + i) * width + h * dim, dim, out);
          NAME(products)(query, keys, dim, slots, weights);
          if (bias) NAME(add_bias)(bias + pair_offsets[e] * heads, i, n, heads, h, weights);
          NAME(softmax)(weights, n, slots);
          NAME(products)(out, values, dim, slots, slopes);
          if (dropout.probability > 0) {
            NAME(drop)(dropout, first + i, first, n, h, factors);
            for (int64_t j = 0; j < n; j++) slopes[j] *= factors[j];
          }
          REAL mean = 0;
          for (int64_t j = 0; j < n; j++) mean += weights[j] * slopes[j];
          for (int64_t j = 0; j < n; j++) slopes[j] = weights[j] * (slopes[j] - mean);
          if (bias)
            for (int64_t j = 0; j < n; j++)
              if (j != i) bias_sums[NAME(pair)(i, j, n) * heads + h] += slopes[j];
          if (dropout.probability > 0)
            for (int64_t j = 0; j < n; j++) weights[j] *= factors[j];
          NAME(clear)(query_sum, dim);
          for (int64_t j = 0; j < n; j++) {
            const REAL slope = slopes[j] * scale;
            NAME(add)(query_sum, slope, key_rows + j * dim, dim);
            NAME(add)(key_sums + j * dim, slope, query, dim);
            NAME(add)(value_sums + j * dim, weights[j], out, dim);
          }
          NAME(write)(query_sum, dim, row_gradients + i * 3 * width);
        }
        for (int64_t j = 0; j < n; j++) {
          NAME(write)(key_sums + j * dim, dim, row_gradients + (j * 3 + 1) * width);
          NAME(write)(value_sums + j * dim, dim, row_gradients + (j * 3 + 2) * width);
        }
      }
      if (bias)
        for (int64_t p = 0; p < pairs * heads; p++)
          bias_gradient[pair_offsets[e] * heads + p] = SAVE(bias_sums[p]);
    }
    free(buffer);
  }
  return enough;
}

// Class attention: the one query of an event asks the class token (key 0) and the objects.
INLINE bool NAME(attend_class)(const STORED *query, const STORED *class_key_value,
                               const STORED *key_value, const int64_t *offsets, int64_t events,
                               int64_t heads, int64_t dim, Dropout dropout, STORED *attended) {
  const int64_t width = heads * dim;
  const REAL scale = (REAL)(1 / sqrt((double)dim));
  bool enough = true;
#pragma omp parallel reduction(&& : enough)
  {
    int64_t room = 0;
    REAL *buffer = NULL;
#pragma omp for schedule(static)
    for (int64_t e = 0; e < events; e++) {
      const int64_t first = offsets[e], keys = offsets[e + 1] - first + 1;
      if (keys > room) {
        free(buffer);
        buffer = malloc((size_t)(2 * keys + 2 * dim) * sizeof(REAL));
        room = buffer ? keys : 0;
      }
      enough = enough && buffer;
      if (!buffer) continue;
      REAL *const weights = buffer, *const factors = weights + keys;
      REAL *const asked = factors + keys, *const sum = asked + dim;
      for (int64_t h = 0; h < heads; h++) {
        for (int64_t d = 0; d < dim; d++) asked[d] = LOAD(query[e * width + h * dim + d]) * scale;
        for (int64_t j = 0; j < keys; j++) {
          const STORED *const key =
              (j ? key_value + (first + j - 1) * 2 * width : class_key_value + e * 2 * width) +
              h * dim;
          REAL score = 0;
#pragma omp simd reduction(+ : score)
          for (int64_t d = 0; d < dim; d++) score += asked[d] * LOAD(key[d]);
          weights[j] = score;
        }
        NAME(softmax)(weights, keys, keys);
        if (dropout.probability > 0) {
          NAME(drop)(dropout, e, first + e, keys, h, factors);
          for (int64_t j = 0; j < keys; j++) weights[j] *= factors[j];
        }
        for (int64_t d = 0; d < dim; d++) sum[d] = 0;
        for (int64_t j = 0; j < keys; j++) {
          const STORED *const value =
              (j ? key_value + (first + j - 1) * 2 * width : class_key_value + e * 2 * width) +
              width + h * dim;
          for (int64_t d = 0; d < dim; d++) sum[d] += weights[j] * LOAD(value[d]);
        }
        for (int64_t d = 0; d < dim; d++) attended[e * width + h * dim + d] = SAVE(sum[d]);
      }
    }
    free(buffer);
  }
  return enough;
}

INLINE bool NAME(attend_class_backward)(const STORED *query, const STORED *class_key_value,
                                        const STORED *key_value, const STORED *gradient,
                                        const int64_t *offsets, int64_t events, int64_t heads,
                                        int64_t dim, Dropout dropout, STORED *query_gradient,
                                        STORED *class_key_value_gradient,
                                        STORED *key_value_gradient) {
  const int64_t width = heads * dim;
  const REAL scale = (REAL)(1 / sqrt((double)dim));
  bool enough = true;
#pragma omp parallel reduction(&& : enough)
  {
    int64_t room = 0;
    REAL *buffer = NULL;
#pragma omp for schedule(static)
    for (int64_t e = 0; e < events; e++) {
      const int64_t first = offsets[e], keys = offsets[e + 1] - first + 1;
      if (keys > room) {
        free(buffer);
        buffer = malloc((size_t)(3 * keys + 3 * dim) * sizeof(REAL));
        room = buffer ? keys : 0;
      }
      enough = enough && buffer;
      if (!buffer) continue;
      REAL *const weights = buffer, *const slopes = weights + keys;
      REAL *const factors = slopes + keys, *const asked = factors + keys;
      REAL *const out = asked + dim, *const query_sum = out + dim;
      for (int64_t h = 0; h < heads; h++) {
        for (int64_t d = 0; d < dim; d++) {
          asked[d] = LOAD(query[e * width + h * dim + d]) * scale;
          out[d] = LOAD(gradient[e * width + h * dim + d]);
          query_sum[d] = 0;
        }
        for (int64_t j = 0; j < keys; j++) {
          const STORED *const key =
              (j ? key_value + (first + j - 1) * 2 * width : class_key_value + e * 2 * width) +
              h * dim;
          REAL score = 0, slope = 0;
#pragma omp simd reduction(+ : score, slope)
          for (int64_t d = 0; d < dim; d++) {
            score += asked[d] * LOAD(key[d]);
            slope += out[d] * LOAD(key[width + d]);
          }
          weights[j] = score;
          slopes[j] = slope;
        }
        NAME(softmax)(weights, keys, keys);
        for (int64_t j = 0; j < keys; j++) factors[j] = 1;
        if (dropout.probability > 0) NAME(drop)(dropout, e, first + e, keys, h, factors);
        REAL mean = 0;
        for (int64_t j = 0; j < keys; j++) mean += weights[j] * factors[j] * slopes[j];
        for (int64_t j = 0; j < keys; j++) {
          const STORED *const key =
              (j ? key_value + (first + j - 1) * 2 * width : class_key_value + e * 2 * width) +
              h * dim;
          STORED *const target = (j ? key_value_gradient + (first + j - 1) * 2 * width
                                    : class_key_value_gradient + e * 2 * width) +
                                 h * dim;
          const REAL slope = weights[j] * (factors[j] * slopes[j] - mean);
          const REAL weight = weights[j] * factors[j];
          for (int64_t d = 0; d < dim; d++) {
            query_sum[d] += slope * LOAD(key[d]);
            target[d] = SAVE(slope * asked[d]);
            target[width + d] = SAVE(weight * out[d]);
          }
        }
        for (int64_t d = 0; d < dim; d++)
          query_gradient[e * width + h * dim + d] = SAVE(query_sum[d] * scale);
      }
    }
    free(buffer);
  }
  return enough;
}

// The entry points. The usual widths of a head are constants, of which the compiler makes use.

#define FOR_EVERY_DIM(call) \
  switch (dim) {            \
    case 8: return call(8); \
    case 16: return call(16); \
    case 32: return call(32); \
    case 64: return call(64); \
    default: return call(dim); \
  }

bool NAME(attend)(const STORED *query_key_value, const int64_t *offsets, const STORED *bias,
                  const int64_t *pair_offsets, int64_t events, int64_t heads, int64_t dim,
                  double probability, uint64_t seed, STORED *attended) {
  const Dropout dropout = {probability, seed};
#define CALL(d) \
  NAME(attend_events)(query_key_value, offsets, bias, pair_offsets, events, heads, d, dropout, \
                      attended)
  FOR_EVERY_DIM(CALL)
#undef CALL
}

bool NAME(attend_backward)(const STORED *query_key_value, const STORED *gradient,
                           const int64_t *offsets, const STORED *bias,
                           const int64_t *pair_offsets, int64_t events, int64_t heads, int64_t dim,
                           double probability, uint64_t seed, STORED *query_key_value_gradient,
                           STORED *bias_gradient) {
  const Dropout dropout = {probability, seed};
#define CALL(d) \
  NAME(attend_events_backward)(query_key_value, gradient, offsets, bias, pair_offsets, events, \
                               heads, d, dropout, query_key_value_gradient, bias_gradient)
  FOR_EVERY_DIM(CALL)
#undef CALL
}

bool NAME(attend_from_class)(const STORED *query, const STORED *class_key_value,
                             const STORED *key_value, const int64_t *offsets, int64_t events,
                             int64_t heads, int64_t dim, double probability, uint64_t seed,
                             STORED *attended) {
  const Dropout dropout = {probability, seed};
#define CALL(d) \
  NAME(attend_class)(query, class_key_value, key_value, offsets, events, heads, d, dropout, \
                     attended)
  FOR_EVERY_DIM(CALL)
#undef CALL
}

bool NAME(attend_from_class_backward)(const STORED *query, const STORED *class_key_value,
                                      const STORED *key_value, const STORED *gradient,
                                      const int64_t *offsets, int64_t events, int64_t heads,
                                      int64_t dim, double probability, uint64_t seed,
                                      STORED *query_gradient, STORED *class_key_value_gradient,
                                      STORED *key_value_gradient) {
  const Dropout dropout = {probability, seed};
#define CALL(d) \
  NAME(attend_class_backward)(query, class_key_value, key_value, gradient, offsets, events, heads, \
                              d, dropout, query_gradient, class_key_value_gradient, \
                              key_value_gradient)
  FOR_EVERY_DIM(CALL)
#undef CALL
}

#undef FOR_EVERY_DIM
