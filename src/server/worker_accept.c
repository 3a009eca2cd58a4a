// SPDX-License-Identifier: MIT
#include <errno.h>

#include "base/err.h"
#include "io/stream.h"
#include "io/stream_tcp.h"
#include "log/log.h"
#include "proxy/client_h1.h"
#include "server/crowd.h"
#include "server/worker_private.h"

/* A paused listener looks again by itself after this time, whatever anyone has promised. */
#define PAUSE_MS 1000

/* ------------------------------------------------------------------ room for clients */

/* Asks the other workers for something. */
static void poke_others(struct worker *w, unsigned requests)
{
    for (size_t i = 0; i < w->shop->worker_count; i++) {
        if (w->shop->workers[i] && w->shop->workers[i] != w) {
            worker_poke(w->shop->workers[i], requests);
        }
    }
}

/* Idle upstream connections go first, then the keep-alive client that has been idle longest. */
static bool shed_one(struct worker *w)
{
    return pipe_pool_shrink(&w->io.pipes) > 0 || upstream_pool_shed(&w->proxy.pool) ||
           proxy_shed_client(&w->proxy);
}

/* What other workers close is there for the next one who asks. */
static bool relieve(void *arg)
{
    struct worker *w = arg;

    poke_others(w, WORKER_SHED);
    return shed_one(w);
}

static void wake_paused(struct worker *w)
{
    if (atomic_load_explicit(&w->shop->paused, memory_order_relaxed) == 0) {
        return;
    }
    if (w->paused) {
        loop_defer(w->io.loop, &w->settle);
    } else {
        poke_others(w, WORKER_ROOM);
    }
}

static void relieved(void *arg)
{
    wake_paused(arg);
}

static int64_t max_clients(const struct workshop *shop)
{
    return atomic_load_explicit(&shop->max_clients, memory_order_relaxed);
}

static bool is_crowded(const struct workshop *shop)
{
    return atomic_load_explicit(&shop->clients, memory_order_relaxed) >= max_clients(shop);
}

static bool take_client_slot(struct worker *w)
{
    struct workshop *shop = w->shop;

    if (atomic_fetch_add_explicit(&shop->clients, 1, memory_order_relaxed) < max_clients(shop)) {
        return true;
    }
    atomic_fetch_sub_explicit(&shop->clients, 1, memory_order_relaxed);
    return false;
}

static void give_client_slot(struct worker *w)
{
    int64_t before = atomic_fetch_sub_explicit(&w->shop->clients, 1, memory_order_relaxed);

    if (before >= max_clients(w->shop)) {
        wake_paused(w);
    }
}

/* Too many clients: only a client's end helps. Else descriptors are short. */
bool worker_shed_for_client(struct worker *w)
{
    return is_crowded(w->shop) ? proxy_shed_client(&w->proxy) : shed_one(w);
}

static void pause_accepting(struct worker *w)
{
    if (!w->paused) {
        w->paused = true;
        atomic_fetch_add_explicit(&w->shop->paused, 1, memory_order_relaxed);
        poke_others(w, WORKER_SHED);
    }
    deadline_arm(&w->retry, w->io.loop, PAUSE_MS);
}

/* What cannot be opened now is tried again. */
void worker_open_doors(struct worker *w)
{
    bool open = true;

    LIST_FOR_EACH (node, next, &w->doors) {
        open &= listener_resume(LIST_ITEM(node, struct door, node)->listener);
    }
    if (!open) {
        pause_accepting(w);
    }
}

void worker_resume_accepting(struct worker *w)
{
    if (!w->paused) {
        return;
    }
    w->paused = false;
    atomic_fetch_sub_explicit(&w->shop->paused, 1, memory_order_relaxed);
    deadline_disarm(&w->retry);
    worker_open_doors(w);
}

static void on_retry(struct deadline *deadline)
{
    worker_resume_accepting(CONTAINER_OF(deadline, struct worker, retry));
}

/* ------------------------------------------------------------------ accepting */

static bool may_accept(void *arg)
{
    struct worker *w = arg;

    if (!take_client_slot(w)) {
        return false;
    }
    if (!io_fd_try(&w->io, 1)) {
        give_client_slot(w);
        return false;
    }
    return true;
}

static bool make_room(void *arg)
{
    struct worker *w = arg;

    if (worker_shed_for_client(w)) {
        return true;
    }
    pause_accepting(w);
    return false;
}

static void on_unused(void *arg)
{
    struct worker *w = arg;

    io_fd_give(&w->io, 1);
    give_client_slot(w);
}

static void on_accepted(void *arg, struct listener *listener, int fd, const struct addr *peer)
{
    struct worker *w = arg;
    const struct door *door = listener_tag(listener);
    struct stream *stream;
    int entry;

    if (stream_tcp_new(&w->io, fd, peer, &stream) != 0) {
        give_client_slot(w);
        return;
    }
    entry = crowd_enter(w->shop->crowd, peer);
    if (entry < 0) {
        stream_close(stream, true);
        give_client_slot(w);
        return;
    }
    /* The request is normally there already: look before the loop would tell. */
    stream->readable = true;
    stream->writable = true;
    client_h1_new(&w->proxy, stream, door->name, entry == CROWD_FULL);
}

static void on_starved(void *arg, int error)
{
    struct worker *w = arg;

    if (!w->starved) {
        w->starved = true;
        log_event(LOG_WARNING, "listener", "cannot accept: %s; clients wait in the queue",
                  error == -EMFILE || error == -ENFILE ? "out of descriptors" : "out of memory");
    }
    (void)shed_one(w);
    pause_accepting(w);
}

const struct listener_events worker_listener_events = {
    .may_accept = may_accept,
    .make_room = make_room,
    .accepted = on_accepted,
    .unused = on_unused,
    .starved = on_starved,
};

void worker_on_client_gone(void *arg, const struct addr *client, bool refused)
{
    struct worker *w = arg;

    if (!refused) {
        crowd_leave(w->shop->crowd, client);
    }
    give_client_slot(w);
    if (w->draining) {
        loop_defer(w->io.loop, &w->settle);
    }
}

void worker_init_accepting(struct worker *w)
{
    w->io.relieve = relieve;
    w->io.relieved = relieved;
    w->io.arg = w;
    deadline_init(&w->retry, on_retry);
}
