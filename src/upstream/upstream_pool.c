// SPDX-License-Identifier: MIT
#include "upstream/upstream_pool.h"

#include "base/err.h"
#include "base/mem.h"
#include "http/h1_parse.h"
#include "io/io.h"
#include "io/loop.h"
#include "io/stream.h"
#include "upstream/upstream_conn.h"

int upstream_pool_init(struct upstream_pool *pool, struct io *io,
                       const struct upstream_pool_options *options)
{
    *pool = (struct upstream_pool){.io = io, .options = *options};
    list_init(&pool->by_age);
    return map_init(&pool->by_key);
}

void upstream_pool_deinit(struct upstream_pool *pool)
{
    while (upstream_pool_shed(pool)) {
    }
    map_deinit(&pool->by_key);
}

static struct upstream_conn *conn_of(struct map_node *node)
{
    return node ? CONTAINER_OF(node, struct upstream_conn, node) : NULL;
}

static bool is_among(const struct addr *peer, const struct addr *addrs, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (addr_ip_eq(peer, &addrs[i]) && peer->port == addrs[i].port) {
            return true;
        }
    }
    return false;
}

void upstream_pool_forget(struct upstream_conn *conn)
{
    struct upstream_pool *pool = conn->pool;

    map_remove(&pool->by_key, &conn->node);
    list_remove(&conn->by_age);
    deadline_disarm(&conn->expiry);
    pool->count--;
    conn->state = UPSTREAM_BUSY;
}

struct upstream_conn *upstream_pool_lease(struct upstream_pool *pool, struct str key,
                                          uint64_t bound_to, const struct addr *addrs,
                                          size_t addr_count, uint64_t max_age_ms, bool careful)
{
    uint64_t now_ms = loop_now_ms(pool->io->loop);
    struct map_node *node = map_find(&pool->by_key, key);

    while (node) {
        struct upstream_conn *conn = conn_of(node);

        node = map_find_next(node);
        if (conn->bound_to != bound_to || !is_among(&conn->peer, addrs, addr_count)) {
            continue;
        }
        if (now_ms - conn->last_used_ms > max_age_ms) {
            return NULL; /* the others are older still */
        }
        /* Bytes nobody asked for, or the end, may be known to the loop already. */
        if ((careful || conn->stream->readable || stream_has_event(conn->stream)) &&
            !stream_is_quiet(conn->stream)) {
            upstream_conn_close(conn, false);
            continue;
        }
        upstream_pool_forget(conn);
        conn->reused = true;
        return conn;
    }
    return NULL;
}

/* How many have this key; *ret_oldest is the last of them. */
static size_t count_key(const struct upstream_pool *pool, struct str key,
                        struct upstream_conn **ret_oldest)
{
    size_t count = 0;

    for (struct map_node *node = map_find(&pool->by_key, key); node; node = map_find_next(node)) {
        *ret_oldest = conn_of(node);
        count++;
    }
    return count;
}

static void make_room(struct upstream_pool *pool, struct str key)
{
    struct upstream_conn *oldest = NULL;

    if (count_key(pool, key, &oldest) >= pool->options.idle_per_host) {
        upstream_conn_close(oldest, false);
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
    if (!conn->key_text) {
        conn->key_text = mem_strndup(key.ptr, key.len);
    }
    if (!conn->key_text) {
        upstream_conn_close(conn, false);
        return;
    }
    make_room(pool, key);
    upstream_conn_own(conn, NULL, NULL);
    h1_parser_free(conn->parser);
    conn->parser = NULL;
    conn->state = UPSTREAM_IDLE;
    conn->pool = pool;
    conn->last_used_ms = loop_now_ms(pool->io->loop);
    conn->node.key = str_make(conn->key_text, key.len);
    map_add(&pool->by_key, &conn->node);
    list_push_back(&pool->by_age, &conn->by_age);
    deadline_arm(&conn->expiry, idle_ms);
    stream_relax(conn->stream);
    pool->count++;
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
