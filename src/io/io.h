// SPDX-License-Identifier: MIT
#pragma once

/*
 * What all connections of one worker share on the data path: the loop, the
 * pools of buffers, chunks and pipes, one large read buffer, and the list of
 * pieces about to be written. Nothing of it is touched by another thread,
 * except the descriptor budget, which all workers share.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/uio.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/buf.h"
#include "base/slab.h"
#include "io/pipe_pool.h"

struct loop;
struct outq;

/* A body of 64 KiB comes with its head in one read. */
#define IO_SCRATCH_BYTES ((size_t)80 << 10)
#define IO_GATHER_PIECES 64
#define IO_GATHER_COPY_BYTES 2048

/* Sockets and pipes of all workers are one budget. */
struct fd_budget {
    _Atomic int used;
    _Atomic int max;
};

/* Pieces queued for one stream since its last flush; see outq.h. */
struct gather {
    struct outq *owner; /* borrowed; NULL: empty */
    int count;
    size_t bytes;
    size_t copied;
    struct iovec pieces[IO_GATHER_PIECES];
    char copies[IO_GATHER_COPY_BYTES];
};

struct io {
    struct loop *loop;          /* owned */
    struct slabs slabs;         /* what connections consist of */
    struct buf_account account; /* of the memory that bufs and arenas have in use */
    struct buf_pool bufs;
    struct arena_pool arenas;
    struct pipe_pool pipes;
    struct fd_budget *fds; /* shared */
    /* Makes descriptors free on this worker (idle connections); true when at least one is. */
    bool (*relieve)(void *arg);
    /* Descriptors were given back while the budget was spent. */
    void (*relieved)(void *arg);
    void *arg;
    char *scratch; /* owned */
    struct gather gather;
};

/* 0 or negative errno. */
MUST_USE int io_init(struct io *io, struct buf_budget *budget, struct fd_budget *fds);
void io_deinit(struct io *io);

/* The read buffer of IO_SCRATCH_BYTES. Valid until the next call; queued pieces that view it are
 * written (or copied) first. */
char *io_scratch(struct io *io);
/* How much to read at once: little while the buffer budget is spent, so that what runs goes on and
 * adds little to it. */
size_t io_read_bytes(const struct io *io);
/* Writes what is queued, whomever it is for. */
void io_flush(struct io *io);

/* count descriptors off the budget, if there are so many. */
MUST_USE bool io_fd_try(struct io *io, int count);
/* The same, and idle connections are closed for it; false when it is spent and nothing could be
 * made free. */
MUST_USE bool io_fd_take(struct io *io, int count);
void io_fd_give(struct io *io, int count);
