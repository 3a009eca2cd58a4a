// SPDX-License-Identifier: MIT

/*
 * HTTP for the admin socket, by libevent's evhttp. A connection serves one
 * request: it has 10 s to come, and, once there is an answer, a minute to
 * take it, 10 s of which without moving a byte are the most. Strangers, whose
 * request will be refused, have few places and 2 s, so that they keep nobody
 * out who may ask.
 */

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/keyvalq_struct.h>
#include <event2/listener.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/err.h"
#include "base/mem.h"
#include "log/log.h"
#include "server/admin_private.h"
#include "server/json.h"

/* More than any request may hold: of the line before a chunk evhttp has no limit. */
#define INPUT_MAX ((size_t)ADMIN_HEAD_MAX + ADMIN_BODY_MAX + 4096)
#define METHODS (EVHTTP_REQ_PATCH * 2 - 1) /* all that evhttp knows: routes choose */
#define SEND_MS 60000
#define REST_MS 1000
#define STOP_MS 500 /* what an answer that is being sent has left when the daemon ends */

/* Of an accept that failed evconnlistener tells with the pointer that evhttp has given it. */
static _Thread_local struct admin *admin_of_thread;

/* ------------------------------------------------------------------ connections */

/* evhttp has no limit for connections, and does not tell when one ends. So each holds a reference
 * of ours beside evhttp's: when evhttp lets go of a stream it takes its callbacks off. The
 * descriptor is closed with the last reference, after its events; by evhttp, which would do it
 * first, another thread could have the number before they are gone. */
static bool is_let_go(struct bufferevent *stream)
{
    void *connection = NULL;

    bufferevent_getcb(stream, NULL, NULL, NULL, &connection);
    return !connection;
}

static void client_end(struct admin_client *client)
{
    (void)bufferevent_decref(client->stream);
    client->stream = NULL;
    deadline_disarm(&client->cut);
    client->admin->client_count--;
    client->admin->answered_count -= client->is_answered;
    client->admin->stranger_count -= client->is_stranger;
    client->is_answered = false;
    client->is_stranger = false;
}

static void sweep(struct admin *admin)
{
    for (size_t i = 0; i < ADMIN_CONNECTIONS_MAX; i++) {
        struct admin_client *client = &admin->clients[i];

        if (client->stream && is_let_go(client->stream)) {
            client_end(client);
        }
    }
}

static void stop_if_done(struct admin *admin)
{
    if (admin->stopping && admin->answered_count == 0) {
        loop_stop(admin->loop);
    }
}

static void resume(struct admin *admin)
{
    bool may_accept = !admin->is_full && !deadline_armed(&admin->rest);

    if (admin->listener && may_accept) {
        (void)evconnlistener_enable(admin->listener);
    }
}

static void on_rested(struct deadline *deadline)
{
    resume(CONTAINER_OF(deadline, struct admin, rest));
}

/* Who waits would wake the loop again and again. */
static void on_accept_failed(struct evconnlistener *listener, void *arg)
{
    struct admin *admin = admin_of_thread;

    (void)arg;
    log_event(LOG_WARNING, "admin", "cannot accept: %s; clients wait in the queue",
              strerror(errno));
    (void)evconnlistener_disable(listener);
    deadline_arm(&admin->rest, admin->loop, REST_MS);
}

/* evhttp takes it for a client that has gone. */
static void cut(struct admin_client *client)
{
    bufferevent_setwatermark(client->stream, EV_READ, 0, 0); /* so that evhttp sees the end */
    (void)shutdown(bufferevent_getfd(client->stream), SHUT_RDWR);
}

static void on_cut(struct deadline *deadline)
{
    struct admin_client *client = CONTAINER_OF(deadline, struct admin_client, cut);

    if (!is_let_go(client->stream)) { /* else the sweep follows */
        cut(client);
    }
}

/* evhttp tells who has come only once it has asked for a stream. So the one that came last is
 * looked at before the next, and before anything else happens. */
static void judge_last(struct admin *admin)
{
    struct admin_client *client = admin->unjudged;

    admin->unjudged = NULL;
    if (!client || !client->stream || is_let_go(client->stream) ||
        admin_is_allowed(admin, bufferevent_getfd(client->stream))) {
        return;
    }
    client->is_stranger = true;
    if (++admin->stranger_count > ADMIN_STRANGERS_MAX) {
        cut(client);
    } else {
        deadline_arm(&client->cut, admin->loop, ADMIN_STRANGER_MS);
    }
}

static void on_turn_end(void *arg)
{
    struct admin *admin = arg;

    admin_of_thread = admin;
    judge_last(admin);
    sweep(admin);
    if (admin->is_full && admin->client_count < ADMIN_CONNECTIONS_MAX) {
        admin->is_full = false;
        resume(admin);
    }
    stop_if_done(admin);
}

static struct admin_client *vacant_place(struct admin *admin)
{
    for (size_t i = 0; i < ADMIN_CONNECTIONS_MAX; i++) {
        if (!admin->clients[i].stream) {
            return &admin->clients[i];
        }
    }
    return NULL;
}

/* evhttp has accepted somebody. Without a stream of ours it would use one of its own. */
static struct bufferevent *on_accepted(struct event_base *base, void *arg)
{
    struct admin *admin = arg;
    struct admin_client *client;

    judge_last(admin);
    client = vacant_place(admin);
    ASSERT(client); /* the listener rests while there is none */
    client->stream = bufferevent_socket_new(base, -1, BEV_OPT_CLOSE_ON_FREE);
    if (!client->stream) {
        return NULL;
    }
    bufferevent_incref(client->stream);
    bufferevent_setwatermark(client->stream, EV_READ, 0, INPUT_MAX);
    deadline_arm(&client->cut, admin->loop, ADMIN_WAIT_MS);
    admin->unjudged = client;
    if (++admin->client_count == ADMIN_CONNECTIONS_MAX) {
        admin->is_full = true;
        (void)evconnlistener_disable(admin->listener);
    }
    return client->stream;
}

static struct admin_client *client_of(struct admin *admin, struct evhttp_request *http)
{
    struct evhttp_connection *connection = evhttp_request_get_connection(http);
    struct bufferevent *stream = connection ? evhttp_connection_get_bufferevent(connection) : NULL;

    for (size_t i = 0; stream && i < ADMIN_CONNECTIONS_MAX; i++) {
        if (admin->clients[i].stream == stream) {
            return &admin->clients[i];
        }
    }
    return NULL;
}

/* ------------------------------------------------------------------ answers */

static void request_free(struct admin_request *request)
{
    list_remove(&request->node);
    admin_stream_forget(request);
    if (request->out) {
        (void)fclose(request->out);
    }
    free(request->body); /* open_memstream(3)'s */
    admin_view_unref(request->view);
    mem_free(request);
}

static void free_body(const void *data, size_t len, void *arg)
{
    (void)len;
    (void)arg;
    free((void *)(uintptr_t)data);
}

/* The answer has been taken, and so the connection has served its one request. To evhttp it is over
 * by the answer's Connection field, but not if the request was a CONNECT. */
static void on_sent(struct evhttp_request *http, void *arg)
{
    struct admin_client *client = client_of(arg, http);

    if (client) {
        cut(client);
    }
}

void admin_set_field(struct admin_request *request, const char *name, const char *value)
{
    if (request->http) {
        (void)evhttp_add_header(evhttp_request_get_output_headers(request->http), name, value);
    }
}

struct admin_client *admin_client_of(const struct admin_request *request)
{
    return request->http ? client_of(request->admin, request->http) : NULL;
}

void admin_deafen(struct admin_client *client)
{
    if (client && client->stream) {
        (void)bufferevent_disable(client->stream, EV_READ);
    }
}

void admin_give_time(struct admin_request *request)
{
    const struct timeval idle = {.tv_sec = ADMIN_WAIT_MS / 1000};
    struct admin *admin = request->admin;
    struct admin_client *client = admin_client_of(request);

    if (client) {
        /* From here on it may be silent, but must take what it asked for. */
        (void)bufferevent_set_timeouts(client->stream, NULL, &idle);
        if (!client->is_answered) { /* all pieces of an answer share it */
            deadline_arm(&client->cut, admin->loop, SEND_MS);
        }
        admin->answered_count += !client->is_answered;
        client->is_answered = true;
    }
}

void admin_begin_answer(struct admin_request *request)
{
    admin_set_field(request, "Content-Type",
                    request->wants_text ? "text/plain; charset=utf-8" : "application/json");
    admin_set_field(request, "Cache-Control", "no-store");
    admin_set_field(request, "X-Content-Type-Options", "nosniff");
    admin_set_field(request, "Connection", "close");
    evhttp_request_set_on_complete_cb(request->http, on_sent, request->admin);
    admin_give_time(request);
}

struct evbuffer *admin_take_body(struct admin_request *request)
{
    struct evbuffer *body = evbuffer_new();

    if (body &&
        evbuffer_add_reference(body, request->body, request->body_len, free_body, NULL) == 0) {
        request->body = NULL;
    }
    return body;
}

/* RFC 9110 9.3.2: no content, which evhttp would send; its length where that is known, as it is not
 * of an answer in pieces. */
static void leave_out(struct admin_request *request, struct evbuffer *body)
{
    char length[32];

    if (evbuffer_get_length(body) > 0) {
        (void)snprintf(length, sizeof(length), "%zu", evbuffer_get_length(body));
        admin_set_field(request, "Content-Length", length);
        (void)evbuffer_drain(body, evbuffer_get_length(body));
    }
}

static void send_answer(struct admin_request *request, unsigned status)
{
    struct admin_client *client = admin_client_of(request);
    struct evbuffer *body = admin_take_body(request);

    if (body && evhttp_request_get_command(request->http) == EVHTTP_REQ_HEAD) {
        leave_out(request, body);
    }

    admin_begin_answer(request);
    evhttp_send_reply(request->http, (int)status, NULL, body);
    admin_deafen(client);
    if (body) {
        evbuffer_free(body);
    }
}

void admin_answer(struct admin_request *request, unsigned status)
{
    bool failed = !request->out || ferror(request->out) != 0;

    failed = (request->out && fclose(request->out) != 0) || failed;
    request->out = NULL;
    if (failed) {
        request->body_len = 0;
        status = 503; /* memory is out */
    }
    if (request->http) {
        send_answer(request, status);
    }
    request_free(request);
}

void admin_answer_error(struct admin_request *request, unsigned status, const char *fmt, ...)
{
    char line[512];
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(line, sizeof(line), fmt, args);
    va_end(args);
    if (request->out && request->wants_text) {
        (void)fprintf(request->out, "%s\n", line);
    } else if (request->out) {
        json_put_member(request->out, "{", "error", str_of(line));
        (void)fputs("}\n", request->out);
    }
    admin_answer(request, status);
}

/* ------------------------------------------------------------------ requests */

static void read_target(struct admin_request *request)
{
    const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(request->http);
    const char *accept =
        evhttp_find_header(evhttp_request_get_input_headers(request->http), "Accept");

    request->path = str_of(uri ? evhttp_uri_get_path(uri) : NULL);
    request->query = uri ? evhttp_uri_get_query(uri) : NULL;
    request->wants_text = accept && str_istarts(str_of(accept), STR("text/plain"));
}

static void on_request(struct evhttp_request *http, void *arg)
{
    struct admin *admin = arg;
    struct admin_client *client;
    struct admin_request *request = mem_zalloc(sizeof(*request));

    client = client_of(admin, http);
    if (client) {
        deadline_disarm(&client->cut);
    }
    if (request) {
        *request = (struct admin_request){.admin = admin, .http = http};
        request->view = admin_view_get(admin);
        request->out = open_memstream(&request->body, &request->body_len);
    }
    if (!request || !request->view || !request->out) {
        if (request) {
            list_init(&request->node);
            request_free(request);
        }
        evhttp_send_error(http, 503, NULL);
        return;
    }
    list_init(&request->node);
    list_push_back(&admin->waiting, &request->node);
    read_target(request);
    if (admin_admit(request)) {
        admin_dispatch(request);
    }
}

/* ------------------------------------------------------------------ life */

static void on_stop(struct deadline *deadline)
{
    loop_stop(CONTAINER_OF(deadline, struct admin, stop)->loop);
}

int admin_http_init(struct admin *admin)
{
    admin->http = evhttp_new(loop_base(admin->loop));
    if (!admin->http) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < ADMIN_CONNECTIONS_MAX; i++) {
        admin->clients[i].admin = admin;
        deadline_init(&admin->clients[i].cut, on_cut);
    }
    deadline_init(&admin->stop, on_stop);
    deadline_init(&admin->rest, on_rested);
    evhttp_set_max_headers_size(admin->http, ADMIN_HEAD_MAX);
    evhttp_set_max_body_size(admin->http, ADMIN_BODY_MAX);
    evhttp_set_timeout(admin->http, ADMIN_WAIT_MS / 1000);
    evhttp_set_allowed_methods(admin->http, METHODS);
    evhttp_set_bevcb(admin->http, on_accepted, admin);
    evhttp_set_gencb(admin->http, on_request, admin);
    loop_on_turn_end(admin->loop, on_turn_end, admin);
    return 0;
}

void admin_http_listen(struct admin *admin, int fd)
{
    if (admin->bound) {
        evhttp_del_accept_socket(admin->http, admin->bound);
        admin->bound = NULL;
        admin->listener = NULL;
    }
    if (fd < 0) {
        return;
    }
    admin->listener =
        evconnlistener_new(loop_base(admin->loop), NULL, NULL, LEV_OPT_CLOSE_ON_EXEC, 0, fd);
    admin->bound = admin->listener ? evhttp_bind_listener(admin->http, admin->listener) : NULL;
    if (!admin->bound) {
        log_event(LOG_ERROR, "admin", "cannot listen: out of memory");
        if (admin->listener) {
            evconnlistener_free(admin->listener);
            admin->listener = NULL;
        }
        return;
    }
    evconnlistener_set_error_cb(admin->listener, on_accept_failed);
    if (admin->is_full) {
        (void)evconnlistener_disable(admin->listener);
    }
}

void admin_http_stop(struct admin *admin)
{
    admin_http_listen(admin, -1);
    admin->stopping = true;
    deadline_arm(&admin->stop, admin->loop, STOP_MS);
    stop_if_done(admin);
}

void admin_http_deinit(struct admin *admin)
{
    if (!admin->http) {
        return;
    }
    while (!list_empty(&admin->waiting)) {
        struct admin_request *request = LIST_FIRST(&admin->waiting, struct admin_request, node);

        ASSERT(request->cancel); /* what comes by mail has come */
        request->http = NULL;
        request->cancel(request);
    }
    evhttp_free(admin->http);
    sweep(admin);
}
