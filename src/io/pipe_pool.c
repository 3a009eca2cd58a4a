// SPDX-License-Identifier: MIT
#include "io/pipe_pool.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/err.h"
#include "io/io.h"
#include "io/loop.h"
#include "io/stream.h"

/* A source that gave this much at once is likely to have as much again. */
#define PLENTY_BYTES ((ssize_t)32 << 10)
/* Pipes that the system refuses are asked for again after this time: each try costs more than what
 * it would save. */
#define REFUSED_MS 1000

/* ------------------------------------------------------------------ having pipes */

void pipe_pool_init(struct pipe_pool *pool, struct io *io)
{
    *pool = (struct pipe_pool){.io = io};
    for (size_t i = 0; i < PIPE_POOL_MAX; i++) {
        pool->closed[pool->closed_count++] = &pool->pipes[i];
    }
}

static void close_pipe(struct pipe_pool *pool, struct pipe *pipe)
{
    (void)close(pipe->read_fd);
    (void)close(pipe->write_fd);
    io_fd_give(pool->io, 2);
    pool->closed[pool->closed_count++] = pipe;
}

int pipe_pool_shrink(struct pipe_pool *pool)
{
    int freed = 0;

    while (pool->kept_count > 0) {
        close_pipe(pool, pool->kept[--pool->kept_count]);
        freed += 2;
    }
    return freed;
}

void pipe_pool_deinit(struct pipe_pool *pool)
{
    (void)pipe_pool_shrink(pool);
}

/* False beyond the pipe limits of an ordinary user (EPERM): what is left there is very small. */
static bool enlarge(int fd)
{
    for (size_t size = PIPE_BYTES; size >= PIPE_MIN_BYTES; size /= 4) {
        if (fcntl(fd, F_SETPIPE_SZ, (int)size) >= 0) {
            return true;
        }
    }
    return false;
}

/* False when the system refuses; then nothing is open. */
static bool open_large(int fds[2])
{
    if (pipe2(fds, O_NONBLOCK | O_CLOEXEC) != 0) {
        return false;
    }
    if (!enlarge(fds[1])) {
        (void)close(fds[0]);
        (void)close(fds[1]);
        return false;
    }
    return true;
}

static struct pipe *open_pipe(struct pipe_pool *pool)
{
    uint64_t now_ms = loop_now_ms(pool->io->loop);
    struct pipe *pipe;
    int fds[2];

    /* Copying serves: nobody is closed for a pipe. */
    if (now_ms < pool->refused_until_ms || !io_fd_try(pool->io, 2)) {
        return NULL;
    }
    if (!open_large(fds)) {
        io_fd_give(pool->io, 2);
        pool->refused_until_ms = now_ms + REFUSED_MS;
        return NULL;
    }
    pipe = pool->closed[--pool->closed_count];
    *pipe = (struct pipe){.read_fd = fds[0], .write_fd = fds[1]};
    return pipe;
}

struct pipe *pipe_get(struct pipe_pool *pool)
{
    if (pool->kept_count > 0) {
        return pool->kept[--pool->kept_count];
    }
    return pool->closed_count > 0 ? open_pipe(pool) : NULL;
}

void pipe_put(struct pipe_pool *pool, struct pipe *pipe)
{
    if (!pipe) {
        return;
    }
    if (pipe->held_bytes == 0 && pool->kept_count < PIPE_POOL_KEPT) {
        pool->kept[pool->kept_count++] = pipe;
    } else {
        close_pipe(pool, pipe);
    }
}

/* ------------------------------------------------------------------ moving bytes */

/* What kind of failure errno is, of a call that splices to or from the stream. */
static ssize_t failure(struct stream *stream)
{
    int error = errno;

    if (error == EINVAL || error == ENOSYS) {
        stream->no_splice = true; /* it will not ever */
    }
    return error == EINVAL || error == ENOSYS || error == ENOMEM ? -EOPNOTSUPP : -error;
}

ssize_t pipe_fill(struct pipe *pipe, struct stream *from, uint64_t max)
{
    ssize_t n;

    ASSERT(pipe->held_bytes == 0);
    do {
        n = splice(stream_splice_fd(from), NULL, pipe->write_fd, NULL,
                   (size_t)MIN(max, (uint64_t)PIPE_BYTES), SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    } while (n < 0 && errno == EINTR);
    if (n >= 0) {
        pipe->held_bytes = (size_t)n;
        from->plenty = n >= PLENTY_BYTES;
        return n;
    }
    if (errno == EAGAIN) { /* the pipe was empty, so it is the stream that is */
        from->readable = false;
        return -EAGAIN;
    }
    return failure(from);
}

ssize_t pipe_drain(struct pipe *pipe, struct stream *to)
{
    ssize_t n;

    do {
        n = splice(pipe->read_fd, NULL, stream_splice_fd(to), NULL, pipe->held_bytes,
                   SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    } while (n < 0 && errno == EINTR);
    if (n > 0) {
        pipe->held_bytes -= (size_t)n;
        return n;
    }
    if (n < 0 && errno == EAGAIN) {
        to->writable = false;
        return -EAGAIN;
    }
    return n < 0 ? failure(to) : -EIO;
}

int pipe_read(struct pipe *pipe, char *dst)
{
    while (pipe->held_bytes > 0) {
        ssize_t n = read(pipe->read_fd, dst, pipe->held_bytes);

        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return n < 0 ? -errno : -EIO;
        }
        dst += n;
        pipe->held_bytes -= (size_t)n;
    }
    return 0;
}
