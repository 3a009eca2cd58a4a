// SPDX-License-Identifier: MIT
#include "upstream/upstream_pool.h"

#include <string.h>

#include "base/err.h"
#include "base/slab.h"
#include "http/h1_parse.h"
#include "io/io.h"
#include "io/loop.h"
#include "io/stream.h"
#include "upstream/upstream_conn.h"

/* One target and the connections that lead to it. It lives as long as there is one, idle or BUSY,
 * so that a connection finds its place again without a look at its key. */
struct upstream_host {
    struct map_node node;
    struct upstream_pool *pool;
    struct list idle; /* last used first */
    uint32_t idle_count;
    uint32_t users; /* connections, and who goes through the list */
    char key[];
};

int upstream_pool_init(struct upstream_pool *pool, struct io *io)
{
    *pool = (struct upstream_pool){.io = io};
    list_init(&pool->by_age);
    return map_init(&pool->hosts);
}

void upstream_pool_set(struct upstream_pool *pool, const struct upstream_pool_options *options)
{
    pool->options = *options;
    while (pool->count > options->idle_total && upstream_pool_shed(pool)) {
    }
}

void upstream_pool_deinit(struct upstream_pool *pool)
{
    while (upstream_pool_shed(pool)) {
    }
    map_deinit(&pool->hosts);
}

/* ------------------------------------------------------------------ hosts */

static struct upstream_host *find_host(const struct upstream_pool *pool, struct str key)
{
    struct map_node *node = map_find(&pool->hosts, key);

    return node ? CONTAINER_OF(node, struct upstream_host, node) : NULL;
}

static struct upstream_host *add_host(struct upstream_pool *pool, struct str key)
{
    struct upstream_host *host = slab_zalloc(&pool->io->slabs, sizeof(*host) + key.len);

    if (host) {
        memcpy(host->key, key.ptr, key.len);
        host->node.key = str_make(host->key, key.len);
        host->pool = pool;
        list_init(&host->idle);
        map_add(&pool->hosts, &host->node);
    }
    return host;
}

static void leave_host(struct upstream_host *host)
{
    struct upstream_pool *pool = host->pool;

    if (--host->users == 0) {
        map_remove(&pool->hosts, &host->node);
        slab_free(&pool->io->slabs, host);
    }
}

/* False when memory is out. */
static bool join_host(struct upstream_pool *pool, struct str key, struct upstream_conn *conn)
{
    struct upstream_host *host = find_host(pool, key);

    if (!host) {
        host = add_host(pool, key);
    }
    if (!host) {
        return false;
    }
    host->users++;
    conn->host = host;
    return true;
}

/* ------------------------------------------------------------------ leases */

static bool is_among(const struct addr *peer, const struct addr *addrs, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (addr_ip_eq(peer, &addrs[i]) && peer->port == addrs[i].port) {
            return true;
        }
    }
    return false;
}

/* An idle connection is BUSY again. */
static void take_out(struct upstream_conn *conn)
{
    ASSERT(conn->state == UPSTREAM_IDLE);
    list_remove(&conn->of_host);
    list_remove(&conn->by_age);
    deadline_disarm(&conn->expiry);
    conn->host->idle_count--;
    conn->host->pool->count--;
    conn->state = UPSTREAM_BUSY;
}

void upstream_pool_forget(struct upstream_conn *conn)
{
    if (conn->state == UPSTREAM_IDLE) {
        take_out(conn);
    }
    if (conn->host) {
        leave_host(conn->host);
        conn->host = NULL;
    }
}

/* Of a connection given in this very turn the loop could say nothing yet. */
static bool is_given_now(const struct upstream_conn *conn)
{
    return conn->given_in_turn == loop_turn(conn->io->loop);
}

/* Bytes nobody asked for, or the end, may be known to the loop already, or have come since it
 * looked last. */
static bool may_have_news(const struct upstream_conn *conn)
{
    return conn->stream->readable || stream_has_event(conn->stream) || is_given_now(conn);
}

/* What upstream_pool_lease is asked for. */
struct wish {
    uint64_t bound_to;
    const struct addr *addrs;
    size_t addr_count;
    uint64_t least_used_ms; /* on the loop's clock */
    bool careful;
};

/* The first that fits, of those given in this turn or of the others. */
static struct upstream_conn *lease_of(struct upstream_host *host, const struct wish *wish,
                                      bool given_now)
{
    LIST_FOR_EACH (node, next, &host->idle) {
        struct upstream_conn *conn = LIST_ITEM(node, struct upstream_conn, of_host);

        if (is_given_now(conn) != given_now || conn->bound_to != wish->bound_to ||
            !is_among(&conn->stream->peer, wish->addrs, wish->addr_count)) {
            continue;
        }
        if (conn->last_used_ms < wish->least_used_ms) {
            return NULL; /* the others are older still */
        }
        if ((wish->careful || may_have_news(conn)) && !stream_is_quiet(conn->stream)) {
            upstream_conn_close(conn, false);
            continue;
        }
        take_out(conn);
        conn->reused = true;
        return conn;
    }
    return NULL;
}

struct upstream_conn *upstream_pool_lease(struct upstream_pool *pool, struct str key,
                                          uint64_t bound_to, const struct addr *addrs,
                                          size_t addr_count, uint64_t max_age_ms, bool careful)
{
    uint64_t now_ms = loop_now_ms(pool->io->loop);
    const struct wish wish = {
        .bound_to = bound_to,
        .addrs = addrs,
        .addr_count = addr_count,
        .least_used_ms = now_ms > max_age_ms ? now_ms - max_age_ms : 0,
        .careful = careful,
    };
    struct upstream_host *host = find_host(pool, key);
    struct upstream_conn *conn;

    if (!host) {
        return NULL;
    }
    host->users++; /* its last connection may be closed meanwhile */
    conn = lease_of(host, &wish, false);
    if (!conn) {
        conn = lease_of(host, &wish, true); /* these cost a look at the socket */
    }
    leave_host(host);
    return conn;
}

/* ------------------------------------------------------------------ keeping */

static void make_room(struct upstream_pool *pool, struct upstream_host *host)
{
    if (host->idle_count >= pool->options.idle_per_host) {
        upstream_conn_close(LIST_LAST(&host->idle, struct upstream_conn, of_host), false);
    }
    while (pool->count >= pool->options.idle_total && upstream_pool_shed(pool)) {
    }
}

/* Lengths are rounded down to a few, so that origins cannot make the loop keep a list for each. */
static uint64_t round_idle_ms(uint64_t ms)
{
    static const uint64_t steps_s[] = {60, 30, 15, 10, 5, 3, 2, 1};

    for (size_t i = 0; i < ARRAY_LEN(steps_s); i++) {
        if (ms >= steps_s[i] * 1000) {
            return steps_s[i] * 1000;
        }
    }
    return 0;
}

void upstream_pool_give(struct upstream_pool *pool, struct str key, struct upstream_conn *conn)
{
    uint64_t idle_ms = pool->options.idle_ms;

    ASSERT(conn->state == UPSTREAM_BUSY);
    if (conn->idle_limit_ms < idle_ms) {
        idle_ms = round_idle_ms(conn->idle_limit_ms);
    }
    /* The origin's FIN may have come with the last bytes: no further edge would tell. */
    if (conn->poisoned || (conn->stream->readable && !stream_is_quiet(conn->stream)) ||
        idle_ms == 0 || pool->options.idle_per_host == 0 || pool->options.idle_total == 0) {
        upstream_conn_close(conn, false);
        return;
    }
    if (!conn->host && !join_host(pool, key, conn)) {
        upstream_conn_close(conn, false);
        return;
    }
    make_room(pool, conn->host);
    upstream_conn_own(conn, NULL, NULL);
    h1_parser_free(conn->parser);
    conn->parser = NULL;
    conn->state = UPSTREAM_IDLE;
    conn->last_used_ms = loop_now_ms(pool->io->loop);
    conn->given_in_turn = loop_turn(pool->io->loop);
    list_push_front(&conn->host->idle, &conn->of_host);
    list_push_back(&pool->by_age, &conn->by_age);
    conn->host->idle_count++;
    pool->count++;
    deadline_arm(&conn->expiry, pool->io->loop, idle_ms);
    stream_relax(conn->stream);
}

void upstream_pool_unbind(struct upstream_pool *pool, uint64_t client)
{
    LIST_FOR_EACH (node, next, &pool->by_age) {
        struct upstream_conn *conn = LIST_ITEM(node, struct upstream_conn, by_age);

        if (conn->bound_to == client) {
            upstream_conn_close(conn, false);
        }
    }
}

bool upstream_pool_shed(struct upstream_pool *pool)
{
    if (list_empty(&pool->by_age)) {
        return false;
    }
    upstream_conn_close(LIST_FIRST(&pool->by_age, struct upstream_conn, by_age), false);
    return true;
}
