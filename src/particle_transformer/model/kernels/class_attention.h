// Class attention: the one query of an event asks the class token (key 0) and the objects of its
// event. Names and layouts are those of attention.h; `added` (2 width) is for the objects.

// Keys and values of an event: those of its class token, then those of its objects.
INLINE void NAME(read_class_event)(const STORED *class_row, const STORED *rows, const REAL *added,
                                   NAME(Shape) s, REAL *key, REAL *value) {
  const int64_t width = s.heads * s.dim;
  NAME(read_rows)(class_row, NULL, 1, 2 * width, 1, s, key);
  NAME(read_rows)(class_row + width, NULL, 1, 2 * width, 1, s, value);
  const int64_t n = s.keys - 1;
  NAME(read_rows)(rows, added, n, 2 * width, 1, s, key + s.span);
  NAME(read_rows)(rows + width, added ? added + width : NULL, n, 2 * width, 1, s, value + s.span);
}

INLINE bool NAME(attend_class_event_of)(NAME(Buffer) *buffer, const STORED *query_row,
                                        const STORED *class_row, const STORED *rows,
                                        const REAL *added, int64_t n, int64_t heads, int64_t dim,
                                        Dropout dropout, int64_t event, int64_t first,
                                        STORED *attended) {
  const int64_t keys = n + 1;
  const NAME(Shape) s = NAME(shape)(1, keys, heads, dim);
  REAL *const query = NAME(reserve)(buffer, NAME(room)(s, 2 + 2 * keys, 1));
  if (!query) return false;
  REAL *const found = query + s.span, *const key = found + s.span;
  REAL *const value = key + keys * s.span, *const table = value + keys * s.span;
  REAL *const top = table + keys * s.lanes;
  NAME(read_rows)(query_row, NULL, 1, heads * dim, (REAL)(1 / sqrt((double)dim)), s, query);
  NAME(read_class_event)(class_row, rows, added, s, key, value);
  NAME(products)(query, key, s, table);
  NAME(softmax)(table, s, top, top + s.lanes);
  if (dropout.probability > 0) NAME(drop)(dropout, event, first, s, table);
  NAME(over_keys)(table, value, s, 1, found);
  NAME(write_row)(found, s, attended);
  return true;
}

INLINE bool NAME(attend_class_event_backward_of)(
    NAME(Buffer) *buffer, const STORED *query_row, const STORED *class_row, const STORED *rows,
    const REAL *added, const STORED *gradient, int64_t n, int64_t heads, int64_t dim,
    Dropout dropout, int64_t event, int64_t first, STORED *query_gradient,
    STORED *class_gradient, STORED *row_gradients, REAL *sums) {
  const int64_t width = heads * dim, keys = n + 1;
  const REAL scale = (REAL)(1 / sqrt((double)dim));
  const NAME(Shape) s = NAME(shape)(1, keys, heads, dim);
  REAL *const query = NAME(reserve)(buffer, NAME(room)(s, 2 + 3 * keys, 2));
  if (!query) return false;
  REAL *const out = query + s.span, *const key = out + s.span;
  REAL *const value = key + keys * s.span, *const found = value + keys * s.span;
  REAL *const table = found + keys * s.span, *const slopes = table + keys * s.lanes;
  REAL *const top = slopes + keys * s.lanes, *const sum = top + s.lanes;
  NAME(read_rows)(query_row, NULL, 1, width, scale, s, query);
  NAME(read_rows)(gradient, NULL, 1, width, 1, s, out);
  NAME(read_class_event)(class_row, rows, added, s, key, value);
  NAME(products)(query, key, s, table);
  NAME(softmax)(table, s, top, sum);
  NAME(products)(out, value, s, slopes);
  if (dropout.probability > 0) NAME(drop)(dropout, event, first, s, slopes);
  NAME(softmax_backward)(table, s, slopes, sum);
  if (dropout.probability > 0) NAME(drop)(dropout, event, first, s, table);
  NAME(over_keys)(slopes, key, s, scale, found);
  NAME(write_row)(found, s, query_gradient);
  for (int64_t part = 0; part < 2; part++) {  // key, value
    if (part == 0) NAME(over_queries)(slopes, query, s, found);
    if (part == 1) NAME(over_queries)(table, out, s, found);
    NAME(write_row)(found, s, class_gradient + part * width);
    for (int64_t j = 1; j < keys; j++)
      NAME(write_row)(found + j * s.span, s, row_gradients + ((j - 1) * 2 + part) * width);
    if (sums) NAME(add_to_sums)(found + s.span, n, s, sums + part * width);
  }
  return true;
}

static bool NAME(attend_class_event)(NAME(Buffer) *buffer, const STORED *query_row,
                                     const STORED *class_row, const STORED *rows,
                                     const REAL *added, int64_t n, int64_t heads, int64_t dim,
                                     Dropout dropout, int64_t event, int64_t first,
                                     STORED *attended) {
#define CALL(d) \
  NAME(attend_class_event_of)(buffer, query_row, class_row, rows, added, n, heads, d, dropout, \
                              event, first, attended)
  FOR_EVERY_DIM(CALL)
#undef CALL
}

static bool NAME(attend_class_event_backward)(
    NAME(Buffer) *buffer, const STORED *query_row, const STORED *class_row, const STORED *rows,
    const REAL *added, const STORED *gradient, int64_t n, int64_t heads, int64_t dim,
    Dropout dropout, int64_t event, int64_t first, STORED *query_gradient,
    STORED *class_gradient, STORED *row_gradients, REAL *sums) {
#define CALL(d) \
  NAME(attend_class_event_backward_of)(buffer, query_row, class_row, rows, added, gradient, n, \
                                       heads, d, dropout, event, first, query_gradient, \
                                       class_gradient, row_gradients, sums)
  FOR_EVERY_DIM(CALL)
#undef CALL
}

// Class attention of all events of a batch, outside a branch.

bool NAME(attend_from_class)(const STORED *query, const STORED *class_key_value,
                             const STORED *key_value, const int64_t *offsets, int64_t events,
                             int64_t heads, int64_t dim, double probability, uint64_t seed,
                             STORED *attended) {
  const int64_t width = heads * dim;
  const Dropout dropout = {probability, seed};
  bool enough = true;
#pragma omp parallel reduction(&& : enough)
  {
    NAME(Buffer) buffer = {0};
#pragma omp for schedule(static)
    for (int64_t e = 0; e < events; e++)
      enough = NAME(attend_class_event)(
                   &buffer, query + e * width, class_key_value + e * 2 * width,
                   key_value + offsets[e] * 2 * width, NULL, offsets[e + 1] - offsets[e], heads,
                   dim, dropout, e, offsets[e], attended + e * width) && enough;
    free(buffer.memory);
  }
  return enough;
}

bool NAME(attend_from_class_backward)(const STORED *query, const STORED *class_key_value,
                                      const STORED *key_value, const STORED *gradient,
                                      const int64_t *offsets, int64_t events, int64_t heads,
                                      int64_t dim, double probability, uint64_t seed,
                                      STORED *query_gradient, STORED *class_key_value_gradient,
                                      STORED *key_value_gradient) {
  const int64_t width = heads * dim;
  const Dropout dropout = {probability, seed};
  bool enough = true;
#pragma omp parallel reduction(&& : enough)
  {
    NAME(Buffer) buffer = {0};
#pragma omp for schedule(static)
    for (int64_t e = 0; e < events; e++)
      enough = NAME(attend_class_event_backward)(
                   &buffer, query + e * width, class_key_value + e * 2 * width,
                   key_value + offsets[e] * 2 * width, NULL, gradient + e * width,
                   offsets[e + 1] - offsets[e], heads, dim, dropout, e, offsets[e],
                   query_gradient + e * width, class_key_value_gradient + e * 2 * width,
                   key_value_gradient + offsets[e] * 2 * width, NULL) && enough;
    free(buffer.memory);
  }
  return enough;
}
