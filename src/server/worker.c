// SPDX-License-Identifier: MIT
#include "server/worker.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "conf/conf.h"
#include "io/listener.h"
#include "io/loop.h"
#include "io/mailbox.h"
#include "io/stream.h"
#include "io/stream_tcp.h"
#include "log/log.h"
#include "policy/auth.h"
#include "policy/hits.h"
#include "policy/machine.h"
#include "proxy/client_h1.h"
#include "proxy/proxy.h"
#include "proxy/roll.h"
#include "proxy/tenure.h"
#include "resolve/resolver.h"
#include "server/crowd.h"
#include "server/sockets.h"

/* A paused listener looks again by itself after this time, whatever anyone has promised. */
#define PAUSE_MS 1000
/* How long memory that nobody needs is kept for who comes next; when all is quiet, how often it
 * goes back at once. */
#define TRIM_MS 100
#define TRIM_QUIET_MS 20

/* A socket that the worker watches. */
struct door {
    struct list node;
    struct listener *listener;    /* owned */
    const struct socket_set *set; /* borrowed */
    const char *name;             /* of its section; never freed before the worker */
    bool keeps;                   /* the change that is being put in force has it, too */
};

struct worker {
    struct workshop *shop; /* borrowed */
    size_t index;
    pthread_t thread;
    atomic_bool started;
    struct io io;
    struct resolver *resolver; /* owned */
    struct list retired_resolvers;
    struct machine *machine; /* owned */
    struct auth_desk *auth;  /* owned; NULL: no users file */
    struct proxy proxy;
    struct list doors;                   /* owned: struct door */
    struct worker_change *_Atomic given; /* owned: to be prepared */
    /* What is prepared, until it is decided on; all owned. */
    struct worker_change *change;  /* NULL: nothing */
    struct resolver *new_resolver; /* NULL: there is none, or the old one stays */
    struct auth_desk *new_auth;    /* so, too */
    struct list new_doors;         /* that listen, but accept nobody yet */
    bool paused;                   /* some listener waits for room */
    bool draining;
    bool starved; /* said so in the log */
    struct deadline retry;
    struct deadline trim;
    uint64_t emptied_ms;     /* when it was quiet and all spare memory went back */
    struct task settle;      /* after a change: listen again, or end */
    struct mailbox *mailbox; /* owned */
    struct mail poke;        /* in flight while poked */
    atomic_bool poked;
    atomic_uint requests;
};

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
static bool shed_for_client(struct worker *w)
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
static void open_doors(struct worker *w)
{
    bool open = true;

    LIST_FOR_EACH (node, next, &w->doors) {
        open &= listener_resume(LIST_ITEM(node, struct door, node)->listener);
    }
    if (!open) {
        pause_accepting(w);
    }
}

static void resume_accepting(struct worker *w)
{
    if (!w->paused) {
        return;
    }
    w->paused = false;
    atomic_fetch_sub_explicit(&w->shop->paused, 1, memory_order_relaxed);
    deadline_disarm(&w->retry);
    open_doors(w);
}

static void on_retry(struct deadline *deadline)
{
    resume_accepting(CONTAINER_OF(deadline, struct worker, retry));
}

static void end_if_empty(struct worker *w)
{
    if (w->draining && proxy_is_empty(&w->proxy)) {
        loop_stop(w->io.loop);
    }
}

static void on_settle(struct task *task)
{
    struct worker *w = CONTAINER_OF(task, struct worker, settle);

    resume_accepting(w);
    end_if_empty(w);
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

    if (shed_for_client(w)) {
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
    bool within = crowd_enter(w->shop->crowd, peer);
    struct stream *stream;

    if (stream_tcp_new(&w->io, fd, peer, &stream) != 0) {
        if (within) {
            crowd_leave(w->shop->crowd, peer);
        }
        give_client_slot(w);
        return;
    }
    /* The request is normally there already: look before the loop would tell. */
    stream->readable = true;
    stream->writable = true;
    client_h1_new(&w->proxy, stream, door->name, !within);
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

static const struct listener_events listener_events = {
    .may_accept = may_accept,
    .make_room = make_room,
    .accepted = on_accepted,
    .unused = on_unused,
    .starved = on_starved,
};

static void on_client_gone(void *arg, const struct addr *client, bool refused)
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

/* ------------------------------------------------------------------ memory */

static void on_trim(struct deadline *deadline)
{
    struct worker *w = CONTAINER_OF(deadline, struct worker, trim);

    slabs_trim(&w->io.slabs, proxy_is_quiet(&w->proxy));
}

/* Now and then what was not needed lately goes back to the system, and all when the last exchange
 * of a burst has ended. Nothing wakes a worker that has given back what it can. */
static void on_turn_end(void *arg)
{
    struct worker *w = arg;

    if (!slabs_are_spare(&w->io.slabs)) {
        return;
    }
    if (proxy_is_quiet(&w->proxy) && loop_now_ms(w->io.loop) - w->emptied_ms >= TRIM_QUIET_MS) {
        w->emptied_ms = loop_now_ms(w->io.loop);
        slabs_trim(&w->io.slabs, true);
    } else if (!deadline_armed(&w->trim)) {
        deadline_arm(&w->trim, w->io.loop, TRIM_MS);
    }
}

/* ------------------------------------------------------------------ doors */

static void door_free(struct door *door)
{
    list_remove(&door->node);
    mem_free(door);
}

static void door_close(struct door *door)
{
    listener_free(door->listener);
    door_free(door);
}

/* Whoever waits there already is let in. */
static void door_drain(struct door *door)
{
    listener_drain(door->listener);
    door_free(door);
}

static struct door *find_door(struct worker *w, const struct socket_set *set)
{
    LIST_FOR_EACH (node, next, &w->doors) {
        struct door *door = LIST_ITEM(node, struct door, node);

        if (door->set == set) {
            return door;
        }
    }
    return NULL;
}

/* The worker's own socket of a set; one that stands alone is shared by all. Among the new ones. */
static int new_door(struct worker *w, const struct socket_door *plan)
{
    struct socket_set *set = plan->set;
    bool own = !set->inherited && !set->path;
    int *fd = &set->fds[own ? w->index : 0];
    struct door *door = mem_zalloc(sizeof(*door));
    int r = -ENOMEM;

    if (door) {
        *door = (struct door){.set = set, .name = plan->listener, .keeps = true};
        r = listener_new(w->io.loop, *fd, !own, &listener_events, w, door, &door->listener);
    }
    if (r != 0) {
        mem_free(door);
        return r;
    }
    if (own) {
        *fd = -1;
    }
    listener_pause(door->listener);
    list_init(&door->node);
    list_push_back(&w->new_doors, &door->node);
    return 0;
}

static int prepare_doors(struct worker *w, const struct worker_change *change)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < change->door_count; i++) {
        r = find_door(w, change->doors[i].set) ? 0 : new_door(w, &change->doors[i]);
    }
    return r;
}

/* New ones are open before old ones go. */
static void change_doors(struct worker *w, const struct worker_change *change,
                         uint64_t keepalive_ms)
{
    LIST_FOR_EACH (node, next, &w->doors) {
        LIST_ITEM(node, struct door, node)->keeps = false;
    }
    for (size_t i = 0; i < change->door_count; i++) {
        struct door *door = find_door(w, change->doors[i].set);

        if (door) {
            door->keeps = true;
            door->name = change->doors[i].listener;
            if (door->set->addr.kind != ADDR_UNIX) {
                stream_tcp_tune(listener_fd(door->listener), keepalive_ms);
            }
        }
    }
    list_splice_back(&w->doors, &w->new_doors);
    if (!w->paused) {
        open_doors(w);
    }
    LIST_FOR_EACH (node, next, &w->doors) {
        struct door *door = LIST_ITEM(node, struct door, node);

        if (!door->keeps) {
            door_drain(door);
        }
    }
}

/* ------------------------------------------------------------------ the end */

/* Clients in the queue are served one request; whoever is idle goes at once. */
static void drain(struct worker *w)
{
    if (w->draining) {
        return;
    }
    w->draining = true;
    proxy_drain(&w->proxy);
    resume_accepting(w);
    while (!list_empty(&w->doors)) {
        door_drain(LIST_FIRST(&w->doors, struct door, node));
    }
    if (atomic_fetch_add(&w->shop->drained, 1) + 1 == w->shop->worker_count) {
        w->shop->all_drained(w->shop->arg);
    }
}

/* ------------------------------------------------------------------ what it goes by */

static struct resolver_options resolver_options(const struct conf *conf)
{
    return (struct resolver_options){
        .servers = conf->dns.servers,
        .server_count = conf->dns.server_count,
        .hosts_path = conf->dns.hosts_path,
        .cache_entries = (size_t)conf->dns.cache_entries,
        .max_ttl_ms = conf->dns.max_ttl_ms,
        .negative_ttl_ms = conf->dns.negative_ttl_ms,
        .want_ip4 = conf->dns.family != CONF_FAMILY_IP6,
        .want_ip6 = conf->dns.family != CONF_FAMILY_IP4,
        .timeout_ms = conf->timeouts.dns_ms,
    };
}

static int prepare_resolver(struct worker *w, const struct conf *conf)
{
    const struct resolver_options options = resolver_options(conf);

    if (w->resolver && resolver_is_like(w->resolver, &options)) {
        return 0;
    }
    return resolver_new(w->io.loop, &options, &w->new_resolver);
}

/* One with other options begins anew; who has asked the old one is still answered by it. */
static void change_resolver(struct worker *w)
{
    if (w->new_resolver) {
        resolver_retire(w->resolver, &w->retired_resolvers);
        w->resolver = w->new_resolver;
        w->new_resolver = NULL;
    }
    w->proxy.resolver = w->resolver;
}

static int prepare_auth(struct worker *w, struct auth *auth)
{
    return auth && !w->auth ? auth_desk_new(auth, w->io.loop, &w->new_auth) : 0;
}

static void change_auth(struct worker *w)
{
    if (w->new_auth) {
        w->auth = w->new_auth;
        w->new_auth = NULL;
    }
    w->proxy.auth = w->auth;
}

static void change_proxy(struct worker *w, const struct conf *conf)
{
    const struct upstream_pool_options pool = {
        .idle_per_host = (size_t)conf->pool.idle_per_host,
        .idle_total = (size_t)conf->pool.idle_total,
        .idle_ms = conf->pool.idle_ms,
    };

    access_log_set_format(&w->proxy.access, (enum log_format)conf->log.access);
    upstream_pool_set(&w->proxy.pool, &pool);
    w->proxy.origin.limits = (struct h1_limits){
        .head_bytes = (size_t)conf->limits.head_bytes,
        .target_bytes = (size_t)conf->limits.target_bytes,
        .fields = (size_t)conf->limits.fields,
    };
    w->proxy.origin.keepalive_ms = conf->server.tcp_keepalive_ms;
}

/* What was prepared, or half prepared, goes. */
static void abandon(struct worker *w)
{
    while (!list_empty(&w->new_doors)) {
        door_close(LIST_FIRST(&w->new_doors, struct door, node));
    }
    resolver_free(w->new_resolver);
    w->new_resolver = NULL;
    auth_desk_free(w->new_auth);
    w->new_auth = NULL;
    if (w->change) {
        tenure_give(w->change->tenure);
        mem_free(w->change);
        w->change = NULL;
    }
}

/* All that can fail. change is given. */
static int prepare(struct worker *w, struct worker_change *change)
{
    int r;

    w->change = change;
    r = prepare_resolver(w, change->tenure->snapshot->conf);
    if (r == 0) {
        r = prepare_auth(w, change->auth);
    }
    return r == 0 ? prepare_doors(w, change) : r;
}

/* All that cannot. */
static void commit(struct worker *w)
{
    struct worker_change *change = w->change;
    const struct conf *conf = change->tenure->snapshot->conf;
    struct tenure *before = w->proxy.tenure;

    w->change = NULL;
    change_resolver(w);
    change_auth(w);
    w->proxy.tenure = change->tenure;
    w->proxy.conf = conf;
    change_proxy(w, conf);
    if (before) {
        hits_carry(change->tenure->snapshot->hits, before->snapshot->hits, w->index);
        tenure_give(before);
    }
    change_doors(w, change, conf->server.tcp_keepalive_ms);
    mem_free(change);
}

static void on_prepare(struct worker *w)
{
    int r = prepare(w, atomic_exchange(&w->given, NULL));

    if (r != 0) {
        atomic_store(&w->shop->change_error, r);
    }
    w->shop->changed(w->shop->arg);
}

static void on_decide(struct worker *w, bool is_commit)
{
    if (is_commit) {
        commit(w);
    } else {
        abandon(w);
    }
    w->shop->changed(w->shop->arg);
}

void worker_prepare(struct worker *worker, struct worker_change *change)
{
    struct worker_change *before = atomic_exchange(&worker->given, change);

    ASSERT(!before);
    worker_poke(worker, WORKER_PREPARE);
}

void worker_decide(struct worker *worker, bool is_commit)
{
    worker_poke(worker, is_commit ? WORKER_COMMIT : WORKER_ABANDON);
}

static void on_poke(struct worker *w)
{
    unsigned requests;

    atomic_store(&w->poked, false);
    requests = atomic_exchange(&w->requests, 0);
    if (requests & WORKER_PREPARE) {
        on_prepare(w);
    }
    if (requests & (WORKER_COMMIT | WORKER_ABANDON)) {
        on_decide(w, requests & WORKER_COMMIT);
    }
    if (requests & WORKER_SHED) {
        (void)shed_for_client(w);
    }
    if (requests & WORKER_ROOM) {
        resume_accepting(w);
    }
    if (requests & (WORKER_DRAIN | WORKER_CUT)) {
        drain(w);
    }
    if (requests & WORKER_CUT) {
        proxy_cut(&w->proxy);
    }
    end_if_empty(w);
}

static void on_mail(void *arg, struct mail *mail)
{
    struct worker *w = arg;

    if (mail == &w->poke) {
        on_poke(w);
    } else {
        struct worker_errand *errand = CONTAINER_OF(mail, struct worker_errand, mail);

        errand->run(errand, &w->proxy);
    }
}

bool worker_send(struct worker *worker, struct worker_errand *errand)
{
    return worker && worker->started && mailbox_offer(worker->mailbox, &errand->mail);
}

void worker_poke(struct worker *worker, unsigned requests)
{
    if (!worker || !worker->started) {
        return;
    }
    atomic_fetch_or(&worker->requests, requests);
    if (!atomic_exchange(&worker->poked, true)) {
        mailbox_send(worker->mailbox, &worker->poke);
    }
}

static void *run(void *arg)
{
    struct worker *w = arg;
    char name[16];

    (void)snprintf(name, sizeof(name), "viaduct-%zu", w->index % 1000);
    (void)pthread_setname_np(pthread_self(), name);
    if (loop_run(w->io.loop) != 0) {
        log_event(LOG_ERROR, "worker", "polling failed: worker %zu stops", w->index);
    }
    mailbox_close(w->mailbox);
    w->shop->ended(w->shop->arg);
    return NULL;
}

int worker_start(struct worker *worker)
{
    int r = pthread_create(&worker->thread, NULL, run, worker);

    worker->started = r == 0;
    return -r;
}

const struct tally *worker_tally(const struct worker *worker)
{
    return &worker->proxy.tally;
}

/* ------------------------------------------------------------------ building */

static int build_proxy(struct worker *w)
{
    struct proxy *proxy = &w->proxy;
    int r;

    *proxy = (struct proxy){
        .io = &w->io,
        .machine = w->machine,
        .worker = (unsigned)w->index,
        .client_gone = on_client_gone,
        .arg = w,
    };
    proxy_init_lists(proxy);
    proxy->origin = (struct origin_net_options){.io = &w->io, .pool = &proxy->pool};
    r = access_log_init(&proxy->access, w->io.loop, w->shop->writer);
    return r == 0 ? upstream_pool_init(&proxy->pool, &w->io) : r;
}

static int build(struct worker *w)
{
    int r = io_init(&w->io, &w->shop->buffers, &w->shop->fds);

    if (r != 0) {
        return r;
    }
    w->io.relieve = relieve;
    w->io.relieved = relieved;
    w->io.arg = w;
    deadline_init(&w->retry, on_retry);
    deadline_init(&w->trim, on_trim);
    loop_on_turn_end(w->io.loop, on_turn_end, w);
    task_init(&w->settle, on_settle);
    r = mailbox_new(w->io.loop, on_mail, w, &w->mailbox);
    if (r == 0) {
        r = machine_new(w->io.loop, &w->machine);
    }
    if (r == 0) {
        r = build_proxy(w);
    }
    return r;
}

int worker_new(struct workshop *shop, size_t index, struct worker_change *change,
               struct worker **ret)
{
    struct worker *w = mem_zalloc(sizeof(*w));
    int r;

    if (!w) {
        tenure_give(change->tenure);
        mem_free(change);
        return -ENOMEM;
    }
    w->shop = shop;
    w->index = index;
    list_init(&w->doors);
    list_init(&w->new_doors);
    list_init(&w->retired_resolvers);
    *ret = w;
    r = build(w);
    if (r != 0) {
        tenure_give(change->tenure);
        mem_free(change);
        return r;
    }
    r = prepare(w, change);
    if (r == 0) {
        commit(w);
    }
    return r;
}

void worker_join(struct worker *worker)
{
    if (worker && worker->started) {
        (void)pthread_join(worker->thread, NULL);
        worker->started = false;
        access_log_deinit(&worker->proxy.access);
    }
}

void worker_free(struct worker *worker)
{
    if (!worker) {
        return;
    }
    while (!list_empty(&worker->doors)) {
        door_close(LIST_FIRST(&worker->doors, struct door, node));
    }
    abandon(worker);
    if (worker->given) {
        tenure_give(worker->given->tenure);
        mem_free(worker->given);
    }
    if (worker->proxy.tenure) {
        tenure_give(worker->proxy.tenure);
    }
    if (worker->proxy.pool.io) {
        upstream_pool_deinit(&worker->proxy.pool);
    }
    resolver_free(worker->resolver);
    resolver_free_retired(&worker->retired_resolvers);
    machine_free(worker->machine);
    auth_desk_free(worker->auth);
    if (worker->proxy.access.writer) {
        access_log_deinit(&worker->proxy.access);
    }
    mailbox_free(worker->mailbox);
    roll_deinit(&worker->proxy.roll);
    if (worker->io.loop) {
        io_deinit(&worker->io);
    }
    mem_free(worker);
}
