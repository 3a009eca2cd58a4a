// SPDX-License-Identifier: MIT

/* What runs, listed and ended: routes of the admin socket. */

#include <errno.h>
#include <string.h>

#include "base/mem.h"
#include "server/admin_private.h"
#include "server/connections.h"
#include "server/connections_show.h"
#include "server/json.h"

/* Of a request for a listing, until that is over. */
struct job {
    struct connections_listing *listing;
    struct connections_form form;
};

/* ------------------------------------------------------------------ listings */

static void on_taken(struct admin_request *request)
{
    struct job *job = request->job;

    connections_more(job->listing);
}

static void on_rows(void *arg, const struct connections_row *rows, size_t count)
{
    struct admin_request *request = arg;
    struct job *job = request->job;

    connections_show_rows(&job->form, rows, count, request->out);
    admin_stream(request, on_taken);
}

static void cancel(struct admin_request *request)
{
    struct job *job = request->job;

    if (job) {
        connections_cancel(job->listing);
        mem_free(job);
    }
    admin_answer(request, 503);
}

static void on_end(void *arg)
{
    struct admin_request *request = arg;
    struct job *job = request->job;

    connections_show_end(&job->form, request->out);
    mem_free(job);
    request->job = NULL;
    admin_stream_end(request);
}

static const struct connections_events events = {.rows = on_rows, .end = on_end};

static void refuse(struct admin_request *request, int error)
{
    if (error == -EBUSY) {
        admin_set_field(request, "Retry-After", "1");
        admin_answer_error(request, 503, "another listing is under way");
    } else {
        admin_answer_error(request, 503, "out of memory");
    }
}

static void list(struct admin_request *request, const struct connections_query *query)
{
    struct job *job = mem_zalloc(sizeof(*job));
    int r = -ENOMEM;

    if (job) {
        job->form.as_text = request->wants_text;
        job->form.would_deny = query->would_deny;
        job->form.is_blind = !request->may_see;
        r = connections_list(request->admin->connections, query, &events, request, &job->listing);
    }
    if (r != 0) {
        mem_free(job);
        refuse(request, r);
        return;
    }
    request->job = job;
    request->cancel = cancel;
    connections_show_begin(&job->form, request->out);
}

static bool asks_would_deny(const struct admin_request *request)
{
    return request->query && strcmp(request->query, "would-deny") == 0;
}

void admin_route_connections(struct admin_request *request)
{
    const struct connections_query query = {.would_deny = asks_would_deny(request)};

    if (request->query && !query.would_deny) {
        admin_answer_error(request, 400, "/connections takes ?would-deny alone");
    } else if (evhttp_request_get_command(request->http) == EVHTTP_REQ_HEAD) {
        admin_answer(request, 200);
    } else {
        list(request, &query);
    }
}

/* There is no way to end all of them. */
void admin_route_close(struct admin_request *request)
{
    if (asks_would_deny(request)) {
        list(request, &(struct connections_query){.would_deny = true, .kill = true});
    } else {
        admin_answer_error(request, 400, "which? /connections?would-deny, or /connections/ID");
    }
}

/* ------------------------------------------------------------------ one */

static void on_looked(void *arg, bool found)
{
    struct admin_request *request = arg;

    if (!found) {
        admin_answer_error(request, 404, "%.*s: there is no such connection",
                           STR_ARG(str_head(request->rest, 64)));
        return;
    }
    if (request->wants_text) {
        (void)fprintf(request->out, "%.*s: killed\n", STR_ARG(request->rest));
    } else {
        json_put_member(request->out, "{", "id", request->rest);
        json_put_member(request->out, ",", "end", STR("killed"));
        (void)fputs("}\n", request->out);
    }
    admin_answer(request, 200);
}

static void cancel_kill(struct admin_request *request)
{
    connections_cancel_kill(request->job);
    admin_answer(request, 503);
}

void admin_route_kill(struct admin_request *request)
{
    struct connections_search *search;

    if (connections_kill(request->admin->connections, request->rest, on_looked, request, &search) !=
        0) {
        refuse(request, -ENOMEM);
        return;
    }
    request->job = search;
    request->cancel = cancel_kill;
}
