// SPDX-License-Identifier: MIT
#pragma once

/*
 * Pipes for splice(2): taken while bytes are in flight, given back when
 * drained. A pipe that still holds bytes is closed instead, so that one
 * connection's bytes never reach another. Where there is no pipe, or none of
 * a useful size, the caller copies.
 */

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/attr.h"

struct io;
struct stream;

/* Asked for, and the most that is moved at once. Less serves, down to the second figure: a slot of
 * a pipe holds a page or a segment, so small ones move little. */
#define PIPE_BYTES ((size_t)1 << 20)
#define PIPE_MIN_BYTES ((size_t)256 << 10)
/* Kept by a worker for the next user: the pipes of one user of the system have a common limit. */
#define PIPE_POOL_KEPT 4
/* Open at one time, on one worker: the kernel's memory in them counts nowhere else. */
#define PIPE_POOL_MAX 128

struct pipe {
    int read_fd;
    int write_fd;
    size_t held_bytes; /* inside the pipe */
};

struct pipe_pool {
    struct io *io; /* borrowed */
    struct pipe pipes[PIPE_POOL_MAX];
    struct pipe *kept[PIPE_POOL_KEPT]; /* open and empty */
    size_t kept_count;
    struct pipe *closed[PIPE_POOL_MAX];
    size_t closed_count;
    uint64_t refused_until_ms; /* the system has refused one: it is not asked before then */
};

void pipe_pool_init(struct pipe_pool *pool, struct io *io);
void pipe_pool_deinit(struct pipe_pool *pool);
/* Owned by the caller until pipe_put, and empty; NULL: there is none, copy instead. */
MUST_USE struct pipe *pipe_get(struct pipe_pool *pool);
/* Takes the pipe back. NULL is accepted. */
void pipe_put(struct pipe_pool *pool, struct pipe *pipe);
/* Closes the pipes nobody uses; returns how many descriptors that freed. */
int pipe_pool_shrink(struct pipe_pool *pool);

/* Moves up to max bytes from the stream into the empty pipe. As stream_read, and -EOPNOTSUPP: the
 * kernel would not, nothing was taken. */
ssize_t pipe_fill(struct pipe *pipe, struct stream *from, uint64_t max);
/* Moves what the pipe holds (at least one byte) to the stream. Bytes moved, -EAGAIN when the stream
 * takes none now, -EOPNOTSUPP when the kernel would not (see pipe_read), or another negative errno:
 * the stream is dead. */
ssize_t pipe_drain(struct pipe *pipe, struct stream *to);
/* Reads all that the pipe holds; dst has room for held_bytes. 0 or negative errno. */
MUST_USE int pipe_read(struct pipe *pipe, char *dst);
