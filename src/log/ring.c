// SPDX-License-Identifier: MIT
#include "log/ring.h"

#include <errno.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"

int ring_init(struct ring *ring, size_t cap)
{
    *ring = (struct ring){.bytes = mem_alloc(cap), .cap = cap};
    return ring->bytes != NULL ? 0 : -ENOMEM;
}

void ring_deinit(struct ring *ring)
{
    mem_free(ring->bytes);
    *ring = (struct ring){.bytes = NULL};
}

/* The len bytes that begin start bytes behind first, in two parts (the second may be empty). */
static void cut(const struct ring *ring, size_t start, size_t len, struct str parts[2])
{
    size_t at = (ring->first + start) % ring->cap;
    size_t until_wrap = MIN(len, ring->cap - at);

    parts[0] = str_make(ring->bytes + at, until_wrap);
    parts[1] = str_make(ring->bytes, len - until_wrap);
}

/* The number of bytes in parts up to and with the last '\n'; 0 when there is none. */
static size_t whole_lines(const struct str parts[2])
{
    size_t at = str_rfind(parts[1], '\n');

    if (at < parts[1].len) {
        return parts[0].len + at + 1;
    }
    at = str_rfind(parts[0], '\n');
    return at < parts[0].len ? at + 1 : 0;
}

bool ring_put(struct ring *ring, struct str lines)
{
    size_t at = (ring->first + ring->used) % ring->cap;
    size_t until_wrap = MIN(lines.len, ring->cap - at);

    if (lines.len > ring_space(ring)) {
        return false;
    }
    memcpy(ring->bytes + at, lines.ptr, until_wrap);
    memcpy(ring->bytes, lines.ptr + until_wrap, lines.len - until_wrap);
    ring->used += lines.len;
    ring->touched = MAX(ring->touched, MIN(at + lines.len, ring->cap));
    return true;
}

int ring_front(const struct ring *ring, size_t max_bytes, struct iovec ret_parts[2])
{
    struct str parts[2];
    size_t len = MIN(ring->used - ring->sent, max_bytes);
    size_t whole;

    cut(ring, ring->sent, len, parts);
    whole = whole_lines(parts);
    if (whole > 0) {
        cut(ring, ring->sent, whole, parts);
    }
    for (size_t i = 0; i < 2; i++) {
        ret_parts[i].iov_base = ring->bytes + (parts[i].ptr - ring->bytes);
        ret_parts[i].iov_len = parts[i].len;
    }
    return parts[1].len > 0 ? 2 : 1;
}

/* A reader that keeps up touches the same few pages; what lines took that waited for a slow one
 * goes back. */
static void begin_anew(struct ring *ring)
{
    ring->first = 0;
    if (ring->touched > RING_KEPT_BYTES) {
        mem_discard(ring->bytes + RING_KEPT_BYTES, ring->touched - RING_KEPT_BYTES);
        ring->touched = RING_KEPT_BYTES;
    }
}

void ring_sent(struct ring *ring, size_t len)
{
    struct str parts[2];
    size_t whole;

    ASSERT(len <= ring->used - ring->sent);
    cut(ring, ring->sent, len, parts);
    whole = whole_lines(parts);
    ring->sent += len;
    if (whole == 0) {
        return;
    }
    whole += ring->sent - len;
    ring->first = (ring->first + whole) % ring->cap;
    ring->used -= whole;
    ring->sent -= whole;
    if (ring->used == 0) {
        begin_anew(ring);
    }
}

void ring_rewind(struct ring *ring)
{
    ring->sent = 0;
}

uint64_t ring_count_lines(const struct ring *ring)
{
    struct str parts[2];
    uint64_t count = 0;

    cut(ring, 0, ring->used, parts);
    for (size_t i = 0; i < 2; i++) {
        for (size_t at = 0; at < parts[i].len; at++) {
            count += parts[i].ptr[at] == '\n';
        }
    }
    return count;
}
