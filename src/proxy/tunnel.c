// SPDX-License-Identifier: MIT
#include "proxy/tunnel.h"

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/slab.h"
#include "conf/conf.h"
#include "io/io.h"
#include "io/outq.h"
#include "io/stream.h"
#include "log/kept_record.h"
#include "log/record.h"
#include "proxy/census.h"
#include "proxy/downstream.h"
#include "proxy/proxy.h"

/* What one direction may move before others have their turn. */
#define TURN_BYTES ((size_t)1 << 20)

enum half_state {
    HALF_OPEN,
    HALF_FLUSH,  /* the source has ended, bytes are held */
    HALF_SHUT,   /* the end was passed on */
    HALF_FAILED, /* the sink takes nothing more: what it has sent is still read */
} SMALL;

/* One direction. */
struct half {
    struct stream *from; /* borrowed from the tunnel */
    struct outq out;     /* towards the other side */
    enum half_state state;
};

/* Thousands of them are idle: no larger than need be. */
struct tunnel {
    struct proxy *proxy;
    struct stream *client; /* owned */
    struct stream *origin; /* owned */
    struct half up;        /* client to origin */
    struct half down;
    struct deadline idle;
    struct task task;
    struct list node;
    struct kept_record *record; /* owned */
    uint64_t start_ms;
    struct roll_entry entry;
    bool closed;
    bool is_limited;         /* by timeouts.tunnel: only then there is */
    struct deadline whole[]; /* one of these */
};

enum move { MOVE_NONE, MOVE_SOME, MOVE_SOURCE_FAILED, MOVE_SINK_FAILED, MOVE_NO_MEMORY };

static void drive(struct tunnel *t);

static void set_half(struct half *half, enum half_state state)
{
    static const unsigned allowed[] = {
        [HALF_OPEN] = 1U << HALF_FLUSH | 1U << HALF_FAILED,
        [HALF_FLUSH] = 1U << HALF_SHUT | 1U << HALF_FAILED,
        [HALF_SHUT] = 0,
        [HALF_FAILED] = 0,
    };

    ASSERT(allowed[half->state] & 1U << state);
    half->state = state;
}

/* ------------------------------------------------------------------ the end */

static void bury_tunnel(struct task *task)
{
    struct tunnel *t = CONTAINER_OF(task, struct tunnel, task);
    struct slabs *slabs = &t->proxy->io->slabs;

    kept_record_free(slabs, t->record);
    slab_free(slabs, t);
}

static void write_line(struct tunnel *t, const char *end)
{
    struct log_record record;

    kept_record_get(t->record, &record);
    record.client = t->client->peer;
    record.upstream = t->origin->peer;
    record.bytes_in += t->up.out.written_bytes;
    record.bytes_out += t->down.out.written_bytes;
    record.body_bytes_out = t->down.out.written_bytes;
    record.end_wall_ms = clock_wall_ms();
    record.total_ms =
        (uint32_t)MIN(loop_now_ms(t->proxy->io->loop) - t->start_ms, RECORD_MS_NONE - 1);
    record.end = str_of(end);
    access_log_put(&t->proxy->access, &record);
}

/* reset_*: that peer must see that it has not everything. */
static void close_tunnel(struct tunnel *t, const char *end, bool reset_client, bool reset_origin)
{
    struct addr client = t->client->peer;

    ASSERT(!t->closed);
    t->closed = true;
    write_line(t, end);
    outq_deinit(&t->up.out);
    outq_deinit(&t->down.out);
    deadline_disarm(&t->idle);
    if (t->is_limited) {
        deadline_disarm(t->whole);
    }
    task_cancel(&t->task);
    list_remove(&t->node);
    roll_remove(&t->proxy->roll, &t->entry);
    tally_add(&t->proxy->tally.tunnels, -1);
    stream_close(t->client, reset_client);
    stream_close(t->origin, reset_origin);
    t->proxy->client_gone(t->proxy->arg, &client, false);
    loop_bury(t->proxy->io->loop, &t->task, bury_tunnel);
}

/* ------------------------------------------------------------------ moving bytes */

static enum move write_out(struct half *half)
{
    uint64_t before = half->out.written_bytes;

    outq_flush(&half->out);
    if (half->out.error != 0) {
        return half->out.error == -ENOMEM ? MOVE_NO_MEMORY : MOVE_SINK_FAILED;
    }
    return half->out.written_bytes != before ? MOVE_SOME : MOVE_NONE;
}

static enum move read_once(struct io *io, struct half *half)
{
    ssize_t n = outq_splice(&half->out, half->from, UINT64_MAX);
    enum move written;

    if (n == -EOPNOTSUPP) {
        char *scratch = io_scratch(io);

        n = stream_read(half->from, scratch, io_read_bytes(io));
        outq_add(&half->out, str_make(scratch, (size_t)MAX(n, 0)));
    }
    if (n == -EAGAIN) {
        return MOVE_NONE;
    }
    if (n < 0) {
        return MOVE_SOURCE_FAILED;
    }
    if (n == 0) {
        set_half(half, HALF_FLUSH);
    }
    written = write_out(half);
    return written == MOVE_NONE ? MOVE_SOME : written;
}

static enum move pass_end(struct half *half, const struct half *other)
{
    set_half(half, HALF_SHUT);
    if (other->state != HALF_SHUT) { /* else both ways are over, and the close that follows tells */
        /* A peer that has closed already has its end; nothing is lost by a failure here. */
        (void)stream_shut_write(half->out.stream);
    }
    return MOVE_SOME;
}

/* One step of one direction. */
static enum move step(struct io *io, struct half *half, const struct half *other)
{
    if (outq_blocked(&half->out)) {
        return write_out(half);
    }
    switch (half->state) {
    case HALF_OPEN:
        return half->from->readable ? read_once(io, half) : MOVE_NONE;
    case HALF_FLUSH:
        return pass_end(half, other);
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
        deadline_arm(&t->idle, t->proxy->io->loop, idle_ms);
    }
}

/* The sink is gone, but what it sent before may lie unread: the other direction reads it to its
 * end. */
static void give_up_half(struct tunnel *t, struct half *half)
{
    half->out.stream->readable = true;
    outq_deinit(&half->out);
    set_half(half, HALF_FAILED);
    loop_defer(t->proxy->io->loop, &t->task);
}

/* Steps until nothing moves; false when the tunnel was closed over a failure. */
static bool drive_half(struct tunnel *t, struct half *half, bool *moved)
{
    uint64_t limit = half->out.written_bytes + TURN_BYTES;
    bool is_up = half == &t->up;
    const struct half *other = is_up ? &t->down : &t->up;

    while (half->out.written_bytes < limit) {
        switch (step(t->proxy->io, half, other)) {
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
    return outq_blocked(&half->out) && half->from->readable && stream_error(half->from) != 0;
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

static void give_up(struct proxy *proxy, struct downstream_detached *client, struct stream *origin,
                    const struct log_record *record)
{
    struct log_record line = *record;
    struct addr peer = client->stream->peer;

    line.end = STR("error:no-memory");
    access_log_put(&proxy->access, &line);
    roll_remove(&proxy->roll, &client->entry);
    buf_release(&client->from_client, &proxy->io->bufs);
    buf_release(&client->to_client, &proxy->io->bufs);
    stream_close(client->stream, true);
    stream_close(origin, true);
    proxy->client_gone(proxy->arg, &peer, false);
}

/* held: what was read already, taken. */
static void init_half(struct half *half, struct stream *from, struct stream *to, struct buf held)
{
    half->from = from;
    outq_init(&half->out, to);
    half->out.pending = held;
}

static void open_line(struct proxy *proxy, const struct log_record *record)
{
    struct log_record line = *record;

    line.event = "tunnel";
    access_log_put(&proxy->access, &line);
}

/* NULL: memory is out. */
static struct tunnel *tunnel_new(struct proxy *proxy, const struct log_record *record)
{
    struct slabs *slabs = &proxy->io->slabs;
    bool is_limited = proxy->conf->timeouts.tunnel_ms > 0;
    struct tunnel *t = slab_zalloc(slabs, sizeof(*t) + (is_limited ? sizeof(t->whole[0]) : 0));

    if (!t) {
        return NULL;
    }
    t->record = kept_record_new(slabs, record);
    if (!t->record) {
        slab_free(slabs, t);
        return NULL;
    }
    t->proxy = proxy;
    deadline_init(&t->idle, on_idle);
    t->is_limited = is_limited;
    if (is_limited) {
        deadline_init(t->whole, on_whole);
    }
    task_init(&t->task, on_task);
    list_init(&t->node);
    return t;
}

void tunnel_start(struct proxy *proxy, struct downstream_detached *client, struct stream *origin,
                  struct str surplus, const struct log_record *record, uint64_t start_mono_ms)
{
    int r = buf_append(&client->to_client, &proxy->io->bufs, surplus.ptr, surplus.len);
    struct tunnel *t = r == 0 ? tunnel_new(proxy, record) : NULL;

    if (!t) {
        give_up(proxy, client, origin, record);
        return;
    }
    t->client = client->stream;
    t->origin = origin;
    init_half(&t->up, t->client, origin, client->from_client);
    init_half(&t->down, origin, t->client, client->to_client);
    t->start_ms = start_mono_ms;
    list_push_back(&proxy->tunnels, &t->node);
    roll_pass(&proxy->roll, &client->entry, &t->entry, ROLL_TUNNEL);
    tally_add(&proxy->tally.tunnels, 1);
    stream_set_owner(t->client, t, on_ready);
    stream_set_owner(origin, t, on_ready);
    if (t->is_limited) {
        deadline_arm(t->whole, proxy->io->loop, proxy->conf->timeouts.tunnel_ms);
    }
    if (proxy->conf->log.tunnels == CONF_TUNNELS_BOTH) {
        open_line(proxy, record);
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

/* ------------------------------------------------------------------ for whoever asks */

void tunnel_see(struct roll_entry *entry, struct census_item *ret)
{
    const struct tunnel *t = CONTAINER_OF(entry, struct tunnel, entry);
    struct log_record record;

    kept_record_get(t->record, &record);
    ret->kind = CENSUS_TUNNEL;
    ret->id = record.id;
    ret->client = t->client->peer;
    ret->user = record.user;
    ret->listener = record.listener;
    ret->method = record.method;
    ret->target = record.target;
    ret->rule = record.rule;
    ret->upstream = t->origin->peer;
    ret->bytes_in = record.bytes_in + t->up.out.written_bytes;
    ret->bytes_out = record.bytes_out + t->down.out.written_bytes;
    ret->since_ms = t->start_ms;
    ret->start_wall_ms = record.start_wall_ms;
    ret->is_admitted = true;
}

void tunnel_kill(struct roll_entry *entry)
{
    close_tunnel(CONTAINER_OF(entry, struct tunnel, entry), "killed", true, true);
}
