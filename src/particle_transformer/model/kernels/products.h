// Matrix products of row-major matrices by the BLAS that PyTorch brings: factors are STORED, results
// REAL. Called by every thread for its own rows.

// y (n, out) = x (n, in) weight (out, in)^T
INLINE void NAME(product)(const STORED *x, const STORED *weight, int64_t n, int64_t in, int64_t out,
                          REAL *y) {
  const REAL one = 1, zero = 0;
  if (n) GEMM("T", "N", &out, &n, &in, &one, weight, &in, x, &in, &zero, y, &out);
}

// y (n, in) = slope (n, out) weight (out, in)
INLINE void NAME(product_back)(const STORED *slope, const STORED *weight, int64_t n, int64_t in,
                               int64_t out, REAL *y) {
  const REAL one = 1, zero = 0;
  if (n) GEMM("N", "N", &in, &n, &out, &one, weight, &in, slope, &out, &zero, y, &in);
}

// sum (out, in) += slope (n, out)^T x (n, in)
INLINE void NAME(add_product)(const STORED *slope, const STORED *x, int64_t n, int64_t in,
                              int64_t out, REAL *sum) {
  const REAL one = 1;
  if (n) GEMM("N", "T", &in, &out, &n, &one, x, &in, slope, &out, &one, sum, &in);
}
