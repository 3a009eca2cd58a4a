// SPDX-License-Identifier: MIT
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void *mem_alloc(size_t size)
{
    return malloc(size);
}

void *mem_zalloc(size_t size)
{
    return calloc(1, size);
}

void *mem_realloc(void *ptr, size_t size)
{
    return realloc(ptr, size);
}

void *mem_realloc_array(void *ptr, size_t count, size_t size)
{
    size_t total;

    if (!mem_mul(count, size, &total)) {
        return NULL;
    }
    return mem_realloc(ptr, total);
}

char *mem_strndup(const char *text, size_t len)
{
    char *copy = mem_alloc(len + 1);

    if (!copy) {
        return NULL;
    }
    if (len > 0) {
        memcpy(copy, text, len);
    }
    copy[len] = '\0';
    return copy;
}

char *mem_strdup(const char *text)
{
    return mem_strndup(text, strlen(text));
}

void *mem_zalloc_or_die(size_t size)
{
    void *ptr = mem_zalloc(size);

    if (!ptr) {
        (void)fprintf(stderr, "viaduct: out of memory at start\n");
        exit(1);
    }
    return ptr;
}

void mem_free(void *ptr)
{
    free(ptr);
}

bool mem_add(size_t a, size_t b, size_t *ret)
{
    return !__builtin_add_overflow(a, b, ret);
}

bool mem_mul(size_t a, size_t b, size_t *ret)
{
    return !__builtin_mul_overflow(a, b, ret);
}
