// SPDX-License-Identifier: MIT

/* Answers of the admin socket in pieces. */

#include <event2/buffer.h>
#include <stdlib.h>

#include "server/admin_private.h"

void admin_stream_forget(struct admin_request *request)
{
    if (request->connection) {
        evhttp_connection_set_closecb(request->connection, NULL, NULL);
        request->connection = NULL;
    }
}

/* The client has gone. What is no longer of its connection does not end with it. */
static void give_up(struct admin_request *request)
{
    struct evhttp_request *http = request->http;

    request->connection = NULL;
    request->http = NULL;
    if (!evhttp_request_get_connection(http)) {
        evhttp_send_reply_end(http);
    }
    request->cancel(request);
}

static void on_gone(struct evhttp_connection *connection, void *arg)
{
    (void)connection;
    give_up(arg);
}

static void on_taken(struct evhttp_connection *connection, void *arg)
{
    struct admin_request *request = arg;

    (void)connection;
    request->taken(request);
}

/* What was written, and request->out anew; NULL: memory is out. */
static struct evbuffer *next_piece(struct admin_request *request)
{
    bool failed = ferror(request->out) != 0;
    struct evbuffer *piece;

    failed = fclose(request->out) != 0 || failed;
    request->out = NULL;
    piece = failed ? NULL : admin_take_body(request);
    if (!request->body) {
        request->out = open_memstream(&request->body, &request->body_len);
    }
    if (piece && !request->out) {
        evbuffer_free(piece);
        piece = NULL;
    }
    return piece;
}

/* False: the client has gone already. */
static bool begin(struct admin_request *request)
{
    request->connection = evhttp_request_get_connection(request->http);
    if (request->connection) {
        evhttp_connection_set_closecb(request->connection, on_gone, request);
        admin_begin_answer(request);
        evhttp_send_reply_start(request->http, 200, NULL);
    }
    return request->connection != NULL;
}

void admin_stream(struct admin_request *request, void (*taken)(struct admin_request *request))
{
    struct evbuffer *piece;

    if (!request->connection && !begin(request)) {
        give_up(request);
        return;
    }
    piece = next_piece(request);
    if (!piece) {
        evhttp_connection_free(request->connection);
        return;
    }
    request->taken = taken;
    admin_give_time(request);
    evhttp_send_reply_chunk_with_cb(request->http, piece, on_taken, request);
    admin_deafen(admin_client_of(request));
    evbuffer_free(piece);
}

static void on_last_taken(struct admin_request *request)
{
    struct evhttp_request *http = request->http;
    struct admin_client *client = admin_client_of(request);

    admin_stream_forget(request);
    request->http = NULL;
    evhttp_send_reply_end(http);
    admin_deafen(client);
    admin_answer(request, 200);
}

void admin_stream_end(struct admin_request *request)
{
    admin_stream(request, on_last_taken);
}
