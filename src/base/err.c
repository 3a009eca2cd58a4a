// SPDX-License-Identifier: MIT
#include "base/err.h"

#include <stdio.h>
#include <stdlib.h>

void err_assert_failed(const char *expr, const char *file, int line)
{
    (void)fprintf(stderr, "viaduct: assertion failed: %s (%s:%d)\n", expr, file, line);
    abort();
}
