// SPDX-License-Identifier: MIT
#include "server/reload.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/aside.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/text.h"
#include "conf/conf_diff.h"
#include "log/log.h"
#include "policy/policy.h"
#include "policy/snapshot.h"
#include "server/methods.h"
#include "server/server_private.h"

#define STOP_MS 2000 /* for a reload that is being read when the program ends */
#define SLOW_MS 5000 /* a reload that takes longer is told of */

/* ------------------------------------------------------------------ the end */

static void answer_all(struct list *requests, const struct reload_outcome *outcome)
{
    while (!list_empty(requests)) {
        struct reload_request *request = LIST_FIRST(requests, struct reload_request, node);

        list_remove(&request->node);
        request->done(request, outcome);
    }
}

/* A last reference costs time. */
static void run_drop(struct aside_task *task)
{
    struct reload *r = CONTAINER_OF(task, struct reload, drop);

    snapshot_unref(r->dropped);
    r->dropped = NULL;
}

/* One in each reload. */
static void drop(struct server *s, struct snapshot *snapshot)
{
    if (snapshot) {
        s->reload.dropped = snapshot;
        s->reload.drop.run = run_drop;
        aside_do(s->aside, &s->reload.drop);
    }
}

/* Tells who waits, who may ask again, and goes on with who has asked meanwhile. */
static void finish(struct server *s, enum reload_result result)
{
    struct reload *r = &s->reload;
    const struct reload_outcome outcome = {
        .result = result,
        .messages = &r->messages,
        .generation = s->snapshot->generation,
        .changes = r->changes,
        .needs_restart = r->needs_restart,
    };

    deadline_disarm(&r->slow);
    reload_progress_step(&r->progress, RELOAD_NOT_UNDER_WAY);
    drop(s, r->loaded);
    r->loaded = NULL;
    answer_all(&r->served, &outcome);
    conf_messages_deinit(&r->messages);
    r->messages = (struct conf_messages){0};
    r->phase = RELOAD_IDLE;
    if (r->again) {
        loop_defer(s->loop, &r->next);
    }
}

static void log_messages(const struct conf_messages *messages)
{
    for (size_t i = 0; i < messages->count; i++) {
        const struct conf_message *message = &messages->items[i];
        char line[CONF_MESSAGE_LINE_MAX];

        conf_message_format(message, line, sizeof(line));
        log_event(message->is_warning ? LOG_WARNING : LOG_ERROR, "configuration", "%s", line);
    }
}

static void refuse(struct server *s)
{
    const struct reload *r = &s->reload;
    struct log_field fields[] = {
        LOG_NUM("errors", r->messages.error_count),
        LOG_NUM("generation", s->snapshot->generation),
    };

    log_messages(&r->messages);
    log_fields(LOG_ERROR, "reload", fields, ARRAY_LEN(fields),
               "refused: the configuration is wrong, and what was in force stays");
    finish(s, RELOAD_REFUSED);
}

static void fail(struct server *s, int error)
{
    struct log_field field = LOG_NUM("generation", s->snapshot->generation);

    log_fields(LOG_ERROR, "reload", &field, 1, "failed, and what was in force stays: %s",
               strerror(-error));
    finish(s, RELOAD_FAILED);
}

/* ------------------------------------------------------------------ in force */

static void tell_change(void *arg, const struct conf_change *change)
{
    struct server *s = arg;
    struct log_field fields[] = {
        LOG_TEXT("key", change->name),
        LOG_TEXT("before", change->before),
        LOG_TEXT("after", change->after),
    };

    s->reload.changes += !change->is_old;
    s->reload.needs_restart |= change->needs_restart;
    log_fields(change->needs_restart ? LOG_WARNING : LOG_NOTICE, "reload", fields,
               ARRAY_LEN(fields), "%s",
               change->needs_restart ? "a restart is needed: what was in force stays until then"
                                     : "changed");
}

static void tell_list(void *arg, const char *path, size_t before, size_t after)
{
    struct server *s = arg;
    struct log_field fields[] = {
        LOG_TEXT("list", str_of(path)),
        LOG_NUM("before", before),
        LOG_NUM("after", after),
    };

    s->reload.changes++;
    log_fields(LOG_NOTICE, "reload", fields, ARRAY_LEN(fields), "%s",
               after > 0 ? "names were read anew" : "no names of this list any more");
}

static void announce_listeners(const struct server *s)
{
    LIST_FOR_EACH (node, next, &s->reload.plan.opened) {
        const struct socket_set *set = LIST_ITEM(node, struct socket_set, node);

        if (set == s->reload.plan.admin) {
            server_announce_admin(set);
        }

        for (size_t i = 0; i < s->reload.plan.door_count; i++) {
            if (s->reload.plan.doors[i].set == set) {
                server_announce_door(&s->reload.plan.doors[i]);
            }
        }
    }
}

static void announce_leaving(const struct server *s)
{
    LIST_FOR_EACH (node, next, &s->sockets.leaving) {
        char name[256];
        struct log_field field = LOG_TEXT("address", STR(""));

        const struct socket_set *set = LIST_ITEM(node, struct socket_set, node);

        socket_set_name(set, name, sizeof(name));
        field.text = str_of(name);
        log_fields(LOG_NOTICE, set->is_admin ? "admin" : "listener", &field, 1,
                   "no longer listening");
    }
}

static void drop_changes(struct worker_change **changes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        server_drop_change(changes[i]);
    }
    mem_free((void *)changes);
}

/* One for each worker, so that nothing can fail once it is in force. */
static struct worker_change **new_changes(struct server *s)
{
    struct reload *r = &s->reload;
    size_t count = s->shop.worker_count;
    struct worker_change **changes = mem_zalloc(count * sizeof(struct worker_change *));

    for (size_t i = 0; changes && i < count; i++) {
        changes[i] = server_new_change(s, r->loaded, r->plan.doors, r->plan.door_count);
        if (!changes[i]) {
            drop_changes(changes, i);
            return NULL;
        }
    }
    return changes;
}

static void await_workers(struct server *s, enum reload_phase phase)
{
    s->reload.phase = phase;
    atomic_store(&s->reload.missing, s->shop.worker_count);
}

static void decide(struct server *s, bool commit)
{
    for (size_t i = 0; i < s->shop.worker_count; i++) {
        worker_decide(s->shop.workers[i], commit);
    }
}

/* From here on there is no way back. */
static void put_in_force(struct server *s)
{
    struct reload *r = &s->reload;

    r->changes = 0;
    r->needs_restart = false;
    r->replaced = s->snapshot;
    s->snapshot = r->loaded;
    r->loaded = NULL;
    conf_diff(s->started, r->replaced->conf, s->snapshot->conf, tell_change, s);
    policy_diff_lists(r->replaced->policy, s->snapshot->policy, tell_list, s);
    announce_listeners(s);
    sockets_commit(&s->sockets, &r->plan, s->snapshot->conf);
    announce_leaving(s);
    admin_record_write(&s->admin_record, s->sockets.admin);
    server_apply(s, s->snapshot);
    await_workers(s, RELOAD_INSTALLING);
    if (s->admin) {
        atomic_fetch_add(&r->missing, 1);
        admin_listen(s->admin, s->sockets.admin, reload_worker_changed, s);
    }
    decide(s, true);
}

static void drop_view(struct reload *r)
{
    admin_view_free(r->view);
    r->view = NULL;
}

/* Once it was on its thread stays, listening or not. */
static int prepare_admin(struct server *s)
{
    struct reload *r = &s->reload;
    int error = r->plan.admin && !s->admin ? server_start_admin(s, NULL) : 0;

    if (error == 0 && s->admin) {
        r->view = admin_view_new(r->loaded, r->plan.doors, r->plan.door_count);
        error = r->view ? 0 : -ENOMEM;
    }
    return error;
}

/* All that can fail, the main thread's part, then the workers'. */
static int prepare(struct server *s)
{
    struct reload *r = &s->reload;
    struct worker_change **changes = NULL;
    int error = server_settle(s, r->loaded, &r->plan);

    if (error == 0) {
        error = prepare_admin(s);
    }
    if (error == 0) {
        error = server_need_auth(s, r->loaded);
    }
    if (error == 0) {
        changes = new_changes(s);
        error = changes ? 0 : -ENOMEM;
    }
    if (error != 0) {
        drop_view(r);
        sockets_give_up(&s->sockets, &r->plan);
        return error;
    }
    await_workers(s, RELOAD_PREPARING);
    atomic_store(&s->shop.change_error, 0);
    for (size_t i = 0; i < s->shop.worker_count; i++) {
        worker_prepare(s->shop.workers[i], changes[i]);
    }
    mem_free((void *)changes);
    return 0;
}

static void on_prepared(struct server *s)
{
    s->reload.error = atomic_load(&s->shop.change_error);
    if (s->reload.error == 0 && s->phase == SERVER_SERVING) {
        put_in_force(s);
    } else {
        await_workers(s, RELOAD_UNDOING);
        decide(s, false);
    }
}

static void on_undone(struct server *s)
{
    drop_view(&s->reload);
    sockets_give_up(&s->sockets, &s->reload.plan);
    if (s->phase != SERVER_SERVING) {
        finish(s, RELOAD_IGNORED);
    } else {
        fail(s, s->reload.error);
    }
}

void reload_worker_changed(void *arg)
{
    struct server *s = arg;

    if (atomic_fetch_sub(&s->reload.missing, 1) == 1) {
        mailbox_send(s->reload.mailbox, &s->reload.acked_mail);
    }
}

static void on_installed(struct server *s)
{
    struct reload *r = &s->reload;
    struct log_field fields[] = {
        LOG_NUM("generation", s->snapshot->generation),
        LOG_NUM("changes", r->changes),
    };

    sockets_sweep(&s->sockets);
    if (r->view) {
        admin_show(s->admin, r->view);
        r->view = NULL;
    }
    drop(s, r->replaced);
    r->replaced = NULL;
    log_messages(&r->messages);
    log_fields(LOG_NOTICE, "reload", fields, ARRAY_LEN(fields),
               "the new configuration is in force");
    finish(s, RELOAD_DONE);
}

/* ------------------------------------------------------------------ one that takes long */

/* A long list may rightly take so long; a file system that does not answer would keep the reload
 * for good. */
static void on_slow(struct deadline *deadline)
{
    struct reload *r = CONTAINER_OF(deadline, struct reload, slow);
    struct reload_sight sight;
    struct log_field field = LOG_TEXT("file", STR(""));

    reload_progress_see(&r->progress, &sight);
    field.text = str_of(sight.file);
    if (sight.step == RELOAD_READS) {
        log_fields(LOG_WARNING, "reload", &field, field.text.len > 0 ? 1 : 0,
                   "takes more than %d s and still reads: what was in force stays so long",
                   SLOW_MS / 1000);
    } else {
        log_event(LOG_WARNING, "reload", "takes more than %d s: not every worker has changed over",
                  SLOW_MS / 1000);
    }
}

static void on_reading(void *arg, const char *path)
{
    reload_progress_file(arg, path);
}

/* ------------------------------------------------------------------ reading */

static void load(struct aside_task *task)
{
    struct server *s = CONTAINER_OF(task, struct server, reload.load);
    struct reload *r = &s->reload;
    struct conf_load_options source = *s->source;

    r->messages.reading = on_reading;
    r->messages.arg = &r->progress;
    /* A file that was there is missed when it is gone: who has moved it away, or lost it, does not
     * mean the built-in rules, which let in whom it kept out. */
    if (!source.path) {
        source.path = s->snapshot->conf->source;
    }
    r->error = snapshot_load(&source, s->snapshot, &r->loaded, &r->messages);
    if (r->error == 0) {
        methods_check(r->loaded->policy, &r->messages);
    }
    mailbox_send(r->mailbox, &r->loaded_mail);
}

static void on_loaded(struct server *s)
{
    struct reload *r = &s->reload;
    char text[SERVER_MESSAGE_MAX];
    int error;

    reload_progress_step(&r->progress, RELOAD_CHANGES);
    if (s->phase != SERVER_SERVING) {
        finish(s, RELOAD_IGNORED);
    } else if (r->error < 0) {
        fail(s, r->error);
    } else if (r->error > 0) {
        refuse(s);
    } else if (sockets_plan(&s->sockets, r->loaded->conf, &r->plan, text, sizeof(text)) != 0) {
        conf_messages_add(&r->messages, false, r->plan.origin, "%s", text);
        conf_messages_sort(&r->messages);
        refuse(s);
    } else {
        error = prepare(s);
        if (error != 0) {
            fail(s, error);
        }
    }
}

static void begin(struct server *s)
{
    struct reload *r = &s->reload;
    int error;

    r->again = false;
    r->phase = RELOAD_LOADING;
    list_splice_back(&r->served, &r->waiting);
    if (s->phase != SERVER_SERVING) {
        log_event(LOG_NOTICE, "reload", "ignored during the drain");
        finish(s, RELOAD_IGNORED);
        return;
    }
    error = aside_start(s->aside);
    if (error != 0) {
        fail(s, error);
        return;
    }
    reload_progress_step(&r->progress, RELOAD_READS);
    deadline_arm(&r->slow, s->loop, SLOW_MS);
    r->load.run = load;
    aside_do(s->aside, &r->load);
}

static void on_next(struct task *task)
{
    struct server *s = CONTAINER_OF(task, struct server, reload.next);

    if (s->reload.again && s->reload.phase == RELOAD_IDLE) {
        begin(s);
    }
}

static void on_mail(void *arg, struct mail *mail)
{
    struct server *s = arg;

    (void)mail;
    switch (s->reload.phase) {
    case RELOAD_LOADING:
        on_loaded(s);
        break;
    case RELOAD_PREPARING:
        on_prepared(s);
        break;
    case RELOAD_UNDOING:
        on_undone(s);
        break;
    case RELOAD_INSTALLING:
        on_installed(s);
        break;
    case RELOAD_IDLE:
    case RELOAD_CLOSED:
        break; /* the daemon has ended meanwhile */
    }
}

void reload_ask(struct server *s, const char *why, struct reload_request *request)
{
    struct reload *r = &s->reload;
    struct log_field field = LOG_TEXT("by", str_of(why));

    log_fields(LOG_NOTICE, "reload", &field, 1, "asked for");
    if (request) {
        list_init(&request->node);
        list_push_back(&r->waiting, &request->node);
    }
    r->again = true;
    if (r->phase == RELOAD_IDLE) {
        begin(s);
    }
}

int reload_init(struct server *s)
{
    task_init(&s->reload.next, on_next);
    deadline_init(&s->reload.slow, on_slow);
    reload_progress_init(&s->reload.progress);
    list_init(&s->reload.served);
    list_init(&s->reload.waiting);
    return mailbox_new(s->loop, on_mail, s, &s->reload.mailbox);
}

static void leave_behind(const struct server *s)
{
    const struct conf *conf = s->snapshot->conf;

    log_event(LOG_WARNING, "stop",
              "a reload of %s still waits for a file that it names, or a name service; it is left "
              "behind",
              conf->source ? conf->source : CONF_DEFAULT_PATH);
}

bool reload_deinit(struct server *s)
{
    struct reload *r = &s->reload;
    const struct reload_outcome outcome = {.result = RELOAD_IGNORED};
    bool is_over = aside_finish(s->aside, STOP_MS);

    if (r->phase == RELOAD_PREPARING || r->phase == RELOAD_UNDOING) {
        sockets_give_up(&s->sockets, &r->plan);
    }
    r->phase = RELOAD_CLOSED;
    if (!r->mailbox) {
        return is_over;
    }
    deadline_disarm(&r->slow);
    answer_all(&r->served, &outcome);
    answer_all(&r->waiting, &outcome);
    if (!is_over) {
        leave_behind(s);
        return false;
    }
    snapshot_unref(r->loaded);
    snapshot_unref(r->replaced);
    admin_view_free(r->view);
    conf_messages_deinit(&r->messages);
    return true;
}
