// SPDX-License-Identifier: MIT
#pragma once

/*
 * What is to be written to one stream. Pieces are gathered without copying
 * while one event is worked on, leave in one call at its end, and only what
 * the kernel did not take is copied into a buffer: that is the moment to stop
 * reading on the other side. At most one read's worth is ever held. Bulk goes
 * from stream to stream through a pipe and is never read at all.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/str.h"

struct pipe;
struct stream;

struct outq {
    struct stream *stream; /* borrowed; NULL: everything is thrown away */
    struct pipe *pipe;     /* owned; what it holds is written first. NULL: it holds nothing */
    struct buf pending;
    uint64_t written_bytes; /* taken by the kernel so far */
    int error; /* first failure of the stream (negative errno), then nothing is written any more */
};

void outq_init(struct outq *q, struct stream *stream);
/* Drops what waits; the queue can be used again after outq_init. */
void outq_deinit(struct outq *q);

/* Queues s, borrowed until the next outq_flush of q, io_flush or io_scratch. */
void outq_add(struct outq *q, struct str s);
/* Queues a copy of s; short pieces (chunk sizes) that live on the stack. */
void outq_add_copy(struct outq *q, struct str s);
/* Writes as much as goes. Afterwards nothing is borrowed. */
void outq_flush(struct outq *q);

/* Below this splicing does not pay: what is left is read as usual. */
#define OUTQ_SPLICE_MIN_BYTES ((uint64_t)64 << 10)
/* Takes up to max bytes from the stream, behind all that is queued, and writes as much as goes;
 * what the kernel did not take waits in a pipe. As stream_read, with two more meanings:
 * -EOPNOTSUPP: nothing was taken, read instead (there is little to expect, or splicing cannot be);
 * -EAGAIN is also told while the queue is blocked. */
ssize_t outq_splice(struct outq *q, struct stream *from, uint64_t max);

/* Bytes wait for the stream to become writable: the source should pause. */
static inline bool outq_blocked(const struct outq *q)
{
    return q->pipe || buf_len(&q->pending) > 0;
}
/* Nothing waits, nothing is gathered. */
bool outq_empty(const struct outq *q);
