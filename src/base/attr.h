// SPDX-License-Identifier: MIT
#pragma once

/*
 * Compiler attributes and the few macros that every room uses. Nothing here
 * generates code of its own.
 */

#include <stddef.h>

#define MUST_USE __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, first) __attribute__((format(printf, fmt, first)))
#define NORETURN __attribute__((noreturn))
#define UNUSED __attribute__((unused))
/* Behind an enum's closing brace: it takes one byte. */
#define SMALL __attribute__((packed))
/* Runs fn(&variable) when the variable goes out of scope. */
#define CLEANUP(fn) __attribute__((cleanup(fn)))

#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)

#define ARRAY_LEN(array) (sizeof(array) / sizeof((array)[0]))
#define CONTAINER_OF(ptr, type, member)                                                            \
    ((type *)(void *)&((char *)(ptr))[-(ptrdiff_t)offsetof(type, member)])
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))
