// Vectors, the buffer of a thread, and sums over rows that no order of threads changes.

typedef REAL NAME(Vector) __attribute__((vector_size(LANES * sizeof(REAL))));

typedef struct {
  REAL *memory;
  size_t room;
} NAME(Buffer);

// The buffer, of at least `room` numbers; NULL where there is no memory. Its content is lost.
INLINE REAL *NAME(reserve)(NAME(Buffer) *buffer, size_t room) {
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
  if (!width) return sums;
  sums.memory = calloc((size_t)(sums.threads * width), sizeof(REAL));
  sums.enough = sums.memory != NULL;
  return sums;
}

INLINE REAL *NAME(own_sums)(const NAME(Sums) *sums) {
  return sums->memory ? sums->memory + omp_get_thread_num() * sums->width : NULL;
}

// total += the sums of all threads, in their order
INLINE void NAME(end_sums)(NAME(Sums) *sums, REAL *total) {
  if (!sums->memory) return;
  for (int thread = 0; thread < sums->threads; thread++)
    for (int64_t c = 0; c < sums->width; c++) total[c] += sums->memory[thread * sums->width + c];
  free(sums->memory);
}
