// SPDX-License-Identifier: MIT
#include "io/pipe_pool.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/err.h"
#include "io/io.h"

void pipe_pool_init(struct pipe_pool *pool, struct io *io, size_t max_free)
{
    ASSERT(max_free <= PIPE_POOL_MAX);
    pool->io = io;
    pool->free_count = 0;
    pool->max_free = max_free;
}

static void close_pipe(struct pipe_pool *pool, struct pipe *pipe)
{
    (void)close(pipe->read_fd);
    (void)close(pipe->write_fd);
    io_fd_give(pool->io, 2);
}

int pipe_pool_shrink(struct pipe_pool *pool)
{
    int freed = 0;

    while (pool->free_count > 0) {
        close_pipe(pool, &pool->free_pipes[--pool->free_count]);
        freed += 2;
    }
    return freed;
}

void pipe_pool_deinit(struct pipe_pool *pool)
{
    (void)pipe_pool_shrink(pool);
}

int pipe_get(struct pipe_pool *pool, struct pipe *ret)
{
    int fds[2];

    if (pool->free_count > 0) {
        *ret = pool->free_pipes[--pool->free_count];
        return 0;
    }
    if (!io_fd_try(pool->io, 2)) { /* copying serves: nobody is closed for a pipe */
        return -EMFILE;
    }
    if (pipe2(fds, O_NONBLOCK | O_CLOEXEC) != 0) {
        int r = -errno;

        io_fd_give(pool->io, 2);
        return r;
    }
    /* EPERM beyond the user's pipe limits: the default size serves. */
    (void)fcntl(fds[1], F_SETPIPE_SZ, (int)PIPE_BYTES);
    *ret = (struct pipe){.read_fd = fds[0], .write_fd = fds[1]};
    return 0;
}

void pipe_put(struct pipe_pool *pool, struct pipe *pipe)
{
    if (pipe->read_fd < 0) {
        return;
    }
    if (pipe->held_bytes == 0 && pool->free_count < pool->max_free) {
        pool->free_pipes[pool->free_count++] = *pipe;
    } else {
        close_pipe(pool, pipe);
    }
    *pipe = (struct pipe){.read_fd = -1, .write_fd = -1};
}
