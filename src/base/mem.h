// SPDX-License-Identifier: MIT
#pragma once

/*
 * Checked allocation. Every allocation of the program goes through here, so
 * that a test can make any one of them fail. At run time a NULL fails one
 * connection; at start-up callers use the *_or_die variants.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"

/* In builds with the address sanitizer a test can count the allocations of a running program and
 * make them fail: see struct mem_faults in mem.c. */
#if defined(__SANITIZE_ADDRESS__)
#define MEM_FAULTS 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define MEM_FAULTS 1
#endif
#endif

/* Memory of size bytes (uninitialised / zeroed), owned by the caller, or NULL. Give back with
 * mem_free. */
MUST_USE void *mem_alloc(size_t size);
MUST_USE void *mem_zalloc(size_t size);
/* As realloc(3): on failure NULL is returned and ptr stays valid. */
MUST_USE void *mem_realloc(void *ptr, size_t size);
/* Grows an array of count elements of size bytes; NULL on overflow too. */
MUST_USE void *mem_realloc_array(void *ptr, size_t count, size_t size);
/* A NUL-terminated copy of len bytes at text. */
MUST_USE char *mem_strndup(const char *text, size_t len);
MUST_USE char *mem_strdup(const char *text);
/* For start-up only: ends the program with a message when memory is out. */
MUST_USE void *mem_zalloc_or_die(size_t size);
void mem_free(void *ptr);
/* For the whole program, before there are threads: a large allocation is the kernel's again as soon
 * as it is given back, however many of its size there have been. What a reload needs for a moment
 * would stay for good otherwise. */
void mem_give_back_large(void);
/* size zeroed bytes of the kernel's, aligned to align (a power of two, a page at least), owned by
 * the caller; given back, with the same size, they are the kernel's again. */
MUST_USE void *mem_map(size_t size, size_t align);
void mem_unmap(void *ptr, size_t size);
/* Of size bytes at ptr, inside an allocation, what is in them is of no use any more: their whole
 * pages are the kernel's until they are written to again. */
void mem_discard(void *ptr, size_t size);

/* Whether memory that is given back may be kept for its next user: not while a test wants to see
 * every allocation. */
#ifdef MEM_FAULTS
bool mem_may_pool(void);
/* For unit tests: of the allocations from here on, the first being 1, those from first to last fail
 * (none: 0, 0). mem_failed: how many did. */
void mem_fail(uint64_t first, uint64_t last);
uint64_t mem_failed(void);
#else
static inline bool mem_may_pool(void)
{
    return true;
}
#endif

/* a + b or a * b in *ret; false (then *ret means nothing) when it does not fit. */
MUST_USE bool mem_add(size_t a, size_t b, size_t *ret);
MUST_USE bool mem_mul(size_t a, size_t b, size_t *ret);
