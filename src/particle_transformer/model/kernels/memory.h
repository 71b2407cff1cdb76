// Vectors, the buffer of a thread, and sums over rows that no order of threads changes.

typedef REAL NAME(Vector) __attribute__((vector_size(LANES * sizeof(REAL))));

typedef struct {
  REAL *memory;
  size_t room;
} NAME(Buffer);

// The buffer, of at least `room` numbers; NULL where there is no memory. Its content is lost.
INLINE void *NAME(reserve)(NAME(Buffer) *buffer, size_t room) {
  if (room > buffer->room) {
    free(buffer->memory);
    const size_t bytes = (room * sizeof(REAL) + 63) / 64 * 64;
    buffer->memory = aligned_alloc(64, bytes);
    buffer->room = buffer->memory ? room : 0;
  }
  return buffer->memory;
}

typedef struct {
  REAL *memory;  // (threads, width)
  int64_t width;
  int threads;
  bool enough;
} NAME(Sums);

INLINE NAME(Sums) NAME(begin_sums)(int64_t width) {
  NAME(Sums) sums = {NULL, width, omp_get_max_threads(), true};
  sums.memory = calloc((size_t)(sums.threads * width), sizeof(REAL));
  sums.enough = sums.memory != NULL;
  return sums;
}

INLINE REAL *NAME(own_sums)(const NAME(Sums) *sums) {
  return sums->memory + omp_get_thread_num() * sums->width;
}

// Writes the sums over all threads, in their order, to targets of these sizes, one after the other.
INLINE void NAME(end_sums)(NAME(Sums) *sums, int count, const int64_t *sizes, REAL *const *targets) {
  if (!sums->enough) return;
  const REAL *from = sums->memory;
  for (int target = 0; target < count; from += sizes[target], target++) {
    REAL *const to = targets[target];
#pragma omp parallel for schedule(static) if (sizes[target] > 4096)
    for (int64_t c = 0; c < sizes[target]; c++) {
      REAL sum = from[c];
      for (int thread = 1; thread < sums->threads; thread++) sum += from[thread * sums->width + c];
      to[c] = sum;
    }
  }
  free(sums->memory);
}

typedef struct {
  const REAL *gain, *shift;
  double epsilon;
} NAME(Norm);
