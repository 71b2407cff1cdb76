// What happens between the matrix products of a branch, on some rows, for one dtype (see kernels.c).
// REAL holds the residual stream, all parameters and what products give; STORED their factors.

// mean and 1 / standard deviation of a row, arXiv:1607.06450 eq. (4)
INLINE void NAME(moments)(const REAL *x, int64_t width, REAL epsilon, REAL *mean, REAL *inverse) {
  REAL sum = 0, squares = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t c = 0; c < width; c++) sum += x[c];
  const REAL middle = sum / (REAL)width;
#pragma omp simd reduction(+ : squares)
  for (int64_t c = 0; c < width; c++) squares += (x[c] - middle) * (x[c] - middle);
  *mean = middle;
  *inverse = 1 / SQRT(squares / (REAL)width + epsilon);
}

// normed = gain (x - mean) inverse + shift, from `statistics` (rows, 2): mean and inverse
INLINE void NAME(layer_norm_again)(const REAL *x, const REAL *statistics, const REAL *gain,
                                   const REAL *shift, int64_t rows, int64_t width,
                                   STORED *normed) {
  for (int64_t i = 0; i < rows; i++) {
    const REAL *restrict row = x + i * width;
    STORED *restrict to = normed + i * width;
    const REAL mean = statistics[2 * i], inverse = statistics[2 * i + 1];
    for (int64_t c = 0; c < width; c++) to[c] = SAVE((row[c] - mean) * inverse * gain[c] + shift[c]);
  }
}

INLINE void NAME(layer_norm)(const REAL *x, NAME(Norm) norm, int64_t rows, int64_t width,
                             REAL *statistics, STORED *normed) {
  for (int64_t i = 0; i < rows; i++)
    NAME(moments)(x + i * width, width, (REAL)norm.epsilon, statistics + 2 * i,
                  statistics + 2 * i + 1);
  NAME(layer_norm_again)(x, statistics, norm.gain, norm.shift, rows, width, normed);
}

// With z = (x - mean) inverse, y = gain z + shift and a gradient g of y:
// dx = inverse (gain g - <gain g> - z <gain g z>), and dgain = sum g z, dshift = sum g are added to
// `sums` (2, width). `through` is a gradient that reaches x past the norm, added to dx; or NULL.
INLINE void NAME(layer_norm_backward)(const REAL *x, const REAL *statistics, const REAL *gain,
                                      const REAL *gradient, const REAL *through, int64_t rows,
                                      int64_t width, REAL *x_gradient, REAL *sums) {
  REAL *restrict const gain_sum = sums, *restrict const shift_sum = sums + width;
  for (int64_t i = 0; i < rows; i++) {
    const REAL *restrict row = x + i * width, *restrict slope = gradient + i * width;
    REAL *restrict to = x_gradient + i * width;
    const REAL mean = statistics[2 * i], inverse = statistics[2 * i + 1];
    REAL sum = 0, product = 0;
#pragma omp simd reduction(+ : sum, product)
    for (int64_t c = 0; c < width; c++) {
      const REAL z = (row[c] - mean) * inverse, g = slope[c];
      sum += gain[c] * g;
      product += gain[c] * g * z;
      gain_sum[c] += g * z;
      shift_sum[c] += g;
    }
    sum /= (REAL)width;
    product /= (REAL)width;
    if (through) {
      const REAL *restrict past = through + i * width;
      for (int64_t c = 0; c < width; c++)
        to[c] = past[c] + inverse * (gain[c] * slope[c] - sum - (row[c] - mean) * inverse * product);
    } else {
      for (int64_t c = 0; c < width; c++)
        to[c] = inverse * (gain[c] * slope[c] - sum - (row[c] - mean) * inverse * product);
    }
  }
}

// Factors of a dropout for a row of the batch: 1 / (1 - p), or 0.
INLINE void NAME(row_factors)(Dropout dropout, int64_t row, int64_t width, REAL *restrict factors) {
  const uint32_t threshold = (uint32_t)(dropout.probability * 4294967296.0);
  const uint32_t key = row_key(dropout.seed, row);
  const REAL kept = (REAL)(1 / (1 - dropout.probability));
  for (int64_t c = 0; c < width; c++)
    factors[c] = column_hash(key, (uint32_t)c) >= threshold ? kept : 0;
}

INLINE void NAME(multiply)(const REAL *restrict factors, int64_t width, STORED *restrict row) {
  for (int64_t c = 0; c < width; c++) row[c] = SAVE(LOAD(row[c]) * factors[c]);
}

// active = gelu(hidden + added), gelu(x) = x P(X < x) for a standard normal X, arXiv:1606.08415.
// `kept` gets `hidden`, where given. `first` numbers the rows; `factors` is room for a row.
INLINE void NAME(gelu)(const REAL *hidden, const REAL *added, int64_t rows, int64_t width,
                       Dropout dropout, int64_t first, REAL *factors, STORED *kept,
                       STORED *active) {
  for (int64_t i = 0; i < rows; i++) {
    const REAL *restrict from = hidden + i * width;
    STORED *restrict to = active + i * width;
    for (int64_t c = 0; c < width; c++) {
      const REAL x = from[c] + added[c];
      to[c] = SAVE(x * BELOW(x));
    }
    if (kept) {
      STORED *restrict copy = kept + i * width;
      for (int64_t c = 0; c < width; c++) copy[c] = SAVE(from[c]);
    }
    if (dropout.probability > 0) {
      NAME(row_factors)(dropout, first + i, width, factors);
      NAME(multiply)(factors, width, to);
    }
  }
}

// `slope` is the gradient of active = gelu(hidden + added). `active` is computed again; `steep` gets
// the gradient of hidden, whose sum over the rows is added to `sums`.
INLINE void NAME(gelu_backward)(const STORED *hidden, const REAL *added, REAL *slope, int64_t rows,
                                int64_t width, Dropout dropout, int64_t first, REAL *factors,
                                STORED *active, STORED *steep, REAL *restrict sums) {
  for (int64_t i = 0; i < rows; i++) {
    const STORED *restrict from = hidden + i * width;
    STORED *restrict to = active + i * width, *restrict change = steep + i * width;
    REAL *restrict given = slope + i * width;
    if (dropout.probability > 0) {
      NAME(row_factors)(dropout, first + i, width, factors);
      for (int64_t c = 0; c < width; c++) given[c] *= factors[c];
    }
    for (int64_t c = 0; c < width; c++) {
      const REAL x = LOAD(from[c]) + added[c];
      const Normal normal = NORMAL(x);
      to[c] = SAVE(x * normal.below);
      const REAL g = given[c] * (normal.below + x * normal.density);
      change[c] = SAVE(g);
      sums[c] += g;
    }
    if (dropout.probability > 0) NAME(multiply)(factors, width, to);
  }
}

// total = base + f (branch + added) with the dropout's factors f
INLINE void NAME(residual)(const REAL *base, const REAL *branch, const REAL *added, int64_t rows,
                           int64_t width, Dropout dropout, int64_t first, REAL *factors,
                           REAL *total) {
  for (int64_t i = 0; i < rows; i++) {
    const REAL *restrict from = base + i * width, *restrict more = branch + i * width;
    REAL *restrict to = total + i * width;
    if (dropout.probability > 0) {
      NAME(row_factors)(dropout, first + i, width, factors);
      for (int64_t c = 0; c < width; c++) to[c] = from[c] + factors[c] * (more[c] + added[c]);
    } else {
      for (int64_t c = 0; c < width; c++) to[c] = from[c] + (more[c] + added[c]);
    }
  }
}

// The gradient of a branch, from that of its `residual`; its sum over the rows is added to `sums`.
INLINE void NAME(branch_slope)(const REAL *slope, int64_t rows, int64_t width, Dropout dropout,
                               int64_t first, REAL *restrict factors, STORED *branch,
                               REAL *restrict sums) {
  for (int64_t i = 0; i < rows; i++) {
    const REAL *restrict from = slope + i * width;
    STORED *restrict to = branch + i * width;
    if (dropout.probability > 0) {
      NAME(row_factors)(dropout, first + i, width, factors);
      for (int64_t c = 0; c < width; c++) {
        sums[c] += factors[c] * from[c];
        to[c] = SAVE(factors[c] * from[c]);
      }
    } else {
      for (int64_t c = 0; c < width; c++) {
        sums[c] += from[c];
        to[c] = SAVE(from[c]);
      }
    }
  }
}

INLINE void NAME(store)(const REAL *restrict from, int64_t count, STORED *restrict to) {
  for (int64_t c = 0; c < count; c++) to[c] = SAVE(from[c]);
}
