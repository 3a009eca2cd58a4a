// SPDX-License-Identifier: MIT
#include "upstream/upstream_conn.h"

#include <errno.h>

#include "base/slab.h"
#include "http/h1_parse.h"
#include "io/io.h"
#include "io/stream.h"
#include "upstream/upstream_pool.h"

static void on_stream_ready(struct stream *stream)
{
    struct upstream_conn *conn = stream->owner;

    if (conn->state == UPSTREAM_IDLE) {
        /* Bytes, the end or an error while nobody asked: no connection to go on with. A mere edge
         * of writability changes nothing. */
        if (stream->readable) {
            upstream_conn_close(conn, false);
        }
        return;
    }
    if (conn->on_ready) {
        conn->on_ready(conn->owner);
    }
}

static void on_expiry(struct deadline *deadline)
{
    upstream_conn_close(CONTAINER_OF(deadline, struct upstream_conn, expiry), false);
}

int upstream_conn_new(struct io *io, struct stream *stream, struct upstream_conn **ret)
{
    struct upstream_conn *conn = slab_zalloc(&io->slabs, sizeof(*conn));

    if (!conn) {
        stream_close(stream, false);
        return -ENOMEM;
    }
    conn->state = UPSTREAM_BUSY;
    conn->io = io;
    conn->stream = stream;
    conn->idle_limit_ms = UINT64_MAX;
    list_init(&conn->of_host);
    list_init(&conn->by_age);
    deadline_init(&conn->expiry, on_expiry);
    outq_init(&conn->out, stream);
    stream_set_owner(stream, conn, on_stream_ready);
    *ret = conn;
    return 0;
}

static void bury_conn(struct task *task)
{
    struct upstream_conn *conn = CONTAINER_OF(task, struct upstream_conn, grave);

    h1_parser_free(conn->parser);
    slab_free(&conn->io->slabs, conn);
}

static struct stream *end_conn(struct upstream_conn *conn)
{
    struct stream *stream = conn->stream;

    upstream_pool_forget(conn);
    conn->state = UPSTREAM_CLOSED;
    conn->stream = NULL;
    conn->owner = NULL;
    conn->on_ready = NULL;
    outq_deinit(&conn->out);
    deadline_disarm(&conn->expiry);
    loop_bury(conn->io->loop, &conn->grave, bury_conn);
    return stream;
}

void upstream_conn_close(struct upstream_conn *conn, bool reset)
{
    if (conn && conn->state != UPSTREAM_CLOSED) {
        stream_close(end_conn(conn), reset);
    }
}

struct stream *upstream_conn_take_stream(struct upstream_conn *conn)
{
    return end_conn(conn);
}

void upstream_conn_own(struct upstream_conn *conn, void *owner, void (*on_ready)(void *owner))
{
    conn->owner = owner;
    conn->on_ready = on_ready;
}
