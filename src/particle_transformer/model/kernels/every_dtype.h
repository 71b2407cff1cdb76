// All kernels for one dtype; kernels.c includes this once for each.
#include "memory.h"
#include "attention.h"
#include "class_attention.h"
#include "rows.h"
