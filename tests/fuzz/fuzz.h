// SPDX-License-Identifier: MIT
#pragma once

/*
 * What the fuzz targets share. A target is one C file with LLVMFuzzerTestOneInput in it: libFuzzer
 * calls it with inputs of its own making, replay_main.c with the files of a corpus. Whatever is
 * random here follows from the input, so that a finding can be had again.
 */

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/str.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What must hold whatever the input is. */
#define CHECK(expr, ...)                                                                           \
    do {                                                                                           \
        if (!(expr)) {                                                                             \
            fprintf(stderr, "%s:%d: %s: ", __FILE__, __LINE__, #expr);                             \
            fprintf(stderr, __VA_ARGS__);                                                          \
            fputc('\n', stderr);                                                                   \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* FNV-1a: the seed of what is random about an input. */
static inline uint64_t fuzz_hash(const void *data, size_t size)
{
    uint64_t hash = 0xcbf29ce484222325U;

    for (size_t i = 0; i < size; i++) {
        hash = (hash ^ ((const uint8_t *)data)[i]) * 0x100000001b3U;
    }
    return hash;
}

/* 0 to below - 1 (xorshift64*). */
static inline size_t fuzz_random(uint64_t *state, size_t below)
{
    uint64_t x = *state | 1;

    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    *state = x;
    return (size_t)((x * 0x2545f4914f6cdd1dU) >> 33) % below;
}

/* Bytes that grow; the caller frees ptr. */
struct fuzz_bytes {
    char *ptr;
    size_t len;
    size_t cap;
};

void fuzz_bytes_put(struct fuzz_bytes *bytes, struct str s);
void fuzz_bytes_printf(struct fuzz_bytes *bytes, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void fuzz_bytes_free(struct fuzz_bytes *bytes);

static inline struct str fuzz_bytes_str(const struct fuzz_bytes *bytes)
{
    return str_make(bytes->ptr, bytes->len);
}
