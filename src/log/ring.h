// SPDX-License-Identifier: MIT
#pragma once

/*
 * The log writer's bounded queue, private to this room: whole lines go in at
 * the back, what write(2) took goes out at the front. Bytes of a line that
 * has only partly gone out are kept until its end has, so that it can be
 * written again from its start elsewhere. Not locked.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/attr.h"
#include "base/str.h"

struct ring {
    char *bytes; /* owned */
    size_t cap;
    size_t first;   /* where the oldest line not wholly sent begins */
    size_t used;    /* bytes from there */
    size_t sent;    /* how many of them went out; less than used, or 0 */
    size_t touched; /* bytes from the start that have memory: that far lines have come */
};

/* What an empty ring keeps of its memory. */
#define RING_KEPT_BYTES ((size_t)256 << 10)

/* 0, or -ENOMEM. */
MUST_USE int ring_init(struct ring *ring, size_t cap);
void ring_deinit(struct ring *ring);

static inline bool ring_is_empty(const struct ring *ring)
{
    return ring->used == 0;
}

static inline size_t ring_space(const struct ring *ring)
{
    return ring->cap - ring->used;
}

/* Copies lines, each ended by '\n', to the back; false when they do not all fit. */
MUST_USE bool ring_put(struct ring *ring, struct str lines);
/* The oldest bytes not sent, at most max_bytes, up to the end of a line where there is one within
 * that. They stay where they are until ring_sent. Returns the number of parts. */
int ring_front(const struct ring *ring, size_t max_bytes, struct iovec parts[2]);
/* len more bytes went out. */
void ring_sent(struct ring *ring, size_t len);
/* The line that has partly gone out is to go out again from its start. */
void ring_rewind(struct ring *ring);
/* Lines that have not wholly gone out. */
uint64_t ring_count_lines(const struct ring *ring);
