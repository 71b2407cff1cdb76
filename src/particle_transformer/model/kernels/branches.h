// Whole branches of the network for one dtype (see kernels.c). Each thread takes some rows through a
// branch while they stay in its cache; a part is what it takes at once. Forward keeps what backward
// cannot compute again without a matrix product; where nothing is to be kept, `kept` is NULL.
//
// Pointers: `weight` (out, in) and `added` (out) of the first layer, `out_weight` and `out_added` of
// the last; `statistics` (rows, 2) of the layer norm. Gradients of parameters are sums of each
// thread's rows, added in the order of the threads.

// ---- x + f F(LN(x)), F(x) = W2 (f gelu(W1 x + b1)) + b2

bool NAME(feedforward)(const REAL *x, const REAL *gain, const REAL *shift, const STORED *weight,
                       const REAL *added, const STORED *out_weight, const REAL *out_added,
                       int64_t rows, int64_t width, int64_t hidden_width, int64_t at_once,
                       double epsilon, double probability, uint64_t hidden_seed,
                       uint64_t out_seed, STORED *kept, REAL *statistics, REAL *total) {
  const NAME(Norm) norm = {gain, shift, epsilon};
  const Dropout hidden_dropout = {probability, hidden_seed}, dropout = {probability, out_seed};
  bool enough = true;
#pragma omp parallel reduction(&& : enough)
  {
    NAME(Buffer) buffer = {0};
    STORED *const normed = NAME(reserve)(&buffer, (size_t)(at_once * 2 + 1) * (width + hidden_width));
    enough = normed != NULL;
#pragma omp for schedule(static)
    for (int64_t first = 0; first < rows; first += at_once) {
      if (!enough) continue;
      const int64_t n = rows - first < at_once ? rows - first : at_once;
      STORED *const active = normed + at_once * width;
      REAL *const hidden = (REAL *)(active + at_once * hidden_width);
      REAL *const branch = hidden + at_once * hidden_width, *const factors = branch + at_once * width;
      NAME(layer_norm)(x + first * width, norm, n, width, statistics + 2 * first, normed);
      NAME(product)(normed, weight, n, width, hidden_width, hidden);
      NAME(gelu)(hidden, added, n, hidden_width, hidden_dropout, first, factors,
                 kept ? kept + first * hidden_width : NULL, active);
      NAME(product)(active, out_weight, n, hidden_width, width, branch);
      NAME(residual)(x + first * width, branch, out_added, n, width, dropout, first, factors,
                     total + first * width);
    }
    free(buffer.memory);
  }
  return enough;
}

bool NAME(feedforward_backward)(
    const REAL *slope, const REAL *x, const REAL *gain, const REAL *shift, const STORED *weight,
    const REAL *added, const STORED *out_weight, const STORED *kept, const REAL *statistics,
    int64_t rows, int64_t width, int64_t hidden_width, int64_t at_once, double probability,
    uint64_t hidden_seed, uint64_t out_seed, REAL *x_slope, REAL *norm_slopes, REAL *weight_slope,
    REAL *added_slope, REAL *out_weight_slope, REAL *out_added_slope) {
  const Dropout hidden_dropout = {probability, hidden_seed}, dropout = {probability, out_seed};
  const int64_t size = width * hidden_width;
  NAME(Sums) sums = NAME(begin_sums)(2 * size + 3 * width + hidden_width);
  bool enough = sums.enough;
#pragma omp parallel reduction(&& : enough)
  {
    NAME(Buffer) buffer = {0};
    STORED *const normed =
        NAME(reserve)(&buffer, (size_t)(at_once * 3 + 1) * (width + hidden_width));
    enough = sums.enough && normed;
    REAL *const weight_sum = NAME(own_sums)(&sums), *const out_weight_sum = weight_sum + size;
    REAL *const norm_sum = out_weight_sum + size, *const out_added_sum = norm_sum + 2 * width;
    REAL *const added_sum = out_added_sum + width;
#pragma omp for schedule(static)
    for (int64_t first = 0; first < rows; first += at_once) {
      if (!enough) continue;
      const int64_t n = rows - first < at_once ? rows - first : at_once;
      STORED *const branch = normed + at_once * width, *const active = branch + at_once * width;
      STORED *const steep = active + at_once * hidden_width;
      REAL *const hidden = (REAL *)(steep + at_once * hidden_width);
      REAL *const norm_slope = hidden + at_once * hidden_width;
      REAL *const factors = norm_slope + at_once * width;
      NAME(branch_slope)(slope + first * width, n, width, dropout, first, factors, branch,
                         out_added_sum);
      NAME(product_back)(branch, out_weight, n, hidden_width, width, hidden);
      NAME(gelu_backward)(kept + first * hidden_width, added, hidden, n, hidden_width,
                          hidden_dropout, first, factors, active, steep, added_sum);
      NAME(add_product)(branch, active, n, hidden_width, width, out_weight_sum);
      NAME(product_back)(steep, weight, n, width, hidden_width, norm_slope);
      NAME(layer_norm_again)(x + first * width, statistics + 2 * first, gain, shift, n, width,
                             normed);
      NAME(add_product)(steep, normed, n, width, hidden_width, weight_sum);
      NAME(layer_norm_backward)(x + first * width, statistics + 2 * first, gain, norm_slope,
                                slope + first * width, n, width, x_slope + first * width, norm_sum);
    }
    free(buffer.memory);
  }
  REAL *const targets[] = {weight_slope, out_weight_slope, norm_slopes, out_added_slope, added_slope};
  const int64_t sizes[] = {size, size, 2 * width, width, hidden_width};
  NAME(end_sums)(&sums, 5, sizes, targets);
  return enough;
}

// ---- base + f A(LN(x)); `edges` (parts + 1) are the first events of the parts, `longest` the rows
// of the longest, `from` the width of x.

bool NAME(attention)(const REAL *x, const REAL *base, const REAL *gain, const REAL *shift,
                     const STORED *weight, const REAL *added, const STORED *out_weight,
                     const REAL *out_added, const STORED *bias, const int64_t *offsets,
                     const int64_t *pair_offsets, const int64_t *edges, int64_t parts,
                     int64_t longest, int64_t from, int64_t heads, int64_t dim, double epsilon,
                     double probability, uint64_t weights_seed, uint64_t out_seed, STORED *kept,
                     REAL *statistics, REAL *total) {
  const NAME(Norm) norm = {gain, shift, epsilon};
  const Dropout weights_dropout = {probability, weights_seed}, dropout = {probability, out_seed};
  const int64_t width = heads * dim;
  bool enough = true;
#pragma omp parallel reduction(&& : enough)
  {
    NAME(Buffer) buffer = {0}, event_buffer = {0};
    STORED *const normed = NAME(reserve)(&buffer, (size_t)((longest + 1) * (from + 8 * width)));
    enough = normed != NULL;
#pragma omp for schedule(static)
    for (int64_t part = 0; part < parts; part++) {
      if (!enough) continue;
      const int64_t first = offsets[edges[part]], n = offsets[edges[part + 1]] - first;
      STORED *const attended = normed + longest * from;
      STORED *const rows = kept ? kept + first * 3 * width : attended + longest * width;
      REAL *const projected = (REAL *)(attended + longest * 4 * width);
      REAL *const branch = projected, *const factors = projected + longest * 3 * width;
      NAME(layer_norm)(x + first * from, norm, n, from, statistics + 2 * first, normed);
      NAME(product)(normed, weight, n, from, 3 * width, projected);
      NAME(store)(projected, n * 3 * width, rows);
      for (int64_t e = edges[part]; e < edges[part + 1]; e++) {
        const int64_t at = offsets[e] - first;
        enough = NAME(attend_event)(&event_buffer, rows + at * 3 * width, added,
                                    bias ? bias + pair_offsets[e] * heads : NULL,
                                    offsets[e + 1] - offsets[e], heads, dim, weights_dropout,
                                    offsets[e], attended + at * width) && enough;
      }
      NAME(product)(attended, out_weight, n, width, width, branch);
      NAME(residual)(base + first * width, branch, out_added, n, width, dropout, first, factors,
                     total + first * width);
    }
    free(buffer.memory);
    free(event_buffer.memory);
  }
  return enough;
}

// `through`: whether `base` was x, so that its gradient is part of that of x.
bool NAME(attention_backward)(
    const REAL *slope, const REAL *x, const REAL *gain, const REAL *shift, const STORED *weight,
    const REAL *added, const STORED *out_weight, const STORED *bias, const STORED *kept,
    const REAL *statistics, const int64_t *offsets, const int64_t *pair_offsets,
    const int64_t *edges, int64_t parts, int64_t longest, int64_t from, int64_t heads, int64_t dim,
    int64_t through, double probability, uint64_t weights_seed, uint64_t out_seed, REAL *x_slope,
    REAL *norm_slopes, REAL *weight_slope, REAL *added_slope, REAL *out_weight_slope,
    REAL *out_added_slope, STORED *bias_slope) {
  const Dropout weights_dropout = {probability, weights_seed}, dropout = {probability, out_seed};
  const int64_t width = heads * dim, size = 3 * width * from;
  NAME(Sums) sums = NAME(begin_sums)(size + width * width + 2 * from + 4 * width);
  bool enough = sums.enough;
#pragma omp parallel reduction(&& : enough)
  {
    NAME(Buffer) buffer = {0}, event_buffer = {0};
    STORED *const normed = NAME(reserve)(&buffer, (size_t)((longest + 1) * (2 * from + 7 * width)));
    enough = sums.enough && normed;
    REAL *const weight_sum = NAME(own_sums)(&sums), *const out_weight_sum = weight_sum + size;
    REAL *const norm_sum = out_weight_sum + width * width;
    REAL *const added_sum = norm_sum + 2 * from, *const out_added_sum = added_sum + 3 * width;
#pragma omp for schedule(static)
    for (int64_t part = 0; part < parts; part++) {
      if (!enough) continue;
      const int64_t first = offsets[edges[part]], n = offsets[edges[part + 1]] - first;
      STORED *const branch = normed + longest * from, *const attended = branch + longest * width;
      STORED *const steep = attended + longest * width;
      STORED *const attended_slope = steep + longest * 3 * width;
      REAL *const wide = (REAL *)(attended_slope + longest * width);
      REAL *const norm_slope = wide + longest * width, *const factors = norm_slope + longest * from;
      NAME(branch_slope)(slope + first * width, n, width, dropout, first, factors, branch,
                         out_added_sum);
      NAME(product_back)(branch, out_weight, n, width, width, wide);
      NAME(store)(wide, n * width, attended_slope);
      for (int64_t e = edges[part]; e < edges[part + 1]; e++) {
        const int64_t at = offsets[e] - first, pair = bias ? pair_offsets[e] * heads : 0;
        enough = NAME(attend_event_backward)(
                     &event_buffer, kept + offsets[e] * 3 * width, added,
                     attended_slope + at * width, bias ? bias + pair : NULL,
                     offsets[e + 1] - offsets[e], heads, dim, weights_dropout, offsets[e],
                     attended + at * width, steep + at * 3 * width,
                     bias ? bias_slope + pair : NULL, added_sum) && enough;
      }
      NAME(add_product)(branch, attended, n, width, width, out_weight_sum);
      NAME(product_back)(steep, weight, n, from, 3 * width, norm_slope);
      NAME(layer_norm_again)(x + first * from, statistics + 2 * first, gain, shift, n, from, normed);
      NAME(add_product)(steep, normed, n, from, 3 * width, weight_sum);
      NAME(layer_norm_backward)(x + first * from, statistics + 2 * first, gain, norm_slope,
                                through ? slope + first * width : NULL, n, from,
                                x_slope + first * from, norm_sum);
    }
    free(buffer.memory);
    free(event_buffer.memory);
  }
  REAL *const targets[] = {weight_slope, out_weight_slope, norm_slopes, added_slope, out_added_slope};
  const int64_t sizes[] = {size, width * width, 2 * from, 3 * width, width};
  NAME(end_sums)(&sums, 5, sizes, targets);
  return enough;
}

// ---- A(z, LN(x)): class attention, with query and own key and value of the class token given

bool NAME(class_attention)(const STORED *query, const STORED *own, const REAL *x, const REAL *gain,
                           const REAL *shift, const STORED *weight, const REAL *added,
                           const int64_t *offsets, const int64_t *edges, int64_t parts,
                           int64_t longest, int64_t heads, int64_t dim, double epsilon,
                           double probability, uint64_t seed, STORED *kept, REAL *statistics,
                           STORED *attended) {
  const NAME(Norm) norm = {gain, shift, epsilon};
  const Dropout dropout = {probability, seed};
  const int64_t width = heads * dim;
  bool enough = true;
#pragma omp parallel reduction(&& : enough)
  {
    NAME(Buffer) buffer = {0}, event_buffer = {0};
    STORED *const normed = NAME(reserve)(&buffer, (size_t)((longest + 1) * 5 * width));
    enough = normed != NULL;
#pragma omp for schedule(static)
    for (int64_t part = 0; part < parts; part++) {
      if (!enough) continue;
      const int64_t first = offsets[edges[part]], n = offsets[edges[part + 1]] - first;
      STORED *const rows = kept ? kept + first * 2 * width : normed + longest * width;
      REAL *const projected = (REAL *)(normed + longest * 3 * width);
      NAME(layer_norm)(x + first * width, norm, n, width, statistics + 2 * first, normed);
      NAME(product)(normed, weight, n, width, 2 * width, projected);
      NAME(store)(projected, n * 2 * width, rows);
      for (int64_t e = edges[part]; e < edges[part + 1]; e++)
        enough = NAME(attend_class_event)(
                     &event_buffer, query + e * width, own + e * 2 * width,
                     rows + (offsets[e] - first) * 2 * width, added, offsets[e + 1] - offsets[e],
                     heads, dim, dropout, e, offsets[e], attended + e * width) && enough;
    }
    free(buffer.memory);
    free(event_buffer.memory);
  }
  return enough;
}

bool NAME(class_attention_backward)(
    const STORED *slope, const STORED *query, const STORED *own, const REAL *x, const REAL *gain,
    const REAL *shift, const STORED *weight, const REAL *added, const STORED *kept,
    const REAL *statistics, const int64_t *offsets, const int64_t *edges, int64_t parts,
    int64_t longest, int64_t heads, int64_t dim, double probability, uint64_t seed,
    STORED *query_slope, STORED *own_slope, REAL *x_slope, REAL *norm_slopes, REAL *weight_slope,
    REAL *added_slope) {
  const Dropout dropout = {probability, seed};
  const int64_t width = heads * dim, size = 2 * width * width;
  NAME(Sums) sums = NAME(begin_sums)(size + 4 * width);
  bool enough = sums.enough;
#pragma omp parallel reduction(&& : enough)
  {
    NAME(Buffer) buffer = {0}, event_buffer = {0};
    STORED *const normed = NAME(reserve)(&buffer, (size_t)((longest + 1) * 4 * width));
    enough = sums.enough && normed;
    REAL *const weight_sum = NAME(own_sums)(&sums), *const norm_sum = weight_sum + size;
    REAL *const added_sum = norm_sum + 2 * width;
#pragma omp for schedule(static)
    for (int64_t part = 0; part < parts; part++) {
      if (!enough) continue;
      const int64_t first = offsets[edges[part]], n = offsets[edges[part + 1]] - first;
      STORED *const steep = normed + longest * width;
      REAL *const norm_slope = (REAL *)(steep + longest * 2 * width);
      for (int64_t e = edges[part]; e < edges[part + 1]; e++)
        enough = NAME(attend_class_event_backward)(
                     &event_buffer, query + e * width, own + e * 2 * width,
                     kept + offsets[e] * 2 * width, added, slope + e * width,
                     offsets[e + 1] - offsets[e], heads, dim, dropout, e, offsets[e],
                     query_slope + e * width, own_slope + e * 2 * width,
                     steep + (offsets[e] - first) * 2 * width, added_sum) && enough;
      NAME(product_back)(steep, weight, n, width, 2 * width, norm_slope);
      NAME(layer_norm_again)(x + first * width, statistics + 2 * first, gain, shift, n, width,
                             normed);
      NAME(add_product)(steep, normed, n, width, 2 * width, weight_sum);
      NAME(layer_norm_backward)(x + first * width, statistics + 2 * first, gain, norm_slope, NULL, n,
                                width, x_slope + first * width, norm_sum);
    }
    free(buffer.memory);
    free(event_buffer.memory);
  }
  REAL *const targets[] = {weight_slope, norm_slopes, added_slope};
  const int64_t sizes[] = {size, 2 * width, 2 * width};
  NAME(end_sums)(&sums, 3, sizes, targets);
  return enough;
}

// ---- W3 gelu(W2 gelu(W1 x + b1) + b2) + b3, from `features` to `width` everywhere

bool NAME(layers)(const REAL *x, const STORED *weight1, const STORED *weight2,
                  const STORED *weight3, const REAL *added1, const REAL *added2,
                  const REAL *added3, int64_t rows, int64_t features, int64_t width,
                  int64_t at_once, STORED *kept1, STORED *kept2, REAL *total) {
  const Dropout none = {0, 0};
  bool enough = true;
#pragma omp parallel reduction(&& : enough)
  {
    NAME(Buffer) buffer = {0};
    STORED *const inputs = NAME(reserve)(&buffer, (size_t)(at_once * (features + 2 * width)));
    enough = inputs != NULL;
#pragma omp for schedule(static)
    for (int64_t first = 0; first < rows; first += at_once) {
      if (!enough) continue;
      const int64_t n = rows - first < at_once ? rows - first : at_once;
      STORED *const active = inputs + at_once * features;
      REAL *const hidden = (REAL *)(active + at_once * width);
      NAME(store)(x + first * features, n * features, inputs);
      NAME(product)(inputs, weight1, n, features, width, hidden);
      NAME(gelu)(hidden, added1, n, width, none, 0, NULL, kept1 ? kept1 + first * width : NULL,
                 active);
      NAME(product)(active, weight2, n, width, width, hidden);
      NAME(gelu)(hidden, added2, n, width, none, 0, NULL, kept2 ? kept2 + first * width : NULL,
                 active);
      REAL *const result = total + first * width;
      NAME(product)(active, weight3, n, width, width, result);
      for (int64_t i = 0; i < n; i++)
        for (int64_t c = 0; c < width; c++) result[i * width + c] += added3[c];
    }
    free(buffer.memory);
  }
  return enough;
}

// `x_slope` may be NULL.
bool NAME(layers_backward)(const REAL *slope, const REAL *x, const STORED *weight1,
                           const STORED *weight2, const STORED *weight3, const REAL *added1,
                           const REAL *added2, const STORED *kept1, const STORED *kept2,
                           int64_t rows, int64_t features, int64_t width, int64_t at_once,
                           REAL *x_slope, REAL *weight1_slope, REAL *weight2_slope,
                           REAL *weight3_slope, REAL *added1_slope, REAL *added2_slope,
                           REAL *added3_slope) {
  const Dropout none = {0, 0};
  const int64_t size = width * width;
  NAME(Sums) sums = NAME(begin_sums)(features * width + 2 * size + 3 * width);
  bool enough = sums.enough;
#pragma omp parallel reduction(&& : enough)
  {
    NAME(Buffer) buffer = {0};
    STORED *const inputs = NAME(reserve)(&buffer, (size_t)(at_once * (features + 4 * width)));
    enough = sums.enough && inputs;
    REAL *const weight1_sum = NAME(own_sums)(&sums);
    REAL *const weight2_sum = weight1_sum + features * width, *const weight3_sum = weight2_sum + size;
    REAL *const added1_sum = weight3_sum + size, *const added2_sum = added1_sum + width;
    REAL *const added3_sum = added2_sum + width;
#pragma omp for schedule(static)
    for (int64_t first = 0; first < rows; first += at_once) {
      if (!enough) continue;
      const int64_t n = rows - first < at_once ? rows - first : at_once;
      STORED *const active = inputs + at_once * features, *const above = active + at_once * width;
      STORED *const steep = above + at_once * width;
      REAL *const wide = (REAL *)(steep + at_once * width);
      NAME(branch_slope)(slope + first * width, n, width, none, 0, NULL, above, added3_sum);
      NAME(product_back)(above, weight3, n, width, width, wide);
      NAME(gelu_backward)(kept2 + first * width, added2, wide, n, width, none, 0, NULL, active,
                          steep, added2_sum);
      NAME(add_product)(above, active, n, width, width, weight3_sum);
      NAME(product_back)(steep, weight2, n, width, width, wide);
      NAME(gelu_backward)(kept1 + first * width, added1, wide, n, width, none, 0, NULL, active,
                          above, added1_sum);
      NAME(add_product)(steep, active, n, width, width, weight2_sum);
      NAME(store)(x + first * features, n * features, inputs);
      NAME(add_product)(above, inputs, n, features, width, weight1_sum);
      if (x_slope)
        NAME(product_back)(above, weight1, n, features, width, x_slope + first * features);
    }
    free(buffer.memory);
  }
  REAL *const targets[] = {weight1_slope, weight2_slope, weight3_slope,
                           added1_slope,  added2_slope,  added3_slope};
  const int64_t sizes[] = {features * width, size, size, width, width, width};
  NAME(end_sums)(&sums, 6, sizes, targets);
  return enough;
}
