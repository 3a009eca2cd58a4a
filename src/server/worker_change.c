// SPDX-License-Identifier: MIT
#include <errno.h>

#include "base/err.h"
#include "base/mem.h"
#include "conf/conf.h"
#include "io/stream_tcp.h"
#include "policy/auth.h"
#include "policy/hits.h"
#include "proxy/tenure.h"
#include "resolve/resolver.h"
#include "server/sockets.h"
#include "server/worker_private.h"

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
        r = listener_new(w->io.loop, *fd, !own, &worker_listener_events, w, door, &door->listener);
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
        worker_open_doors(w);
    }
    LIST_FOR_EACH (node, next, &w->doors) {
        struct door *door = LIST_ITEM(node, struct door, node);

        if (!door->keeps) {
            door_drain(door);
        }
    }
}

void worker_drain_doors(struct worker *w)
{
    while (!list_empty(&w->doors)) {
        door_drain(LIST_FIRST(&w->doors, struct door, node));
    }
}

void worker_close_doors(struct worker *w)
{
    while (!list_empty(&w->doors)) {
        door_close(LIST_FIRST(&w->doors, struct door, node));
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

void worker_abandon_change(struct worker *w)
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

int worker_prepare_change(struct worker *w, struct worker_change *change)
{
    int r;

    w->change = change;
    r = prepare_resolver(w, change->tenure->snapshot->conf);
    if (r == 0) {
        r = prepare_auth(w, change->auth);
    }
    return r == 0 ? prepare_doors(w, change) : r;
}

void worker_commit_change(struct worker *w)
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

void worker_on_prepare(struct worker *w)
{
    struct worker_change *change = atomic_exchange(&w->given, NULL);
    int r = change ? worker_prepare_change(w, change) : -ECANCELED;

    if (r != 0) {
        atomic_store(&w->shop->change_error, r);
    }
    w->shop->changed(w->shop->arg);
}

void worker_on_decide(struct worker *w, bool is_commit)
{
    if (is_commit) {
        worker_commit_change(w);
    } else {
        worker_abandon_change(w);
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
