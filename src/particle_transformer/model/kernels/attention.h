// Softmax attention inside events whose objects lie end to end, for one dtype (see kernels.c).
//
// rows     objects of the batch; event e owns the rows offsets[e] to offsets[e + 1]
// width    heads x dim; head h owns the channels h dim to (h + 1) dim
// pairs    every two objects i < j of an event once, in the order (0, 1), (0, 2), ..., (1, 2), ...
//
// An event is copied into the thread's buffer, with each head padded to whole vectors, and stays in
// the first cache. The scores of key j lie as [query][head], so that softmax runs down the keys,
// with neighbouring queries and heads in the lanes of a vector and no sum across lanes.

// Where an event's numbers are in the buffer.
typedef struct {
  int64_t queries, keys, heads, dim;
  int64_t slots;  // dim, rounded up to whole vectors
  int64_t span;   // a row: heads x slots
  int64_t lanes;  // the scores of a key: queries x heads, each rounded up
  int64_t group;  // heads, rounded up
} NAME(Shape);

INLINE NAME(Shape) NAME(shape)(int64_t queries, int64_t keys, int64_t heads, int64_t dim) {
  const int64_t slots = rounded_up(dim), group = rounded_up(heads);
  return (NAME(Shape)){queries, keys, heads, dim, slots, group * slots, queries * group, group};
}

// Numbers that `rows` rows, `tables` tables of scores and their largest and sum take.
INLINE size_t NAME(room)(NAME(Shape) s, int64_t rows, int64_t tables) {
  return (size_t)(rows * s.span + tables * s.keys * s.lanes + 2 * s.lanes);
}

// to[j] = (from[j] + added) factor for each object, with padding to whole vectors and heads
INLINE void NAME(read_rows)(const STORED *restrict from, const REAL *restrict added, int64_t rows,
                            int64_t stride, REAL factor, NAME(Shape) s, REAL *restrict to) {
  for (int64_t j = 0; j < rows; j++, from += stride, to += s.span) {
    if (s.slots == s.dim && !added) {
      for (int64_t c = 0; c < s.heads * s.dim; c++) to[c] = LOAD(from[c]) * factor;
    } else if (s.slots == s.dim) {
      for (int64_t c = 0; c < s.heads * s.dim; c++) to[c] = (LOAD(from[c]) + added[c]) * factor;
    } else {
      for (int64_t h = 0; h < s.heads; h++) {
        for (int64_t d = 0; d < s.dim; d++) {
          const int64_t c = h * s.dim + d;
          to[h * s.slots + d] = (LOAD(from[c]) + (added ? added[c] : 0)) * factor;
        }
        for (int64_t d = s.dim; d < s.slots; d++) to[h * s.slots + d] = 0;
      }
    }
    for (int64_t c = s.heads * s.slots; c < s.span; c++) to[c] = 0;
  }
}

INLINE void NAME(write_row)(const REAL *restrict from, NAME(Shape) s, STORED *restrict to) {
  if (s.slots == s.dim) {
    for (int64_t c = 0; c < s.heads * s.dim; c++) to[c] = SAVE(from[c]);
    return;
  }
  for (int64_t h = 0; h < s.heads; h++)
    for (int64_t d = 0; d < s.dim; d++) to[h * s.dim + d] = SAVE(from[h * s.slots + d]);
}

// sums (width) += the rows
INLINE void NAME(add_to_sums)(const REAL *rows, int64_t n, NAME(Shape) s, REAL *restrict sums) {
  for (int64_t i = 0; i < n; i++)
    for (int64_t h = 0; h < s.heads; h++)
      for (int64_t d = 0; d < s.dim; d++)
        sums[h * s.dim + d] += rows[i * s.span + h * s.slots + d];
}

// The sums over the lanes of each of eight vectors.
INLINE NAME(Vector) NAME(sums)(const NAME(Vector) x[8]) {
#define FOLD1(a, b) \
  (SHUFFLE(a, b, 0, 8, 2, 10, 4, 12, 6, 14) + SHUFFLE(a, b, 1, 9, 3, 11, 5, 13, 7, 15))
#define FOLD2(a, b) \
  (SHUFFLE(a, b, 0, 1, 8, 9, 4, 5, 12, 13) + SHUFFLE(a, b, 2, 3, 10, 11, 6, 7, 14, 15))
#define FOLD4(a, b) \
  (SHUFFLE(a, b, 0, 1, 2, 3, 8, 9, 10, 11) + SHUFFLE(a, b, 4, 5, 6, 7, 12, 13, 14, 15))
  const NAME(Vector) a = FOLD1(x[0], x[1]), b = FOLD1(x[2], x[3]);
  const NAME(Vector) c = FOLD1(x[4], x[5]), d = FOLD1(x[6], x[7]);
  const NAME(Vector) low = FOLD2(a, b), high = FOLD2(c, d);
  return FOLD4(low, high);
#undef FOLD1
#undef FOLD2
#undef FOLD4
}

// table[j][i][h] = query_i . key_j for each head
INLINE void NAME(products)(const REAL *queries, const REAL *keys, NAME(Shape) s, REAL *table) {
  for (int64_t j = 0; j < s.keys; j++)
    for (int64_t i = 0; i < s.queries; i++)
      for (int64_t h = 0; h < s.group; h += LANES) {
        const NAME(Vector) *query = (const NAME(Vector) *)(queries + i * s.span + h * s.slots);
        const NAME(Vector) *key = (const NAME(Vector) *)(keys + j * s.span + h * s.slots);
        NAME(Vector) parts[LANES];
        for (int64_t lane = 0; lane < LANES; lane++) {
          const int64_t vectors = s.slots / LANES;
          NAME(Vector) part = query[lane * vectors] * key[lane * vectors];
          for (int64_t v = 1; v < vectors; v++)
            part += query[lane * vectors + v] * key[lane * vectors + v];
          parts[lane] = part;
        }
        *(NAME(Vector) *)(table + j * s.lanes + i * s.group + h) = NAME(sums)(parts);
      }
}

// sums[i] = factor x the sum over the `count` j of table[i stride_i + j stride_j][h] rows[j]
INLINE void NAME(weigh)(const REAL *table, int64_t rows_out, int64_t stride_i, int64_t count,
                        int64_t stride_j, const REAL *rows, NAME(Shape) s, REAL factor,
                        REAL *sums) {
  const int64_t vectors = s.slots / LANES;
  for (int64_t i = 0; i < rows_out; i++)
    for (int64_t h = 0; h < s.heads; h++)
      for (int64_t v = 0; v < vectors; v++) {
        const REAL *weight = table + i * stride_i + h;
        const NAME(Vector) *row = (const NAME(Vector) *)(rows + h * s.slots) + v;
        NAME(Vector) sum = {0};
        for (int64_t j = 0; j < count; j++)
          sum += weight[j * stride_j] * row[j * (s.span / LANES)];
        ((NAME(Vector) *)(sums + i * s.span + h * s.slots))[v] = sum * factor;
      }
}

// sums[query] = sum over the keys of weight x row of the key
INLINE void NAME(over_keys)(const REAL *table, const REAL *rows, NAME(Shape) s, REAL factor,
                            REAL *sums) {
  NAME(weigh)(table, s.queries, s.group, s.keys, s.lanes, rows, s, factor, sums);
}

// sums[key] = sum over the queries of weight x row of the query
INLINE void NAME(over_queries)(const REAL *table, const REAL *rows, NAME(Shape) s, REAL *sums) {
  NAME(weigh)(table, s.keys, s.lanes, s.queries, s.group, rows, s, 1, sums);
}

// Scores to probabilities, down the keys.
INLINE void NAME(softmax)(REAL *restrict table, NAME(Shape) s, REAL *restrict top,
                          REAL *restrict sum) {
  const int64_t n = s.keys, lanes = s.lanes;
  for (int64_t l = 0; l < lanes; l++) top[l] = table[l];
  for (int64_t j = 1; j < n; j++)
    for (int64_t l = 0; l < lanes; l++)
      top[l] = table[j * lanes + l] > top[l] ? table[j * lanes + l] : top[l];
  for (int64_t l = 0; l < lanes; l++) sum[l] = 0;
  for (int64_t j = 0; j < n; j++)
    for (int64_t l = 0; l < lanes; l++) {
      const REAL power = EXP(table[j * lanes + l] - top[l]);
      table[j * lanes + l] = power;
      sum[l] += power;
    }
  for (int64_t l = 0; l < lanes; l++) sum[l] = 1 / sum[l];
  for (int64_t j = 0; j < n; j++)
    for (int64_t l = 0; l < lanes; l++) table[j * lanes + l] *= sum[l];
}

INLINE void NAME(add_bias)(const STORED *bias, NAME(Shape) s, REAL *table) {
  for (int64_t i = 0; i < s.keys; i++)
    for (int64_t j = i + 1; j < s.keys; j++, bias += s.heads)
      for (int64_t h = 0; h < s.heads; h++) {
        table[j * s.lanes + i * s.group + h] += LOAD(bias[h]);
        table[i * s.lanes + j * s.group + h] += LOAD(bias[h]);
      }
}

// From slopes of the weights to slopes of the scores: p (dp - p.dp)
INLINE void NAME(softmax_backward)(const REAL *restrict table, NAME(Shape) s,
                                   REAL *restrict slopes, REAL *restrict sum) {
  for (int64_t l = 0; l < s.lanes; l++) sum[l] = 0;
  for (int64_t j = 0; j < s.keys; j++)
    for (int64_t l = 0; l < s.lanes; l++)
      sum[l] += table[j * s.lanes + l] * slopes[j * s.lanes + l];
  for (int64_t j = 0; j < s.keys; j++)
    for (int64_t l = 0; l < s.lanes; l++)
      slopes[j * s.lanes + l] = table[j * s.lanes + l] * (slopes[j * s.lanes + l] - sum[l]);
}

// 1 / (1 - p) for a weight that is kept, 0 for one that is dropped
INLINE REAL NAME(kept)(Dropout dropout, int64_t query, int64_t key, int64_t head) {
  const uint64_t threshold = (uint64_t)(dropout.probability * 4294967296.0);
  return keeps(dropout.seed, query, key, head, threshold)
             ? (REAL)(1 / (1 - dropout.probability))
             : 0;
}

// Weights of `first_query` and the queries behind it, and of `first_key` and the keys behind it.
INLINE void NAME(drop)(Dropout dropout, int64_t first_query, int64_t first_key, NAME(Shape) s,
                       REAL *table) {
  for (int64_t j = 0; j < s.keys; j++)
    for (int64_t i = 0; i < s.queries; i++)
      for (int64_t h = 0; h < s.heads; h++)
        table[j * s.lanes + i * s.group + h] *=
            NAME(kept)(dropout, first_query + i, first_key + j, h);
}

// Queries (scaled), keys and values of an event, from rows with all three.
INLINE void NAME(read_event)(const STORED *rows, const REAL *added, REAL scale, NAME(Shape) s,
                             REAL *query, REAL *key, REAL *value) {
  const int64_t width = s.heads * s.dim;
  NAME(read_rows)(rows, added, s.keys, 3 * width, scale, s, query);
  NAME(read_rows)(rows + width, added ? added + width : NULL, s.keys, 3 * width, 1, s, key);
  NAME(read_rows)(rows + 2 * width, added ? added + 2 * width : NULL, s.keys, 3 * width, 1, s, value);
}

// One event of n objects, whose rows begin at `rows`. `added` (3 width), where given, is added to
// each; `bias` is that of its pairs, or NULL; `first` numbers its rows in the batch, for the dropout.
INLINE bool NAME(attend_event_of)(NAME(Buffer) *buffer, const STORED *rows, const REAL *added,
                                  const STORED *bias, int64_t n, int64_t heads, int64_t dim,
                                  Dropout dropout, int64_t first, STORED *attended) {
  if (!n) return true;
  const NAME(Shape) s = NAME(shape)(n, n, heads, dim);
  REAL *const query = NAME(reserve)(buffer, NAME(room)(s, 3 * n, 1));
  if (!query) return false;
  REAL *const key = query + n * s.span, *const value = key + n * s.span;
  REAL *const table = value + n * s.span, *const top = table + n * s.lanes;
  NAME(read_event)(rows, added, (REAL)(1 / sqrt((double)dim)), s, query, key, value);
  NAME(products)(query, key, s, table);
  if (bias) NAME(add_bias)(bias, s, table);
  NAME(softmax)(table, s, top, top + s.lanes);
  if (dropout.probability > 0) NAME(drop)(dropout, first, first, s, table);
  NAME(over_keys)(table, value, s, 1, query);
  for (int64_t i = 0; i < n; i++)
    NAME(write_row)(query + i * s.span, s, attended + i * heads * dim);
  return true;
}

// With p = softmax(s), s = scale q.k + bias, o = (f p) v and a gradient g of o:
// dv = (f p)^T g, dp = f g v^T, ds = p (dp - p.dp), dq = scale ds k, dk = scale ds^T q, dbias = ds.
// `attended`, where given, gets o again; `sums` (3 width), where given, the sum over the rows of
// the gradient is added to.
INLINE bool NAME(attend_event_backward_of)(NAME(Buffer) *buffer, const STORED *rows,
                                           const REAL *added, const STORED *gradient,
                                           const STORED *bias, int64_t n, int64_t heads,
                                           int64_t dim, Dropout dropout, int64_t first,
                                           STORED *attended, STORED *row_gradients,
                                           STORED *bias_gradient, REAL *sums) {
  if (!n) return true;
  const int64_t width = heads * dim;
  const REAL scale = (REAL)(1 / sqrt((double)dim));
  const NAME(Shape) s = NAME(shape)(n, n, heads, dim);
  REAL *const query = NAME(reserve)(buffer, NAME(room)(s, 5 * n, 2));
  if (!query) return false;
  REAL *const key = query + n * s.span, *const value = key + n * s.span;
  REAL *const out = value + n * s.span, *const found = out + n * s.span;
  REAL *const table = found + n * s.span, *const slopes = table + n * s.lanes;
  REAL *const top = slopes + n * s.lanes, *const sum = top + s.lanes;
  NAME(read_event)(rows, added, scale, s, query, key, value);
  NAME(read_rows)(gradient, NULL, n, width, 1, s, out);
  NAME(products)(query, key, s, table);
  if (bias) NAME(add_bias)(bias, s, table);
  NAME(softmax)(table, s, top, sum);
  NAME(products)(out, value, s, slopes);
  if (dropout.probability > 0) NAME(drop)(dropout, first, first, s, slopes);
  NAME(softmax_backward)(table, s, slopes, sum);
  if (dropout.probability > 0) NAME(drop)(dropout, first, first, s, table);
  if (bias)
    for (int64_t i = 0; i < n; i++)
      for (int64_t j = i + 1; j < n; j++, bias_gradient += heads)
        for (int64_t h = 0; h < heads; h++)
          bias_gradient[h] = SAVE(slopes[j * s.lanes + i * s.group + h] +
                                  slopes[i * s.lanes + j * s.group + h]);
  if (attended) {
    NAME(over_keys)(table, value, s, 1, found);
    for (int64_t i = 0; i < n; i++) NAME(write_row)(found + i * s.span, s, attended + i * width);
  }
  // The gradients of query, key and value, one after the other.
  for (int64_t part = 0; part < 3; part++) {
    if (part == 0) NAME(over_keys)(slopes, key, s, scale, found);
    if (part == 1) NAME(over_queries)(slopes, query, s, found);
    if (part == 2) NAME(over_queries)(table, out, s, found);
    for (int64_t i = 0; i < n; i++)
      NAME(write_row)(found + i * s.span, s, row_gradients + (i * 3 + part) * width);
    if (sums) NAME(add_to_sums)(found, n, s, sums + part * width);
  }
  return true;
}

static bool NAME(attend_event)(NAME(Buffer) *buffer, const STORED *rows, const REAL *added,
                               const STORED *bias, int64_t n, int64_t heads, int64_t dim,
                               Dropout dropout, int64_t first, STORED *attended) {
#define CALL(d) \
  NAME(attend_event_of)(buffer, rows, added, bias, n, heads, d, dropout, first, attended)
  FOR_EVERY_DIM(CALL)
#undef CALL
}

static bool NAME(attend_event_backward)(NAME(Buffer) *buffer, const STORED *rows,
                                        const REAL *added, const STORED *gradient,
                                        const STORED *bias, int64_t n, int64_t heads, int64_t dim,
                                        Dropout dropout, int64_t first, STORED *attended,
                                        STORED *row_gradients, STORED *bias_gradient, REAL *sums) {
#define CALL(d) \
  NAME(attend_event_backward_of)(buffer, rows, added, gradient, bias, n, heads, d, dropout, first, \
                                 attended, row_gradients, bias_gradient, sums)
  FOR_EVERY_DIM(CALL)
#undef CALL
}

// Attention of all events of a batch, outside a branch.

bool NAME(attend)(const STORED *query_key_value, const int64_t *offsets, const STORED *bias,
                  const int64_t *pair_offsets, int64_t events, int64_t heads, int64_t dim,
                  double probability, uint64_t seed, STORED *attended) {
  const int64_t width = heads * dim;
  const Dropout dropout = {probability, seed};
  bool enough = true;
#pragma omp parallel reduction(&& : enough)
  {
    NAME(Buffer) buffer = {0};
#pragma omp for schedule(static)
    for (int64_t e = 0; e < events; e++) {
      const int64_t first = offsets[e];
      enough = NAME(attend_event)(&buffer, query_key_value + first * 3 * width, NULL,
                                  bias ? bias + pair_offsets[e] * heads : NULL,
                                  offsets[e + 1] - first, heads, dim, dropout, first,
                                  attended + first * width) && enough;
    }
    free(buffer.memory);
  }
  return enough;
}

bool NAME(attend_backward)(const STORED *query_key_value, const STORED *gradient,
                           const int64_t *offsets, const STORED *bias,
                           const int64_t *pair_offsets, int64_t events, int64_t heads, int64_t dim,
                           double probability, uint64_t seed, STORED *query_key_value_gradient,
                           STORED *bias_gradient) {
  const int64_t width = heads * dim;
  const Dropout dropout = {probability, seed};
  bool enough = true;
#pragma omp parallel reduction(&& : enough)
  {
    NAME(Buffer) buffer = {0};
#pragma omp for schedule(static)
    for (int64_t e = 0; e < events; e++) {
      const int64_t first = offsets[e], pair = bias ? pair_offsets[e] * heads : 0;
      enough = NAME(attend_event_backward)(
                   &buffer, query_key_value + first * 3 * width, NULL, gradient + first * width,
                   bias ? bias + pair : NULL, offsets[e + 1] - first, heads, dim, dropout, first,
                   NULL, query_key_value_gradient + first * 3 * width,
                   bias ? bias_gradient + pair : NULL, NULL) && enough;
    }
    free(buffer.memory);
  }
  return enough;
}
