// What happens between the matrix products, one pass over (rows, width) each, for one dtype (see
// kernels.c). REAL holds the residual stream and all parameters, STORED the factors of products.

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

// normed = gain (x - mean) inverse + shift; `statistics` (rows, 2) keeps mean and inverse
bool NAME(layer_norm)(const REAL *x, const REAL *gain, const REAL *shift, int64_t rows,
                      int64_t width, double epsilon, STORED *normed, REAL *statistics) {
#pragma omp parallel for schedule(static)
  for (int64_t i = 0; i < rows; i++) {
    const REAL *restrict row = x + i * width;
    STORED *restrict to = normed + i * width;
    NAME(moments)(row, width, (REAL)epsilon, statistics + 2 * i, statistics + 2 * i + 1);
    const REAL mean = statistics[2 * i], inverse = statistics[2 * i + 1];
    for (int64_t c = 0; c < width; c++) to[c] = SAVE((row[c] - mean) * inverse * gain[c] + shift[c]);
  }
  return true;
}

// `normed` again, from the statistics
bool NAME(layer_norm_again)(const REAL *x, const REAL *statistics, const REAL *gain,
                            const REAL *shift, int64_t rows, int64_t width, STORED *normed) {
#pragma omp parallel for schedule(static)
  for (int64_t i = 0; i < rows; i++) {
    const REAL *restrict row = x + i * width;
    STORED *restrict to = normed + i * width;
    const REAL mean = statistics[2 * i], inverse = statistics[2 * i + 1];
    for (int64_t c = 0; c < width; c++) to[c] = SAVE((row[c] - mean) * inverse * gain[c] + shift[c]);
  }
  return true;
}

// With z = (x - mean) inverse, y = gain z + shift and a gradient g of y:
// dx = inverse (gain g - <gain g> - z <gain g z>), dgain = sum g z, dshift = sum g.
// `through` is a gradient that reaches x past the norm, and is added to dx; or NULL.
// sums (3, width): dgain, dshift, and the sum of `through` over the rows.
bool NAME(layer_norm_backward)(const REAL *x, const REAL *statistics, const REAL *gain,
                               const STORED *gradient, const REAL *through, int64_t rows,
                               int64_t width, REAL *x_gradient, REAL *sums) {
  NAME(Sums) partial = NAME(begin_sums)(3 * width);
  if (!partial.enough) return false;
#pragma omp parallel
  {
    REAL *restrict const gain_sum = NAME(own_sums)(&partial);
    REAL *restrict const shift_sum = gain_sum + width;
    REAL *restrict const through_sum = shift_sum + width;
#pragma omp for schedule(static)
    for (int64_t i = 0; i < rows; i++) {
      const REAL *restrict row = x + i * width;
      const STORED *restrict slope = gradient + i * width;
      REAL *restrict to = x_gradient + i * width;
      const REAL mean = statistics[2 * i], inverse = statistics[2 * i + 1];
      REAL sum = 0, product = 0;
#pragma omp simd reduction(+ : sum, product)
      for (int64_t c = 0; c < width; c++) {
        const REAL z = (row[c] - mean) * inverse, g = LOAD(slope[c]);
        sum += gain[c] * g;
        product += gain[c] * g * z;
        gain_sum[c] += g * z;
        shift_sum[c] += g;
      }
      sum /= (REAL)width;
      product /= (REAL)width;
      if (through) {
        const REAL *restrict past = through + i * width;
        for (int64_t c = 0; c < width; c++) {
          const REAL z = (row[c] - mean) * inverse;
          to[c] = past[c] + inverse * (gain[c] * LOAD(slope[c]) - sum - z * product);
          through_sum[c] += past[c];
        }
      } else {
        for (int64_t c = 0; c < width; c++) {
          const REAL z = (row[c] - mean) * inverse;
          to[c] = inverse * (gain[c] * LOAD(slope[c]) - sum - z * product);
        }
      }
    }
  }
  NAME(end_sums)(&partial, sums);
  return true;
}

// activated = gelu(hidden + added), gelu(x) = x P(X < x) for a standard normal X, arXiv:1606.08415
bool NAME(gelu)(const STORED *hidden, const REAL *added, int64_t rows, int64_t width,
                STORED *activated) {
#pragma omp parallel for schedule(static)
  for (int64_t i = 0; i < rows; i++) {
    const STORED *restrict from = hidden + i * width;
    STORED *restrict to = activated + i * width;
    for (int64_t c = 0; c < width; c++) {
      const REAL x = LOAD(from[c]) + added[c];
      to[c] = SAVE(x * BELOW(x));
    }
  }
  return true;
}

// `slope`, the gradient of gelu(hidden + added), becomes that of hidden, and is summed in `sums`;
// `activated` is computed again.
bool NAME(gelu_backward)(const STORED *hidden, const REAL *added, int64_t rows, int64_t width,
                         STORED *slope, STORED *activated, REAL *sums) {
  NAME(Sums) partial = NAME(begin_sums)(width);
  if (!partial.enough) return false;
#pragma omp parallel
  {
    REAL *restrict const own = NAME(own_sums)(&partial);
#pragma omp for schedule(static)
    for (int64_t i = 0; i < rows; i++) {
      const STORED *restrict from = hidden + i * width;
      STORED *restrict to = activated + i * width, *restrict change = slope + i * width;
      for (int64_t c = 0; c < width; c++) {
        const REAL x = LOAD(from[c]) + added[c];
        const Normal normal = NORMAL(x);
        to[c] = SAVE(x * normal.below);
        const REAL g = LOAD(change[c]) * (normal.below + x * normal.density);
        change[c] = SAVE(g);
        own[c] += g;
      }
    }
  }
  NAME(end_sums)(&partial, sums);
  return true;
}

// sum = base + branch + added
bool NAME(residual)(const REAL *base, const STORED *branch, const REAL *added, int64_t rows,
                    int64_t width, REAL *sum) {
#pragma omp parallel for schedule(static)
  for (int64_t i = 0; i < rows; i++) {
    const REAL *restrict from = base + i * width;
    const STORED *restrict more = branch + i * width;
    REAL *restrict to = sum + i * width;
    for (int64_t c = 0; c < width; c++) to[c] = from[c] + LOAD(more[c]) + added[c];
  }
  return true;
}

// sums (width) += the rows
bool NAME(add_rows)(const REAL *x, int64_t rows, int64_t width, REAL *sums) {
  NAME(Sums) partial = NAME(begin_sums)(width);
  if (!partial.enough) return false;
#pragma omp parallel
  {
    REAL *restrict const own = NAME(own_sums)(&partial);
#pragma omp for schedule(static)
    for (int64_t i = 0; i < rows; i++) {
      const REAL *restrict row = x + i * width;
      for (int64_t c = 0; c < width; c++) own[c] += row[c];
    }
  }
  NAME(end_sums)(&partial, sums);
  return true;
}
