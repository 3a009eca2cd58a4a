// SPDX-License-Identifier: MIT
#include "upstream/dial.h"

#include <errno.h>
#include <stdbool.h>

#include "base/mem.h"
#include "io/io.h"
#include "io/loop.h"
#include "io/stream.h"
#include "io/stream_tcp.h"

#define DIAL_ATTEMPT_DELAY_MS 250 /* RFC 8305 5 */

enum attempt_state { ATTEMPT_WAITING, ATTEMPT_RUNNING, ATTEMPT_FAILED };

struct attempt {
    struct dial *dial;
    struct addr addr;
    struct stream *stream; /* owned while running */
    enum attempt_state state;
};

struct dial {
    struct io *io;
    uint64_t keepalive_ms;
    const struct dial_events *events;
    void *arg;
    struct attempt attempts[DIAL_MAX_ADDRS];
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
    struct corpse corpse;
};

static void on_next(struct deadline *deadline);
static void on_step(struct task *task);

int dial_new(struct io *io, uint64_t keepalive_ms, const struct dial_events *events, void *arg,
             struct dial **ret)
{
    struct dial *dial = mem_zalloc(sizeof(*dial));

    if (!dial) {
        return -ENOMEM;
    }
    dial->io = io;
    dial->keepalive_ms = keepalive_ms;
    dial->events = events;
    dial->arg = arg;
    deadline_init(&dial->next, io->loop, on_next);
    task_init(&dial->step, on_step);
    *ret = dial;
    return 0;
}

static void bury_dial(struct corpse *corpse)
{
    mem_free(CONTAINER_OF(corpse, struct dial, corpse));
}

void dial_cancel(struct dial *dial)
{
    if (!dial || dial->gone) {
        return;
    }
    dial->gone = true;
    deadline_disarm(&dial->next);
    task_cancel(&dial->step);
    for (size_t i = 0; i < dial->count; i++) {
        stream_close(dial->attempts[i].stream, false);
        dial->attempts[i].stream = NULL;
    }
    loop_bury(dial->io->loop, &dial->corpse, bury_dial);
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
    if (telling(error) > telling(dial->error)) {
        dial->error = error;
        dial->error_at = attempt->addr;
    }
}

static void on_attempt_ready(struct stream *stream)
{
    struct attempt *attempt = stream->owner;
    struct dial *dial = attempt->dial;
    int error;

    if (!stream->writable) {
        return;
    }
    error = stream_error(stream);
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

    for (size_t i = 0; i < dial->count; i++) {
        struct attempt *attempt = &dial->attempts[i];

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
    deadline_arm(&dial->next, DIAL_ATTEMPT_DELAY_MS);
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
    if (dial->count == DIAL_MAX_ADDRS) {
        return;
    }
    dial->attempts[dial->count++] = (struct attempt){.dial = dial, .addr = *addr};
    loop_defer(dial->io->loop, &dial->step);
}

void dial_offer_end(struct dial *dial)
{
    dial->offers_ended = true;
    loop_defer(dial->io->loop, &dial->step);
}
