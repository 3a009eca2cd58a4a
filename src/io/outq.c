// SPDX-License-Identifier: MIT
#include "io/outq.h"

#include <errno.h>
#include <string.h>

#include "base/err.h"
#include "io/io.h"
#include "io/stream.h"

void outq_init(struct outq *q, struct io *io, struct stream *stream)
{
    *q = (struct outq){.io = io, .stream = stream};
}

static void forget_pieces(struct gather *gather)
{
    gather->owner = NULL;
    gather->count = 0;
    gather->bytes = 0;
    gather->copied = 0;
}

void outq_deinit(struct outq *q)
{
    if (q->io && q->io->gather.owner == q) {
        forget_pieces(&q->io->gather);
    }
    if (q->io) {
        buf_release(&q->pending, &q->io->bufs);
    }
    q->stream = NULL;
}

/* Makes the gather list q's own, with room for one more piece and copy_bytes. */
static struct gather *claim(struct outq *q, size_t copy_bytes)
{
    struct gather *gather = &q->io->gather;

    if (gather->owner && (gather->owner != q || gather->count == IO_GATHER_PIECES ||
                          copy_bytes > IO_GATHER_COPY_BYTES - gather->copied)) {
        outq_flush(gather->owner);
    }
    gather->owner = q;
    return gather;
}

static bool is_dead(const struct outq *q)
{
    return q->error != 0 || !q->stream;
}

void outq_add(struct outq *q, struct str s)
{
    struct gather *gather;

    if (s.len == 0 || is_dead(q)) {
        return;
    }
    gather = claim(q, 0);
    gather->pieces[gather->count++] =
        (struct iovec){.iov_base = (void *)(uintptr_t)s.ptr, .iov_len = s.len};
    gather->bytes += s.len;
}

void outq_add_copy(struct outq *q, struct str s)
{
    struct gather *gather;
    char *copy;

    ASSERT(s.len <= IO_GATHER_COPY_BYTES);
    if (s.len == 0 || is_dead(q)) {
        return;
    }
    gather = claim(q, s.len);
    copy = gather->copies + gather->copied;
    memcpy(copy, s.ptr, s.len);
    gather->copied += s.len;
    outq_add(q, str_make(copy, s.len));
}

static void fail(struct outq *q, int error)
{
    q->error = error;
    buf_release(&q->pending, &q->io->bufs);
}

/* Writes what waits from earlier. True when nothing is left of it. */
static bool write_pending(struct outq *q)
{
    while (buf_len(&q->pending) > 0) {
        struct str left = buf_str(&q->pending);
        struct iovec piece = {.iov_base = (void *)(uintptr_t)left.ptr, .iov_len = left.len};
        ssize_t n;

        if (!q->stream->writable) {
            return false;
        }
        n = stream_writev(q->stream, &piece, 1);
        if (n < 0) {
            if (n != -EAGAIN) {
                fail(q, (int)n);
            }
            return false;
        }
        q->written_bytes += (uint64_t)n;
        buf_consume(&q->pending, &q->io->bufs, (size_t)n);
    }
    return true;
}

/* Keeps all pieces but their first skip bytes. */
static int keep_pieces(struct outq *q, const struct gather *gather, size_t skip)
{
    int r = buf_reserve(&q->pending, &q->io->bufs, gather->bytes - skip);

    for (int i = 0; r == 0 && i < gather->count; i++) {
        size_t len = gather->pieces[i].iov_len;
        size_t from = MIN(skip, len);

        skip -= from;
        r = buf_append(&q->pending, &q->io->bufs, (const char *)gather->pieces[i].iov_base + from,
                       len - from);
    }
    return r;
}

static void write_pieces(struct outq *q, struct gather *gather)
{
    ssize_t n = -EAGAIN;
    int r;

    if (!outq_blocked(q) && q->stream->writable) {
        n = stream_writev(q->stream, gather->pieces, gather->count);
        if (n < 0 && n != -EAGAIN) {
            fail(q, (int)n);
            return;
        }
    }
    n = MAX(n, 0);
    q->written_bytes += (uint64_t)n;
    if ((size_t)n < gather->bytes) {
        r = keep_pieces(q, gather, (size_t)n);
        if (r != 0) {
            fail(q, r);
        }
    }
}

void outq_flush(struct outq *q)
{
    struct gather *gather = &q->io->gather;

    if (is_dead(q)) {
        if (gather->owner == q) {
            forget_pieces(gather);
        }
        return;
    }
    (void)write_pending(q);
    if (gather->owner == q) {
        if (q->error == 0) {
            write_pieces(q, gather);
        }
        forget_pieces(gather);
    }
}

bool outq_empty(const struct outq *q)
{
    return buf_len(&q->pending) == 0 && q->io->gather.owner != q;
}
