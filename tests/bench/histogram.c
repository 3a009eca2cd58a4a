/* SPDX-License-Identifier: MIT */
#include "histogram.h"

#include <stddef.h>

/* Values below 64 have a bucket each; then every power of two is cut in 64. */
static size_t bucket_of(uint64_t ns)
{
    unsigned shift;

    if (ns < 64) {
        return (size_t)ns;
    }
    shift = 57U - (unsigned)__builtin_clzll(ns);
    return (size_t)((shift + 1) * 64 + ((ns >> shift) & 63));
}

static uint64_t top_of(size_t bucket)
{
    size_t shift = bucket / 64;

    if (shift == 0) {
        return bucket;
    }
    return (((uint64_t)(bucket % 64) + 65) << (shift - 1)) - 1;
}

void histogram_add(struct histogram *histogram, uint64_t ns)
{
    histogram->count++;
    histogram->buckets[bucket_of(ns)]++;
    if (ns > histogram->max_ns) {
        histogram->max_ns = ns;
    }
}

double histogram_us(const struct histogram *histogram, unsigned permille)
{
    uint64_t wanted = (histogram->count * permille + 999) / 1000;
    uint64_t seen = 0;

    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += histogram->buckets[i];
        if (seen >= wanted && seen > 0) {
            uint64_t top = top_of(i);

            return (double)(top < histogram->max_ns ? top : histogram->max_ns) / 1000.0;
        }
    }
    return 0;
}
