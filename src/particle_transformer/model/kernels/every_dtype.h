// All kernels for one dtype; kernels.c includes this once for each.
#include "memory.h"
#include "attention.h"
#include "class_attention.h"
#include "products.h"
#include "rows.h"
#include "branches.h"
