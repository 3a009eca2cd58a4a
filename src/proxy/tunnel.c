// SPDX-License-Identifier: MIT
#include "proxy/tunnel.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "conf/conf.h"
#include "io/io.h"
#include "io/stream.h"
#include "log/record.h"
#include "proxy/downstream.h"
#include "proxy/proxy.h"

/* What one direction may move before others have their turn. */
#define TURN_BYTES ((size_t)512 << 10)

enum half_state {
    HALF_COPY,   /* through the worker's read buffer */
    HALF_SPLICE, /* through a pipe */
    HALF_FLUSH,  /* the source has ended, bytes are held */
    HALF_SHUT,   /* the end was passed on */
    HALF_FAILED, /* the sink takes nothing more: what it has sent is still read */
};

/* One direction. */
struct half {
    enum half_state state;
    struct stream *from; /* borrowed from the tunnel */
    struct stream *to;
    struct buf held;      /* read, not yet written */
    struct pipe pipe;     /* read_fd -1: none */
    bool no_splice;       /* the kernel would not */
    uint64_t moved_bytes; /* written */
};

struct tunnel {
    struct proxy *proxy;
    struct stream *client; /* owned */
    struct stream *origin; /* owned */
    struct half up;        /* client to origin */
    struct half down;
    struct deadline idle;
    struct deadline whole;
    struct task task;
    struct list node;
    struct corpse corpse;
    struct log_record record; /* strings in texts */
    char *texts;              /* owned */
    uint64_t start_ms;
    bool closed;
};

enum move { MOVE_NONE, MOVE_SOME, MOVE_SOURCE_FAILED, MOVE_SINK_FAILED, MOVE_NO_MEMORY };

static void drive(struct tunnel *t);

static void set_half(struct half *half, enum half_state state)
{
    static const unsigned allowed[] = {
        [HALF_COPY] = 1U << HALF_SPLICE | 1U << HALF_FLUSH | 1U << HALF_FAILED,
        [HALF_SPLICE] = 1U << HALF_COPY | 1U << HALF_FLUSH | 1U << HALF_FAILED,
        [HALF_FLUSH] = 1U << HALF_SHUT | 1U << HALF_FAILED,
        [HALF_SHUT] = 0,
        [HALF_FAILED] = 0,
    };

    ASSERT(allowed[half->state] & 1U << state);
    half->state = state;
}

/* ------------------------------------------------------------------ the end */

static void bury_tunnel(struct corpse *corpse)
{
    struct tunnel *t = CONTAINER_OF(corpse, struct tunnel, corpse);

    mem_free(t->texts);
    mem_free(t);
}

static void release_half(struct proxy *proxy, struct half *half)
{
    buf_release(&half->held, &proxy->io->bufs);
    pipe_put(&proxy->io->pipes, &half->pipe);
}

static void write_line(struct tunnel *t, const char *end)
{
    struct log_record *record = &t->record;

    record->bytes_in += t->up.moved_bytes;
    record->bytes_out += t->down.moved_bytes;
    record->body_bytes_out = t->down.moved_bytes;
    record->end_wall_ms = clock_wall_ms();
    record->total_ms =
        (uint32_t)MIN(loop_now_ms(t->proxy->io->loop) - t->start_ms, RECORD_MS_NONE - 1);
    record->end = str_of(end);
    access_log_put(&t->proxy->access, record);
}

/* reset_*: that peer must see that it has not everything. */
static void close_tunnel(struct tunnel *t, const char *end, bool reset_client, bool reset_origin)
{
    struct addr client = t->client->peer;

    ASSERT(!t->closed);
    t->closed = true;
    write_line(t, end);
    release_half(t->proxy, &t->up);
    release_half(t->proxy, &t->down);
    deadline_disarm(&t->idle);
    deadline_disarm(&t->whole);
    task_cancel(&t->task);
    list_remove(&t->node);
    stream_close(t->client, reset_client);
    stream_close(t->origin, reset_origin);
    t->proxy->client_gone(t->proxy->arg, &client, false);
    loop_bury(t->proxy->io->loop, &t->corpse, bury_tunnel);
}

/* ------------------------------------------------------------------ moving bytes */

static enum move write_held(struct proxy *proxy, struct half *half)
{
    struct str held = buf_str(&half->held);
    struct iovec piece = {.iov_base = (void *)(uintptr_t)held.ptr, .iov_len = held.len};
    ssize_t n;

    if (!half->to->writable) {
        return MOVE_NONE;
    }
    n = stream_writev(half->to, &piece, 1);
    if (n < 0) {
        return n == -EAGAIN ? MOVE_NONE : MOVE_SINK_FAILED;
    }
    half->moved_bytes += (uint64_t)n;
    buf_consume(&half->held, &proxy->io->bufs, (size_t)n);
    return MOVE_SOME;
}

/* Bulk pays for a pipe: a read filled the buffer, and both ends can splice. Without a pipe it is
 * copied on. */
static void try_splice(struct proxy *proxy, struct half *half)
{
    if (half->no_splice || stream_splice_fd(half->from) < 0 || stream_splice_fd(half->to) < 0 ||
        pipe_get(&proxy->io->pipes, &half->pipe) != 0) {
        return;
    }
    set_half(half, HALF_SPLICE);
}

static enum move copy(struct proxy *proxy, struct half *half)
{
    char *scratch = io_scratch(proxy->io);
    ssize_t n = stream_read(half->from, scratch, io_read_bytes(proxy->io));
    struct iovec piece = {.iov_base = scratch};
    ssize_t written = 0;

    if (n == -EAGAIN) {
        return MOVE_NONE;
    }
    if (n < 0) {
        return MOVE_SOURCE_FAILED;
    }
    if (n == 0) {
        set_half(half, HALF_FLUSH);
        return MOVE_SOME;
    }
    piece.iov_len = (size_t)n;
    if (half->to->writable) {
        written = stream_writev(half->to, &piece, 1);
        if (written < 0 && written != -EAGAIN) {
            return MOVE_SINK_FAILED;
        }
        written = MAX(written, 0);
    }
    half->moved_bytes += (uint64_t)written;
    if (buf_append(&half->held, &proxy->io->bufs, scratch + written, (size_t)(n - written)) != 0) {
        return MOVE_NO_MEMORY;
    }
    if ((size_t)n == IO_SCRATCH_BYTES && half->from->readable) {
        try_splice(proxy, half);
    }
    return MOVE_SOME;
}

static enum move fill_pipe(struct half *half)
{
    ssize_t n;

    do {
        n = splice(stream_splice_fd(half->from), NULL, half->pipe.write_fd, NULL, PIPE_BYTES,
                   SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    } while (n < 0 && errno == EINTR);
    if (n > 0) {
        half->pipe.held_bytes += (size_t)n;
        return MOVE_SOME;
    }
    if (n == 0) {
        set_half(half, HALF_FLUSH);
        return MOVE_SOME;
    }
    if (errno == EAGAIN) {
        /* The socket is empty, or the pipe is full: only an empty pipe tells which. */
        if (half->pipe.held_bytes == 0) {
            half->from->readable = false;
        }
        return MOVE_NONE;
    }
    if (errno == EINVAL || errno == ENOSYS || errno == ENOMEM) {
        half->no_splice = true; /* it is copied from now on */
        return MOVE_SOME;
    }
    return MOVE_SOURCE_FAILED;
}

static enum move empty_pipe(struct half *half)
{
    ssize_t n;

    if (!half->to->writable) {
        return MOVE_NONE;
    }
    do {
        n = splice(half->pipe.read_fd, NULL, stream_splice_fd(half->to), NULL,
                   half->pipe.held_bytes, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    } while (n < 0 && errno == EINTR);
    if (n > 0) {
        half->pipe.held_bytes -= (size_t)n;
        half->moved_bytes += (uint64_t)n;
        return MOVE_SOME;
    }
    if (n < 0 && errno == EAGAIN) {
        half->to->writable = false;
        return MOVE_NONE;
    }
    return MOVE_SINK_FAILED;
}

static enum move splice_through(struct proxy *proxy, struct half *half)
{
    enum move filled = half->from->readable && !half->no_splice ? fill_pipe(half) : MOVE_NONE;
    enum move emptied = MOVE_NONE;

    if (filled == MOVE_SOURCE_FAILED) {
        return filled;
    }
    if (half->pipe.held_bytes > 0) {
        emptied = empty_pipe(half);
    }
    if (half->state == HALF_SPLICE && half->pipe.held_bytes == 0 &&
        (filled == MOVE_NONE || half->no_splice)) {
        /* Drained: the pipe serves others until there is bulk again. */
        pipe_put(&proxy->io->pipes, &half->pipe);
        set_half(half, HALF_COPY);
    }
    return emptied != MOVE_NONE ? emptied : filled;
}

static enum move flush(struct proxy *proxy, struct half *half)
{
    if (half->pipe.held_bytes > 0) {
        return empty_pipe(half);
    }
    pipe_put(&proxy->io->pipes, &half->pipe);
    set_half(half, HALF_SHUT);
    /* A peer that has closed already has its end; nothing is lost by a failure here. */
    (void)stream_shut_write(half->to);
    return MOVE_SOME;
}

/* One step of one direction. */
static enum move step(struct proxy *proxy, struct half *half)
{
    if (buf_len(&half->held) > 0) {
        return write_held(proxy, half);
    }
    switch (half->state) {
    case HALF_COPY:
        return half->from->readable ? copy(proxy, half) : MOVE_NONE;
    case HALF_SPLICE:
        return splice_through(proxy, half);
    case HALF_FLUSH:
        return flush(proxy, half);
    case HALF_SHUT:
    case HALF_FAILED:
        break;
    }
    return MOVE_NONE;
}

/* ------------------------------------------------------------------ both directions */

static bool is_half_over(const struct tunnel *t)
{
    return t->up.state >= HALF_SHUT || t->down.state >= HALF_SHUT;
}

static void rearm(struct tunnel *t)
{
    const struct conf *conf = t->proxy->conf;
    uint64_t idle_ms = is_half_over(t) ? conf->timeouts.idle_ms : conf->timeouts.tunnel_idle_ms;

    if (idle_ms > 0) {
        deadline_arm(&t->idle, idle_ms);
    }
}

/* The sink is gone, but what it sent before may lie unread: the other direction reads it to its
 * end. */
static void give_up_half(struct tunnel *t, struct half *half)
{
    release_half(t->proxy, half);
    set_half(half, HALF_FAILED);
    half->to->readable = true;
    loop_defer(t->proxy->io->loop, &t->task);
}

/* Steps until nothing moves; false when the tunnel was closed over a failure. */
static bool drive_half(struct tunnel *t, struct half *half, bool *moved)
{
    uint64_t limit = half->moved_bytes + TURN_BYTES;
    bool is_up = half == &t->up;

    while (half->moved_bytes < limit) {
        switch (step(t->proxy, half)) {
        case MOVE_NONE:
            return true;
        case MOVE_SOME:
            *moved = true;
            break;
        case MOVE_SOURCE_FAILED:
            close_tunnel(t, is_up ? "client-closed" : "upstream-closed", true, true);
            return false;
        case MOVE_NO_MEMORY:
            close_tunnel(t, "error:no-memory", true, true);
            return false;
        case MOVE_SINK_FAILED:
            give_up_half(t, half);
            return true;
        }
    }
    loop_defer(t->proxy->io->loop, &t->task);
    return true;
}

static void drive(struct tunnel *t)
{
    bool moved = false;

    if (!drive_half(t, &t->up, &moved) || !drive_half(t, &t->down, &moved)) {
        return;
    }
    if ((t->up.state == HALF_FAILED && t->down.state >= HALF_SHUT) ||
        (t->down.state == HALF_FAILED && t->up.state >= HALF_SHUT)) {
        bool up = t->up.state == HALF_FAILED;

        close_tunnel(t, up ? "upstream-closed" : "client-closed", !up, true);
        return;
    }
    if (t->up.state == HALF_SHUT && t->down.state == HALF_SHUT) {
        close_tunnel(t, "complete", false, false);
        return;
    }
    if (moved) {
        rearm(t);
    }
}

/* Bytes on the way keep a direction from reading on, and so from meeting the reset of its source:
 * its event is the only sign. */
static bool is_reset_unread(const struct half *half)
{
    bool holds = buf_len(&half->held) > 0 || half->pipe.held_bytes > 0;

    return holds && half->from->readable && stream_error(half->from) != 0;
}

static void on_ready(struct stream *stream)
{
    struct tunnel *t = stream->owner;

    if (stream == t->client && is_reset_unread(&t->up)) {
        close_tunnel(t, "client-closed", true, true);
    } else if (stream == t->origin && is_reset_unread(&t->down)) {
        close_tunnel(t, "upstream-closed", true, true);
    } else {
        drive(t);
    }
}

static void on_task(struct task *task)
{
    drive(CONTAINER_OF(task, struct tunnel, task));
}

static void on_idle(struct deadline *deadline)
{
    struct tunnel *t = CONTAINER_OF(deadline, struct tunnel, idle);

    close_tunnel(t, is_half_over(t) ? "timeout:idle" : "timeout:tunnel_idle", true, true);
}

static void on_whole(struct deadline *deadline)
{
    close_tunnel(CONTAINER_OF(deadline, struct tunnel, whole), "timeout:tunnel", true, true);
}

/* ------------------------------------------------------------------ the start */

/* Every view of the record becomes a view into one block of its own. */
static int keep_texts(struct log_record *record, char **ret_block)
{
    struct str *views[] = {
        &record->id,           &record->user,    &record->listener, &record->method,
        &record->target,       &record->version, &record->rule,     &record->would_deny,
        &record->route,        &record->parent,  &record->referer,  &record->user_agent,
        &record->content_type,
    };
    size_t total = 0;
    char *at;

    for (size_t i = 0; i < ARRAY_LEN(views); i++) {
        total += views[i]->len;
    }
    at = mem_alloc(total + 1);
    if (!at) {
        return -ENOMEM;
    }
    *ret_block = at;
    for (size_t i = 0; i < ARRAY_LEN(views); i++) {
        if (views[i]->len > 0) {
            memcpy(at, views[i]->ptr, views[i]->len);
        }
        views[i]->ptr = at;
        at += views[i]->len;
    }
    return 0;
}

static void give_up(struct proxy *proxy, struct downstream_detached *client, struct stream *origin,
                    const struct log_record *record)
{
    struct log_record line = *record;
    struct addr peer = client->stream->peer;

    line.end = STR("error:no-memory");
    access_log_put(&proxy->access, &line);
    buf_release(&client->from_client, &proxy->io->bufs);
    buf_release(&client->to_client, &proxy->io->bufs);
    stream_close(client->stream, true);
    stream_close(origin, true);
    proxy->client_gone(proxy->arg, &peer, false);
}

static void open_line(const struct tunnel *t)
{
    struct log_record line = t->record;

    line.event = "tunnel";
    access_log_put(&t->proxy->access, &line);
}

void tunnel_start(struct proxy *proxy, struct downstream_detached *client, struct stream *origin,
                  struct str surplus, const struct log_record *record, uint64_t start_mono_ms)
{
    struct tunnel *t = mem_zalloc(sizeof(*t));

    if (t) {
        t->record = *record;
    }
    if (!t || buf_append(&client->to_client, &proxy->io->bufs, surplus.ptr, surplus.len) != 0 ||
        keep_texts(&t->record, &t->texts) != 0) {
        mem_free(t);
        give_up(proxy, client, origin, record);
        return;
    }
    t->proxy = proxy;
    t->client = client->stream;
    t->origin = origin;
    t->up = (struct half){.from = t->client, .to = origin, .held = client->from_client};
    t->down = (struct half){.from = origin, .to = t->client, .held = client->to_client};
    t->up.pipe.read_fd = -1;
    t->down.pipe.read_fd = -1;
    t->start_ms = start_mono_ms;
    deadline_init(&t->idle, proxy->io->loop, on_idle);
    deadline_init(&t->whole, proxy->io->loop, on_whole);
    task_init(&t->task, on_task);
    list_init(&t->node);
    list_push_back(&proxy->tunnels, &t->node);
    stream_set_owner(t->client, t, on_ready);
    stream_set_owner(origin, t, on_ready);
    if (proxy->conf->timeouts.tunnel_ms > 0) {
        deadline_arm(&t->whole, proxy->conf->timeouts.tunnel_ms);
    }
    if (proxy->conf->log.tunnels == CONF_TUNNELS_BOTH) {
        open_line(t);
    }
    rearm(t);
    /* Both sides may have sent already; the first look is taken once the caller has finished. */
    loop_defer(proxy->io->loop, &t->task);
}

void tunnel_cut_all(struct proxy *proxy, const char *end)
{
    while (!list_empty(&proxy->tunnels)) {
        close_tunnel(LIST_FIRST(&proxy->tunnels, struct tunnel, node), end, true, true);
    }
}
