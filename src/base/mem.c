// SPDX-License-Identifier: MIT
#include "base/mem.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define LARGE_BYTES (256 << 10)

#ifdef MEM_FAULTS

#include <fcntl.h>
#include <stdatomic.h>

/* The file named by VIADUCT_FAULTS, shared with the test, which writes first_failing and
 * last_failing at any time. tests/system/faults.py knows this layout. */
struct mem_faults {
    _Atomic uint64_t calls;         /* allocations asked for */
    _Atomic uint64_t first_failing; /* the calls with these numbers, */
    _Atomic uint64_t last_failing;  /* counted from 1, return NULL */
    _Atomic uint64_t failed;
    _Atomic int64_t blocks; /* handed out and not yet given back */
};

static struct mem_faults *faults; /* NULL: no test is watching */

__attribute__((constructor)) static void map_faults(void)
{
    const char *path = getenv("VIADUCT_FAULTS");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    void *map;

    if (fd < 0) {
        return;
    }
    map = mmap(NULL, sizeof(*faults), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    (void)close(fd);
    if (map != MAP_FAILED) {
        faults = map;
    }
}

static bool is_refused(void)
{
    uint64_t call;

    if (!faults) {
        return false;
    }
    call = atomic_fetch_add(&faults->calls, 1) + 1;
    if (call < atomic_load(&faults->first_failing) || call > atomic_load(&faults->last_failing)) {
        return false;
    }
    atomic_fetch_add(&faults->failed, 1);
    return true;
}

static void count_blocks(int difference)
{
    if (faults) {
        atomic_fetch_add(&faults->blocks, difference);
    }
}

bool mem_may_pool(void)
{
    return !faults;
}

void mem_fail(uint64_t first, uint64_t last)
{
    static struct mem_faults own;

    faults = &own;
    atomic_store(&own.calls, 0);
    atomic_store(&own.failed, 0);
    atomic_store(&own.first_failing, first);
    atomic_store(&own.last_failing, last);
}

uint64_t mem_failed(void)
{
    return atomic_load(&faults->failed);
}

#else

static inline bool is_refused(void)
{
    return false;
}

static inline void count_blocks(int difference)
{
    (void)difference;
}

#endif

/* What an allocator gave us. */
static void *counted(void *ptr)
{
    if (ptr) {
        count_blocks(1);
    }
    return ptr;
}

void *mem_alloc(size_t size)
{
    return is_refused() ? NULL : counted(malloc(size));
}

void *mem_zalloc(size_t size)
{
    return is_refused() ? NULL : counted(calloc(1, size));
}

void *mem_realloc(void *ptr, size_t size)
{
    if (is_refused()) {
        return NULL;
    }
    return ptr ? realloc(ptr, size) : counted(malloc(size));
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
    if (ptr) {
        count_blocks(-1);
    }
    free(ptr);
}

/* Unless it is set, the C library raises the threshold to the largest block that was freed. */
void mem_give_back_large(void)
{
    (void)mallopt(M_MMAP_THRESHOLD, LARGE_BYTES);
}

#ifdef MEM_FAULTS

/* Of the sanitizer's, which watches its edges. */
void *mem_map(size_t size, size_t align)
{
    void *ptr =
        is_refused() ? NULL : counted(aligned_alloc(align, (size + align - 1) / align * align));

    if (ptr) {
        memset(ptr, 0, size);
    }
    return ptr;
}

void mem_unmap(void *ptr, size_t size)
{
    (void)size;
    mem_free(ptr);
}

#else

static char *map_pages(size_t size)
{
    void *ptr = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    return ptr == MAP_FAILED ? NULL : ptr;
}

static void unmap_pages(char *ptr, size_t size)
{
    if (size > 0) {
        (void)munmap(ptr, size);
    }
}

/* The kernel puts one mapping beside the other, so the first look normally finds it aligned. */
void *mem_map(size_t size, size_t align)
{
    char *ptr = map_pages(size);
    size_t skip;

    if (!ptr || (uintptr_t)ptr % align == 0) {
        return ptr;
    }
    unmap_pages(ptr, size);
    ptr = map_pages(size + align);
    if (!ptr) {
        return NULL;
    }
    skip = (align - (uintptr_t)ptr % align) % align;
    unmap_pages(ptr, skip);
    unmap_pages(ptr + skip + size, align - skip);
    return ptr + skip;
}

void mem_unmap(void *ptr, size_t size)
{
    unmap_pages(ptr, size);
}

#endif

void mem_discard(void *ptr, size_t size)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t before = (page - (uintptr_t)ptr % page) % page;

    if (size >= before + page) {
        (void)madvise((char *)ptr + before, (size - before) / page * page, MADV_DONTNEED);
    }
}

bool mem_add(size_t a, size_t b, size_t *ret)
{
    return !__builtin_add_overflow(a, b, ret);
}

bool mem_mul(size_t a, size_t b, size_t *ret)
{
    return !__builtin_mul_overflow(a, b, ret);
}
