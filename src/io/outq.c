// SPDX-License-Identifier: MIT
#include "io/outq.h"

#include <errno.h>
#include <string.h>

#include "base/err.h"
#include "io/io.h"
#include "io/stream.h"

void outq_init(struct outq *q, struct stream *stream)
{
    *q = (struct outq){.stream = stream};
}

static struct io *io_of(const struct outq *q)
{
    return q->stream->io;
}

static void forget_pieces(struct gather *gather)
{
    gather->owner = NULL;
    gather->count = 0;
    gather->bytes = 0;
    gather->copied = 0;
}

static void drop_waiting(struct outq *q)
{
    buf_release(&q->pending, &io_of(q)->bufs);
    pipe_put(&io_of(q)->pipes, q->pipe);
    q->pipe = NULL;
}

void outq_deinit(struct outq *q)
{
    if (!q->stream) {
        return;
    }
    if (io_of(q)->gather.owner == q) {
        forget_pieces(&io_of(q)->gather);
    }
    drop_waiting(q);
    q->stream = NULL;
}

/* Makes the gather list q's own, with room for one more piece and copy_bytes. */
static struct gather *claim(struct outq *q, size_t copy_bytes)
{
    struct gather *gather = &io_of(q)->gather;

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

static bool is_end_of(const struct iovec *piece, const char *ptr)
{
    return (const char *)piece->iov_base + piece->iov_len == ptr;
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
    if (gather->count > 0 && is_end_of(&gather->pieces[gather->count - 1], copy)) {
        gather->pieces[gather->count - 1].iov_len += s.len;
        gather->bytes += s.len;
    } else {
        outq_add(q, str_make(copy, s.len));
    }
}

static void fail(struct outq *q, int error)
{
    q->error = error;
    drop_waiting(q);
}

/* The kernel will not splice to this stream: what the pipe holds goes in front of what waits. */
static int unload_pipe(struct outq *q, struct pipe *pipe)
{
    struct buf_pool *bufs = &io_of(q)->bufs;
    struct str behind = buf_str(&q->pending);
    size_t held = pipe->held_bytes;
    struct buf all = {0};
    int r = buf_reserve(&all, bufs, held + behind.len);

    if (r == 0) {
        r = pipe_read(pipe, buf_room(&all));
    }
    if (r != 0) {
        buf_release(&all, bufs);
        return r;
    }
    buf_extend(&all, held);
    r = buf_append(&all, bufs, behind.ptr, behind.len);
    drop_waiting(q);
    q->pending = all;
    return r;
}

/* Writes what the pipe holds and gives it back when that was all. False when something is left. */
static bool write_pipe(struct outq *q)
{
    struct pipe *pipe = q->pipe;

    while (pipe->held_bytes > 0) {
        ssize_t n;

        if (!q->stream->writable) {
            return false;
        }
        n = pipe_drain(pipe, q->stream);
        if (n == -EOPNOTSUPP) {
            n = unload_pipe(q, pipe);
            if (n == 0) {
                return true;
            }
        }
        if (n < 0) {
            if (n != -EAGAIN) {
                fail(q, (int)n);
            }
            return false;
        }
        q->written_bytes += (uint64_t)n;
    }
    pipe_put(&io_of(q)->pipes, pipe);
    q->pipe = NULL;
    return true;
}

/* Writes what waits from earlier. True when nothing is left of it. */
static bool write_pending(struct outq *q)
{
    if (q->pipe && !write_pipe(q)) {
        return false;
    }
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
        buf_consume(&q->pending, &io_of(q)->bufs, (size_t)n);
    }
    return true;
}

/* Keeps all pieces but their first skip bytes. */
static int keep_pieces(struct outq *q, const struct gather *gather, size_t skip)
{
    int r = buf_reserve(&q->pending, &io_of(q)->bufs, gather->bytes - skip);

    for (int i = 0; r == 0 && i < gather->count; i++) {
        size_t len = gather->pieces[i].iov_len;
        size_t from = MIN(skip, len);

        skip -= from;
        r = buf_append(&q->pending, &io_of(q)->bufs,
                       (const char *)gather->pieces[i].iov_base + from, len - from);
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
    struct gather *gather;

    if (!q->stream) {
        return;
    }
    gather = &io_of(q)->gather;
    if (q->error != 0) {
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

ssize_t outq_splice(struct outq *q, struct stream *from, uint64_t max)
{
    ssize_t n;

    if (!from->plenty || max < OUTQ_SPLICE_MIN_BYTES || !stream_can_splice(from)) {
        return -EOPNOTSUPP;
    }
    outq_flush(q);
    if (outq_blocked(q)) {
        return -EAGAIN;
    }
    if (is_dead(q) || !stream_can_splice(q->stream)) {
        return -EOPNOTSUPP;
    }
    q->pipe = pipe_get(&io_of(q)->pipes);
    if (!q->pipe) {
        return -EOPNOTSUPP;
    }
    n = pipe_fill(q->pipe, from, max);
    (void)write_pending(q);
    return n;
}

bool outq_empty(const struct outq *q)
{
    return !outq_blocked(q) && (!q->stream || io_of(q)->gather.owner != q);
}
