// SPDX-License-Identifier: MIT

/* POST /reload: asks the main thread, and answers when every worker goes by the new configuration,
 * or when it is refused. GET /reload: how far it is. */

#include <stdlib.h>

#include "base/mem.h"
#include "log/escape.h"
#include "policy/snapshot.h"
#include "server/admin_private.h"
#include "server/json.h"
#include "server/reload_progress.h"
#include "server/server_private.h"

/* A file system that does not answer may keep them for good: others are still to be served. */
#define WAITING_MAX (ADMIN_CONNECTIONS_MAX / 2)

/* Goes to the main thread and comes back. */
struct admin_reload {
    struct admin_mail mail;
    struct reload_request request;
    struct admin *admin;
    struct admin_request *asker; /* for the admin thread alone */
    enum reload_result result;
    uint64_t generation;
    size_t changes;
    bool needs_restart;
    char *messages; /* owned, malloc(3)'s: lines that begin with 'E' or 'W'; NULL: none, or no
                       memory */
    size_t messages_len;
};

/* ------------------------------------------------------------------ the answer */

#define ANY_KIND '\0'

/* Calls put for each message of that kind. */
static size_t put_messages(const struct admin_reload *reload, char kind, FILE *out,
                           void (*put)(FILE *out, size_t index, struct str line))
{
    struct str rest = str_make(reload->messages, reload->messages ? reload->messages_len : 0);
    size_t count = 0;

    while (rest.len > 0) {
        size_t end = str_find(rest, '\n');

        if (kind == ANY_KIND || *rest.ptr == kind) {
            put(out, count++, str_from(str_head(rest, end), 1));
        }
        rest = str_from(rest, end + 1);
    }
    return count;
}

static void put_line(FILE *out, size_t index, struct str line)
{
    (void)index;
    (void)fprintf(out, "%.*s\n", STR_ARG(line));
}

static void put_item(FILE *out, size_t index, struct str line)
{
    (void)fputs(index > 0 ? "," : "", out);
    json_put_string(out, line);
}

static const struct {
    unsigned status;
    const char *word, *text;
} results[] = {
    [RELOAD_DONE] = {200, "done", NULL},
    [RELOAD_REFUSED] = {422, "refused", "the reload is refused, and what was in force stays"},
    [RELOAD_FAILED] = {500, "failed",
                       "the reload failed, and what was in force stays; the log says why"},
    [RELOAD_IGNORED] = {409, "ignored", "the daemon drains: it reloads nothing any more"},
};

static void put_text(const struct admin_reload *reload, FILE *out)
{
    (void)put_messages(reload, ANY_KIND, out, put_line);
    if (reload->result == RELOAD_DONE) {
        (void)fprintf(
            out, "generation %llu is in force, %zu %s%s\n", (unsigned long long)reload->generation,
            reload->changes, reload->changes == 1 ? "change" : "changes",
            reload->needs_restart ? "; some wait for a restart (the log names them)" : "");
    } else if (results[reload->result].text) {
        (void)fprintf(out, "%s\n", results[reload->result].text);
    }
}

static void put_json(const struct admin_reload *reload, FILE *out)
{
    json_put_member(out, "{", "result", str_of(results[reload->result].word));
    json_put_number(out, ",", "generation", reload->generation);
    json_put_number(out, ",", "changes", reload->changes);
    json_put_bool(out, ",", "needs_restart", reload->needs_restart);
    (void)fputs(",\"errors\":[", out);
    (void)put_messages(reload, 'E', out, put_item);
    (void)fputs("],\"warnings\":[", out);
    (void)put_messages(reload, 'W', out, put_item);
    (void)fputs("]}\n", out);
}

/* Back on the admin thread. */
static void read_outcome(struct admin *admin, struct admin_mail *mail)
{
    struct admin_reload *reload = CONTAINER_OF(mail, struct admin_reload, mail);
    struct admin_request *request = reload->asker;

    admin->reload_count--;
    if (request->wants_text) {
        put_text(reload, request->out);
    } else {
        put_json(reload, request->out);
    }
    admin_answer(request, results[reload->result].status);
    free(reload->messages);
    mem_free(reload);
}

/* ------------------------------------------------------------------ on the main thread */

static void copy_messages(struct admin_reload *reload, const struct conf_messages *messages)
{
    FILE *out = messages && messages->count > 0
                    ? open_memstream(&reload->messages, &reload->messages_len)
                    : NULL;

    for (size_t i = 0; out && i < messages->count; i++) {
        char line[CONF_MESSAGE_LINE_MAX];

        conf_message_format(&messages->items[i], line, sizeof(line));
        (void)fprintf(out, "%c%s\n", messages->items[i].is_warning ? 'W' : 'E', line);
    }
    if (out) {
        (void)fclose(out);
    }
}

static void on_done(struct reload_request *request, const struct reload_outcome *outcome)
{
    struct admin_reload *reload = CONTAINER_OF(request, struct admin_reload, request);

    reload->result = outcome->result;
    reload->generation = outcome->generation;
    reload->changes = outcome->result == RELOAD_DONE ? outcome->changes : 0;
    reload->needs_restart = outcome->result == RELOAD_DONE && outcome->needs_restart;
    copy_messages(reload, outcome->messages);
    reload->mail.read = read_outcome;
    admin_tell(reload->admin, &reload->mail);
}

static void read_question(struct admin *admin, struct admin_mail *mail)
{
    struct admin_reload *reload = CONTAINER_OF(mail, struct admin_reload, mail);
    struct server *s = admin->server;

    if (s->phase == SERVER_SERVING && s->reload.phase != RELOAD_CLOSED) {
        reload_ask(s, "admin", &reload->request);
    } else {
        const struct reload_outcome outcome = {.result = RELOAD_IGNORED,
                                               .generation = s->snapshot->generation};

        on_done(&reload->request, &outcome);
    }
}

/* ------------------------------------------------------------------ the question */

void admin_route_reload(struct admin_request *request)
{
    struct admin_reload *reload;

    if (request->admin->reload_count == WAITING_MAX) {
        admin_answer_error(request, 503, "%d others wait for a reload already", WAITING_MAX);
        return;
    }
    reload = mem_zalloc(sizeof(*reload));
    if (!reload) {
        admin_answer_error(request, 503, "out of memory");
        return;
    }
    *reload = (struct admin_reload){
        .mail.read = read_question,
        .request.done = on_done,
        .admin = request->admin,
        .asker = request,
    };
    request->admin->reload_count++;
    admin_ask(request->admin, &reload->mail);
}

/* ------------------------------------------------------------------ how far it is */

static const char *const step_words[] = {
    [RELOAD_NOT_UNDER_WAY] = "idle",
    [RELOAD_READS] = "reading",
    [RELOAD_CHANGES] = "changing over",
};

void admin_put_progress_json(FILE *out, const struct reload_sight *sight)
{
    json_put_member(out, "{", "state", str_of(step_words[sight->step]));
    json_put_number(out, ",", "seconds", sight->seconds);
    json_put_member(out, ",", "file", str_of(sight->file));
    (void)fputc('}', out);
}

void admin_put_progress(FILE *out, const struct reload_sight *sight)
{
    char file[RELOAD_FILE_MAX];

    (void)snprintf(file, sizeof(file), "%s", sight->file);
    escape_blank(file);
    (void)fprintf(out, "%s%s%s", step_words[sight->step], *file ? " " : "", file);
    if (sight->step != RELOAD_NOT_UNDER_WAY) {
        (void)fprintf(out, ", for %llu s", (unsigned long long)sight->seconds);
    }
}

void admin_route_progress(struct admin_request *request)
{
    struct reload_sight sight;

    reload_progress_see(request->admin->progress, &sight);
    if (request->wants_text) {
        admin_put_progress(request->out, &sight);
    } else {
        admin_put_progress_json(request->out, &sight);
    }
    (void)fputc('\n', request->out);
    admin_answer(request, 200);
}
