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

INLINE bool NAME(attend_class)(const STORED *query_rows, const STORED *class_key_value,
                               const STORED *key_value, const REAL *added, const int64_t *offsets,
                               int64_t events, int64_t heads, int64_t dim, Dropout dropout,
                               STORED *attended) {
  const int64_t width = heads * dim;
  const REAL scale = (REAL)(1 / sqrt((double)dim));
  bool enough = true;
#pragma omp parallel reduction(&& : enough)
  {
    NAME(Buffer) buffer = {0};
#pragma omp for schedule(static)
    for (int64_t e = 0; e < events; e++) {
      const int64_t first = offsets[e] - offsets[0], keys = offsets[e + 1] - offsets[e] + 1;
      const NAME(Shape) s = NAME(shape)(1, keys, heads, dim);
      REAL *const query = NAME(reserve)(&buffer, NAME(room)(s, 2 + 2 * keys, 1));
      enough = enough && query;
      if (!query) continue;
      REAL *const found = query + s.span, *const key = found + s.span;
      REAL *const value = key + keys * s.span, *const table = value + keys * s.span;
      REAL *const top = table + keys * s.lanes, *const sum = top + s.lanes;
      NAME(read_rows)(query_rows + e * width, NULL, 1, width, scale, s, query);
      NAME(read_class_event)(class_key_value + e * 2 * width, key_value + first * 2 * width, added,
                             s, key, value);
      NAME(products)(query, key, s, table);
      NAME(softmax)(table, s, top, sum);
      if (dropout.probability > 0) NAME(drop)(dropout, e, offsets[e], s, table);
      NAME(over_keys)(table, value, s, 1, found);
      NAME(write_row)(found, s, attended + e * width);
    }
    free(buffer.memory);
  }
  return enough;
}

INLINE bool NAME(attend_class_backward)(const STORED *query_rows, const STORED *class_key_value,
                                        const STORED *key_value, const REAL *added,
                                        const STORED *gradient, const int64_t *offsets,
                                        int64_t events, int64_t heads, int64_t dim,
                                        Dropout dropout, STORED *query_gradient,
                                        STORED *class_key_value_gradient,
                                        STORED *key_value_gradient, REAL *sums) {
  const int64_t width = heads * dim;
  const REAL scale = (REAL)(1 / sqrt((double)dim));
  NAME(Sums) partial = NAME(begin_sums)(sums ? 2 * width : 0);
  bool enough = partial.enough;
#pragma omp parallel reduction(&& : enough)
  {
    NAME(Buffer) buffer = {0};
    REAL *const own = NAME(own_sums)(&partial);
#pragma omp for schedule(static)
    for (int64_t e = 0; e < events; e++) {
      const int64_t first = offsets[e] - offsets[0], keys = offsets[e + 1] - offsets[e] + 1;
      const NAME(Shape) s = NAME(shape)(1, keys, heads, dim);
      REAL *const query = NAME(reserve)(&buffer, NAME(room)(s, 2 + 3 * keys, 2));
      enough = enough && query;
      if (!enough) continue;
      REAL *const out = query + s.span, *const key = out + s.span;
      REAL *const value = key + keys * s.span, *const found = value + keys * s.span;
      REAL *const table = found + keys * s.span, *const slopes = table + keys * s.lanes;
      REAL *const top = slopes + keys * s.lanes, *const sum = top + s.lanes;
      NAME(read_rows)(query_rows + e * width, NULL, 1, width, scale, s, query);
      NAME(read_rows)(gradient + e * width, NULL, 1, width, 1, s, out);
      NAME(read_class_event)(class_key_value + e * 2 * width, key_value + first * 2 * width, added,
                             s, key, value);
      NAME(products)(query, key, s, table);
      NAME(softmax)(table, s, top, sum);
      NAME(products)(out, value, s, slopes);
      if (dropout.probability > 0) NAME(drop)(dropout, e, offsets[e], s, slopes);
      NAME(softmax_backward)(table, s, slopes, sum);
      if (dropout.probability > 0) NAME(drop)(dropout, e, offsets[e], s, table);
      NAME(over_keys)(slopes, key, s, scale, found);
      NAME(write_row)(found, s, query_gradient + e * width);
      for (int64_t part = 0; part < 2; part++) {
        if (part == 0) NAME(over_queries)(slopes, query, s, found);
        if (part == 1) NAME(over_queries)(table, out, s, found);
        NAME(write_row)(found, s, class_key_value_gradient + (e * 2 + part) * width);
        for (int64_t j = 1; j < keys; j++)
          NAME(write_row)(found + j * s.span, s,
                          key_value_gradient + ((first + j - 1) * 2 + part) * width);
        if (own) NAME(add_to_sums)(found + s.span, keys - 1, s, own + part * width);
      }
    }
    free(buffer.memory);
  }
  NAME(end_sums)(&partial, sums);
  return enough;
}

bool NAME(attend_from_class)(const STORED *query, const STORED *class_key_value,
                             const STORED *key_value, const REAL *added, const int64_t *offsets,
                             int64_t events, int64_t heads, int64_t dim, double probability,
                             uint64_t seed, STORED *attended) {
  const Dropout dropout = {probability, seed};
#define CALL(d) \
  NAME(attend_class)(query, class_key_value, key_value, added, offsets, events, heads, d, dropout, \
                     attended)
  FOR_EVERY_DIM(CALL)
#undef CALL
}

bool NAME(attend_from_class_backward)(const STORED *query, const STORED *class_key_value,
                                      const STORED *key_value, const REAL *added,
                                      const STORED *gradient, const int64_t *offsets,
                                      int64_t events, int64_t heads, int64_t dim,
                                      double probability, uint64_t seed, STORED *query_gradient,
                                      STORED *class_key_value_gradient,
                                      STORED *key_value_gradient, REAL *sums) {
  const Dropout dropout = {probability, seed};
#define CALL(d) \
  NAME(attend_class_backward)(query, class_key_value, key_value, added, gradient, offsets, events, \
                              heads, d, dropout, query_gradient, class_key_value_gradient, \
                              key_value_gradient, sums)
  FOR_EVERY_DIM(CALL)
#undef CALL
}
