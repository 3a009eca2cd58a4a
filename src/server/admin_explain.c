// SPDX-License-Identifier: MIT

/* GET /explain: the command's question to the snapshot in force, from a query string. */

#include <event2/keyvalq_struct.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "conf/args.h"
#include "conf/conf.h"
#include "policy/auth.h"
#include "policy/snapshot.h"
#include "server/admin_address.h"
#include "server/admin_private.h"
#include "server/explain.h"

#define EXPLAINS_MAX 4
#define USERS_WAIT_MS 5000 /* where a file system does not answer no place is held for good */

struct admin_explain {
    struct admin_request *request;
    struct evkeyvalq params; /* owned: what words borrows */
    struct args_explain words;
    bool colours;
    struct explain_question question;
    struct auth_desk *desk; /* owned; NULL: it is about no user */
    struct auth_wait wait;  /* for the users file to be looked at */
    struct deadline late;   /* of the wait */
    struct task grave;
    struct explain_answer answer;
    struct explain_job *job; /* owned */
};

static const struct {
    const char *name;
    size_t field; /* offset in struct args_explain */
} params[] = {
    {"target", offsetof(struct args_explain, target)},
    {"client", offsetof(struct args_explain, client)},
    {"user", offsetof(struct args_explain, user)},
    {"method", offsetof(struct args_explain, method)},
    {"listener", offsetof(struct args_explain, listener)},
    {"time", offsetof(struct args_explain, time)},
    {"resolve", offsetof(struct args_explain, resolve)},
};

/* False: there is no such parameter, or it stands twice. */
static bool take_param(struct admin_explain *explain, const struct evkeyval *param)
{
    if (strcmp(param->key, "colours") == 0) {
        explain->colours = strcmp(param->value, "on") == 0;
        return true;
    }
    for (size_t i = 0; i < ARRAY_LEN(params); i++) {
        const char **field = (const char **)(void *)((char *)&explain->words + params[i].field);

        if (strcmp(param->key, params[i].name) == 0 && !*field) {
            *field = param->value;
            return true;
        }
    }
    return false;
}

static void bury_explain(struct task *task)
{
    struct admin_explain *explain = CONTAINER_OF(task, struct admin_explain, grave);

    auth_desk_free(explain->desk);
    mem_free(explain);
}

static void explain_free(struct admin_explain *explain)
{
    struct admin *admin = explain->request->admin;

    admin->explain_count--;
    list_remove(&explain->wait.node);
    deadline_disarm(&explain->late);
    explain_end(explain->job);
    evhttp_clear_headers(&explain->params);
    loop_bury(admin->loop, &explain->grave, bury_explain); /* its desk may be calling us */
}

static void refuse(struct admin_explain *explain, unsigned status, const char *text)
{
    struct admin_request *request = explain->request;

    explain_free(explain);
    admin_answer_error(request, status, "%s", text);
}

static void on_done(void *arg)
{
    struct admin_explain *explain = arg;
    struct admin_request *request = explain->request;
    char code[2] = {(char)('0' + explain_status(&explain->answer)), '\0'};

    if (request->wants_text) {
        explain_show(&explain->question, &explain->answer, explain->colours, request->out);
    } else {
        explain_show_json(&explain->question, &explain->answer, request->out);
    }
    admin_set_field(request, ADMIN_EXIT_FIELD, code);
    explain_free(explain);
    admin_answer(request, 200);
}

static void on_cancel(struct admin_request *request)
{
    refuse(request->job, 503, "the daemon ends");
}

static void begin(struct admin_explain *explain)
{
    const struct admin_request *request = explain->request;
    char error[512];

    if (explain_begin(&explain->question, request->view->snapshot, request->admin->loop, on_done,
                      explain, &explain->answer, &explain->job, error, sizeof(error)) != 0) {
        refuse(explain, 503, error);
    }
}

/* ---- Who there are: by the users file as it is followed, not as it was loaded ---- */

static void look_user_up(struct admin_explain *explain)
{
    explain->question.is_unknown_user = !auth_desk_knows(explain->desk, explain->question.user);
    begin(explain);
}

static void on_users(struct auth_wait *wait)
{
    struct admin_explain *explain = CONTAINER_OF(wait, struct admin_explain, wait);

    deadline_disarm(&explain->late);
    look_user_up(explain);
}

static void on_late(struct deadline *deadline)
{
    struct admin_explain *explain = CONTAINER_OF(deadline, struct admin_explain, late);
    char error[512];

    (void)snprintf(error, sizeof(error), "the users file is still being read: %s",
                   explain->request->view->snapshot->conf->auth.users_path);
    refuse(explain, 503, error);
}

/* Its users are asked about a user. */
static void find_user(struct admin_explain *explain)
{
    const struct admin_request *request = explain->request;
    int r = auth_desk_new(request->view->auth, request->admin->loop, &explain->desk);

    if (r != 0) {
        refuse(explain, 503, strerror(-r));
    } else if (!auth_desk_must_wait(explain->desk, &explain->wait)) {
        look_user_up(explain);
    } else {
        deadline_arm(&explain->late, request->admin->loop, USERS_WAIT_MS);
    }
}

static void ask(struct admin_explain *explain)
{
    struct admin_request *request = explain->request;
    const struct snapshot *snapshot = request->view->snapshot;
    char error[512];
    int r = explain_read(&explain->words, snapshot, &explain->question, error, sizeof(error));

    if (r == EXPLAIN_WRONG) {
        refuse(explain, 400, error);
        return;
    }
    if (r < 0) {
        refuse(explain, 503, strerror(-r));
        return;
    }
    request->job = explain;
    request->cancel = on_cancel;
    if (snapshot->users && explain->question.user.len > 0) {
        find_user(explain);
    } else {
        begin(explain);
    }
}

void admin_route_explain(struct admin_request *request)
{
    struct admin_explain *explain;
    const struct evkeyval *param;

    if (request->admin->explain_count == EXPLAINS_MAX) {
        admin_set_field(request, "Retry-After", "1");
        admin_answer_error(request, 503, "other questions are under way");
        return;
    }
    explain = mem_zalloc(sizeof(*explain));
    if (!explain) {
        admin_answer_error(request, 503, "out of memory");
        return;
    }
    explain->request = request;
    list_init(&explain->wait.node);
    explain->wait.ready = on_users;
    deadline_init(&explain->late, on_late);
    request->admin->explain_count++;
    if (request->query && evhttp_parse_query_str(request->query, &explain->params) != 0) {
        refuse(explain, 400, "the query is not NAME=VALUE&...");
        return;
    }
    for (param = explain->params.tqh_first; param; param = param->next.tqe_next) {
        if (!take_param(explain, param)) {
            refuse(explain, 400, "a parameter is unknown, or stands twice");
            return;
        }
    }
    if (explain->words.target) {
        ask(explain);
    } else {
        refuse(explain, 400, "target is missing: a URL or HOST:PORT");
    }
}
