// SPDX-License-Identifier: MIT
#pragma once

/*
 * Pipes for splice(2): taken while bytes are in flight, given back when
 * drained. A pipe that still holds bytes is closed instead, so that one
 * connection's bytes never reach another.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/attr.h"

struct io;

#define PIPE_BYTES ((size_t)256 << 10) /* asked for; the kernel may give less */
#define PIPE_POOL_MAX 32

struct pipe {
    int read_fd;
    int write_fd;
    size_t held_bytes; /* inside the pipe */
};

struct pipe_pool {
    struct io *io; /* borrowed */
    struct pipe free_pipes[PIPE_POOL_MAX];
    size_t free_count;
    size_t max_free;
};

void pipe_pool_init(struct pipe_pool *pool, struct io *io, size_t max_free);
void pipe_pool_deinit(struct pipe_pool *pool);
/* 0 and *ret (owned), or negative errno (-EMFILE when the descriptor budget is spent): copy
 * instead. */
MUST_USE int pipe_get(struct pipe_pool *pool, struct pipe *ret);
/* Takes the pipe back; *pipe has read_fd -1 afterwards. */
void pipe_put(struct pipe_pool *pool, struct pipe *pipe);
/* Closes the pipes nobody uses; returns how many descriptors that freed. */
int pipe_pool_shrink(struct pipe_pool *pool);
