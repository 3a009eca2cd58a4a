/* SPDX-License-Identifier: MIT */
/*
 * Times counted in buckets whose width is at most 1/64 of their value: enough
 * for percentiles, at the cost of one addition per value.
 */
#pragma once

#include <stdint.h>

#define HISTOGRAM_BUCKETS (64 * 59)

struct histogram {
    uint64_t count;
    uint64_t max_ns;
    uint32_t buckets[HISTOGRAM_BUCKETS];
};

void histogram_add(struct histogram *histogram, uint64_t ns);

/* The value that a share of PERMILLE in thousand does not exceed, in microseconds; 0 of nothing. */
double histogram_us(const struct histogram *histogram, unsigned permille);
