// SPDX-License-Identifier: MIT
#include "io/io.h"

#include <errno.h>

#include "base/err.h"
#include "base/mem.h"
#include "io/loop.h"
#include "io/outq.h"

/* What is read at once while the buffer budget is spent. */
#define IO_SPENT_READ_BYTES ((size_t)4 << 10)

int io_init(struct io *io, struct buf_budget *budget, struct fd_budget *fds)
{
    int r;

    *io = (struct io){.fds = fds};
    r = loop_new(&io->loop);
    if (r != 0) {
        return r;
    }
    io->scratch = mem_alloc(IO_SCRATCH_BYTES);
    if (!io->scratch) {
        loop_free(io->loop);
        io->loop = NULL;
        return -ENOMEM;
    }
    io->account = (struct buf_account){.budget = budget};
    slabs_init(&io->slabs);
    buf_pool_init(&io->bufs, &io->slabs, &io->account);
    arena_pool_init(&io->arenas, &io->slabs, &io->account);
    pipe_pool_init(&io->pipes, io);
    return 0;
}

void io_deinit(struct io *io)
{
    pipe_pool_deinit(&io->pipes);
    loop_free(io->loop);
    buf_account_settle(&io->account);
    slabs_deinit(&io->slabs);
    mem_free(io->scratch);
}

void io_flush(struct io *io)
{
    if (io->gather.owner) {
        outq_flush(io->gather.owner);
    }
}

char *io_scratch(struct io *io)
{
    io_flush(io);
    return io->scratch;
}

size_t io_read_bytes(const struct io *io)
{
    return UNLIKELY(buf_budget_is_spent(io->account.budget)) ? IO_SPENT_READ_BYTES
                                                             : IO_SCRATCH_BYTES;
}

bool io_fd_try(struct io *io, int count)
{
    struct fd_budget *fds = io->fds;

    if (atomic_fetch_add_explicit(&fds->used, count, memory_order_relaxed) + count <=
        atomic_load_explicit(&fds->max, memory_order_relaxed)) {
        return true;
    }
    atomic_fetch_sub_explicit(&fds->used, count, memory_order_relaxed);
    return false;
}

bool io_fd_take(struct io *io, int count)
{
    while (!io_fd_try(io, count)) {
        if (!io->relieve || !io->relieve(io->arg)) {
            return false;
        }
    }
    return true;
}

void io_fd_give(struct io *io, int count)
{
    int before = atomic_fetch_sub_explicit(&io->fds->used, count, memory_order_relaxed);

    ASSERT(before >= count);
    if (UNLIKELY(before + 2 > atomic_load_explicit(&io->fds->max, memory_order_relaxed)) &&
        io->relieved) {
        io->relieved(io->arg);
    }
}
