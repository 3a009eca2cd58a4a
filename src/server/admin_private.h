// SPDX-License-Identifier: MIT
#pragma once

/*
 * The inside of the admin socket. admin.c is what the main thread sees: the
 * thread, what it is shown, mail. admin_http.c is HTTP: connections and their
 * limits. admin_gate.c says who may ask. The routes stand in
 * admin_routes.c and the files beside it; a route is a row of that table and
 * a function that writes the answer or keeps the request until it can. All
 * of it is on the admin thread, where nothing else is said.
 */

#include <event2/http.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "base/addr.h"
#include "base/list.h"
#include "base/ref.h"
#include "base/str.h"
#include "io/loop.h"
#include "io/mailbox.h"
#include "server/admin.h"

struct auth;
struct bufferevent;
struct connections;
struct conf;
struct evconnlistener;
struct reload_progress;
struct reload_sight;
struct workshop;

#define ADMIN_CONNECTIONS_MAX 64
#define ADMIN_STRANGERS_MAX 8 /* of them */
#define ADMIN_HEAD_MAX 8192
#define ADMIN_BODY_MAX 4096
#define ADMIN_WAIT_MS 10000
#define ADMIN_STRANGER_MS 2000

/* ---- What the main thread shows ---- */

struct admin_listener {
    const char *name;    /* of its section */
    const char *address; /* as bound */
};

/* Immutable; whoever uses it holds a reference. */
struct admin_view {
    struct ref ref;
    struct snapshot *snapshot;        /* shared ref */
    struct auth *auth;                /* borrowed; NULL: there has been no users file yet */
    struct admin_listener *listeners; /* owned, with their strings */
    size_t listener_count;
};

/* ---- Mail, both ways ---- */

struct admin_mail {
    struct mail mail;
    /* On the receiver's thread; the letter is given to it. */
    void (*read)(struct admin *admin, struct admin_mail *mail);
};

/* To be called by the main thread. */
void admin_tell(struct admin *admin, struct admin_mail *mail);
/* To be read on the main thread, where admin->server may be touched. */
void admin_ask(struct admin *admin, struct admin_mail *mail);

/* ---- The thread ---- */

/* One connection. */
struct admin_client {
    struct admin *admin;
    struct bufferevent *stream; /* one reference; NULL: the place is vacant */
    struct deadline cut;
    bool is_answered; /* the answer is being sent */
    bool is_stranger; /* admin.allow did not name its address when it came */
};

struct admin {
    struct server *server; /* borrowed; for the main thread alone */
    const struct workshop *shop;
    struct reload_progress *progress; /* borrowed */
    struct connections *connections;  /* owned */
    uint64_t start_ms;                /* monotonic */
    pthread_t thread;
    struct loop *loop;       /* owned */
    struct mailbox *inbox;   /* owned: on loop */
    struct mailbox *to_main; /* owned: on the main thread's loop */
    atomic_bool draining;
    pthread_mutex_t lock;
    struct admin_view *view; /* under lock: shared ref; NULL: nothing has been shown yet */

    struct admin_mail listen_mail, stop_mail;
    const struct socket_set *wanted; /* of listen_mail */
    void (*changed)(void *arg);
    void *changed_arg;

    struct evhttp *http; /* owned */
    struct evhttp_bound_socket *bound;
    struct evconnlistener *listener; /* owned by http; NULL: listens nowhere */
    bool is_full;                    /* the listener waits for a connection to end */
    bool stopping;                   /* ends with the last answer that is being sent */
    struct deadline stop;
    struct deadline rest; /* the system is short of descriptors: the listener looks again then */
    size_t client_count;
    size_t stranger_count;         /* of them */
    struct admin_client *unjudged; /* the last one that came; NULL: it has been looked at */
    size_t explain_count;  /* questions that wait for names: each has a resolver of its own */
    size_t reload_count;   /* requests that wait for a reload */
    size_t answered_count; /* clients whose answer is being sent */
    struct admin_client clients[ADMIN_CONNECTIONS_MAX];
    struct list waiting; /* requests that are not answered yet */
};

/* A reference to what is shown now. */
struct admin_view *admin_view_get(struct admin *admin);
void admin_view_unref(struct admin_view *view); /* accepts NULL */

/* ---- Requests ---- */

struct admin_request {
    struct list node; /* in admin->waiting */
    struct admin *admin;
    struct evhttp_request *http; /* NULL: nobody waits for the answer any more */
    struct admin_view *view;     /* shared ref */
    struct str path;             /* without the query */
    struct str rest;             /* of a route that ends with '/': what follows */
    const char *query;           /* NULL: none */
    bool wants_text;             /* for people, not JSON */
    bool may_see;                /* what clients ask for; not over TCP unless admin.write is on */
    bool may_write;              /* the same, for changes */
    FILE *out;                   /* the answer's body, while it is written */
    char *body;
    size_t body_len;
    /* The thread ends, and what the request waits for will not come: ends in admin_answer. NULL: it
     * comes by mail. */
    void (*cancel)(struct admin_request *request);
    void *job; /* of the handler */
    /* Of an answer in pieces (admin_stream.c); NULL: it is none, or its client has gone. */
    struct evhttp_connection *connection;
    void (*taken)(struct admin_request *request);
};

struct admin_route {
    const char *path; /* one that ends with '/' holds for all below it */
    enum evhttp_cmd_type method;
    bool is_change; /* refused where nothing may be changed */
    /* Ends in admin_answer, now or later. */
    void (*handle)(struct admin_request *request);
    const char *help; /* one line, for / */
};

extern const struct admin_route admin_routes[];
extern const size_t admin_route_count;

/* What was written to request->out is the body. Frees the request. */
void admin_answer(struct admin_request *request, unsigned status);
/* One line, in both forms: {"error":"..."}. Frees the request. */
void admin_answer_error(struct admin_request *request, unsigned status, const char *fmt, ...)
    PRINTF_LIKE(3, 4);
/* A field of the answer's head. */
void admin_set_field(struct admin_request *request, const char *name, const char *value);

/* An answer in pieces, so that a long one takes no more memory than a piece. What was written to
 * request->out goes as the next one, with the first the status 200, and taken is called once the
 * client has it. When it has gone, or memory is out, request->cancel is called instead, and ends in
 * admin_answer. Not for HEAD. */
void admin_stream(struct admin_request *request, void (*taken)(struct admin_request *request));
/* The same with the last one. Frees the request. */
void admin_stream_end(struct admin_request *request);

/* admin_http.c, for admin_stream.c, and the other way round */
/* The fields of any answer's head. */
void admin_begin_answer(struct admin_request *request);
/* The client has some time now to take what is sent. */
void admin_give_time(struct admin_request *request);
/* The connection of a request; NULL: it has gone. */
struct admin_client *admin_client_of(const struct admin_request *request);
/* After evhttp was given something to send, which has it watch for the end of what the client
 * sends: one that has ended its direction waits for its answer. One that has gone shows when it is
 * written to. NULL is accepted. */
void admin_deafen(struct admin_client *client);
/* What was written, once request->out is closed. NULL, or empty: memory is out. */
struct evbuffer *admin_take_body(struct admin_request *request);
/* request is about to be freed. */
void admin_stream_forget(struct admin_request *request);

/* admin_gate.c: true when the request may go on; else it is answered. */
MUST_USE bool admin_admit(struct admin_request *request);
/* Who is connected by fd is one whom admin.allow names, or comes by a unix socket. */
MUST_USE bool admin_is_allowed(struct admin *admin, int fd);
/* admin_routes.c: has the route of its path answer. */
void admin_dispatch(struct admin_request *request);

/* admin_http.c, for admin.c */
MUST_USE int admin_http_init(struct admin *admin);
void admin_http_deinit(struct admin *admin);
/* fd is borrowed; -1: listen nowhere. */
void admin_http_listen(struct admin *admin, int fd);
/* Closes what nobody waits for; the loop stops with the last answer, or soon. */
void admin_http_stop(struct admin *admin);

/* admin_reload.c: what is seen of a reload, as an object, and as part of a line. */
void admin_put_progress_json(FILE *out, const struct reload_sight *sight);
void admin_put_progress(FILE *out, const struct reload_sight *sight);

/* Handlers. */
void admin_route_index(struct admin_request *request);
void admin_route_healthz(struct admin_request *request);
void admin_route_status(struct admin_request *request);
void admin_route_connections(struct admin_request *request);
void admin_route_close(struct admin_request *request);
void admin_route_kill(struct admin_request *request);
void admin_route_rules(struct admin_request *request);
void admin_route_reload(struct admin_request *request);
void admin_route_progress(struct admin_request *request);
void admin_route_explain(struct admin_request *request);
