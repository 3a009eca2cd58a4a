// SPDX-License-Identifier: MIT
#include "upstream/dial.h"

#include <errno.h>
#include <stdbool.h>

#include "base/list.h"
#include "base/slab.h"
#include "io/io.h"
#include "io/loop.h"
#include "io/stream.h"
#include "io/stream_tcp.h"

#define DIAL_ATTEMPT_DELAY_MS 250 /* RFC 8305 5 */

enum attempt_state { ATTEMPT_WAITING, ATTEMPT_RUNNING, ATTEMPT_FAILED } SMALL;

struct attempt {
    struct list node; /* in the dial's attempts */
    struct dial *dial;
    struct stream *stream; /* owned while running */
    struct addr addr;
    enum attempt_state state;
};

struct dial {
    struct io *io;
    uint64_t keepalive_ms;
    const struct dial_events *events;
    void *arg;
    struct list attempts; /* owned, in the order they were offered */
    size_t count;
    size_t running;
    bool offers_ended;
    bool gone; /* an event was called or the dial cancelled */
    enum addr_kind last_family;
    struct addr last;
    int error; /* most telling so far */
    struct addr error_at;
    struct deadline next;
    struct task step;
};

static void on_next(struct deadline *deadline);
static void on_step(struct task *task);

int dial_new(struct io *io, uint64_t keepalive_ms, const struct dial_events *events, void *arg,
             struct dial **ret)
{
    struct dial *dial = slab_zalloc(&io->slabs, sizeof(*dial));

    if (!dial) {
        return -ENOMEM;
    }
    dial->io = io;
    dial->keepalive_ms = keepalive_ms;
    dial->events = events;
    dial->arg = arg;
    list_init(&dial->attempts);
    deadline_init(&dial->next, on_next);
    task_init(&dial->step, on_step);
    *ret = dial;
    return 0;
}

static void bury_dial(struct task *task)
{
    struct dial *dial = CONTAINER_OF(task, struct dial, step);
    struct slabs *slabs = &dial->io->slabs;

    LIST_FOR_EACH (node, next, &dial->attempts) {
        slab_free(slabs, LIST_ITEM(node, struct attempt, node));
    }
    slab_free(slabs, dial);
}

void dial_cancel(struct dial *dial)
{
    if (!dial || dial->gone) {
        return;
    }
    dial->gone = true;
    deadline_disarm(&dial->next);
    task_cancel(&dial->step);
    LIST_FOR_EACH (node, next, &dial->attempts) {
        struct attempt *attempt = LIST_ITEM(node, struct attempt, node);

        stream_close(attempt->stream, false);
        attempt->stream = NULL;
    }
    loop_bury(dial->io->loop, &dial->step, bury_dial);
}

const struct addr *dial_last(const struct dial *dial)
{
    return &dial->last;
}

/* How much an error tells about the origin: of several attempts the best is reported. */
static int telling(int error)
{
    switch (error) {
    case 0:
        return 0;
    case -EHOSTUNREACH:
    case -ENETUNREACH:
    case -EAFNOSUPPORT:
    case -EADDRNOTAVAIL:
        return 1;
    case -ETIMEDOUT:
        return 2;
    case -ECONNRESET:
        return 3;
    case -ECONNREFUSED:
        return 4;
    default:
        return 5; /* ours: descriptors, memory */
    }
}

static void note_error(struct dial *dial, int error, const struct addr *at)
{
    if (telling(error) > telling(dial->error)) {
        dial->error = error;
        dial->error_at = *at;
    }
}

static void attempt_failed(struct attempt *attempt, int error)
{
    struct dial *dial = attempt->dial;

    if (attempt->state == ATTEMPT_RUNNING) {
        dial->running--;
    }
    attempt->state = ATTEMPT_FAILED;
    deadline_disarm(&dial->next); /* the next one need not wait */
    stream_close(attempt->stream, false);
    attempt->stream = NULL;
    note_error(dial, error, &attempt->addr);
}

static void on_attempt_ready(struct stream *stream)
{
    struct attempt *attempt = stream->owner;
    struct dial *dial = attempt->dial;
    int error;

    if (!stream->writable) {
        return;
    }
    /* A failure shows as readable too: what is only writable is connected, and need not be asked.
     */
    error = stream->readable ? stream_error(stream) : 0;
    if (error != 0) {
        attempt_failed(attempt, error);
        loop_defer(dial->io->loop, &dial->step);
        return;
    }
    attempt->stream = NULL;
    dial_cancel(dial);
    dial->events->connected(dial->arg, stream);
}

/* The next address to try: of the other family than the last if there is one, else the first that
 * waits. */
static struct attempt *pick(struct dial *dial)
{
    struct attempt *first = NULL;

    LIST_FOR_EACH (node, next, &dial->attempts) {
        struct attempt *attempt = LIST_ITEM(node, struct attempt, node);

        if (attempt->state != ATTEMPT_WAITING) {
            continue;
        }
        if (attempt->addr.kind != dial->last_family) {
            return attempt;
        }
        if (!first) {
            first = attempt;
        }
    }
    return first;
}

static void start(struct attempt *attempt)
{
    struct dial *dial = attempt->dial;
    int r;

    dial->last_family = attempt->addr.kind;
    dial->last = attempt->addr;
    r = stream_tcp_connect(dial->io, &attempt->addr, dial->keepalive_ms, &attempt->stream);
    if (r != 0) {
        attempt_failed(attempt, r);
        return;
    }
    attempt->state = ATTEMPT_RUNNING;
    dial->running++;
    stream_set_owner(attempt->stream, attempt, on_attempt_ready);
    deadline_arm(&dial->next, dial->io->loop, DIAL_ATTEMPT_DELAY_MS);
}

static void fail_if_over(struct dial *dial)
{
    if (dial->running > 0 || !dial->offers_ended || dial->gone) {
        return;
    }
    dial_cancel(dial);
    dial->events->failed(dial->arg, dial->error, &dial->error_at);
}

/* Starts the next attempt when none runs; a running one has its 250 ms first. */
static void on_step(struct task *task)
{
    struct dial *dial = CONTAINER_OF(task, struct dial, step);
    struct attempt *attempt = pick(dial);

    while (attempt && (dial->running == 0 || !deadline_armed(&dial->next))) {
        start(attempt);
        attempt = pick(dial);
    }
    fail_if_over(dial);
}

static void on_next(struct deadline *deadline)
{
    struct dial *dial = CONTAINER_OF(deadline, struct dial, next);

    loop_defer(dial->io->loop, &dial->step);
}

void dial_offer(struct dial *dial, const struct addr *addr)
{
    struct attempt *attempt;

    if (dial->count == DIAL_MAX_ADDRS) {
        return;
    }
    attempt = slab_zalloc(&dial->io->slabs, sizeof(*attempt));
    if (attempt) {
        attempt->dial = dial;
        attempt->addr = *addr;
        list_push_back(&dial->attempts, &attempt->node);
        dial->count++;
    } else {
        note_error(dial, -ENOMEM, addr); /* as if it had been tried */
    }
    loop_defer(dial->io->loop, &dial->step);
}

void dial_offer_end(struct dial *dial)
{
    dial->offers_ended = true;
    loop_defer(dial->io->loop, &dial->step);
}
