// SPDX-License-Identifier: MIT
#include "server/reload.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/text.h"
#include "conf/conf_diff.h"
#include "log/log.h"
#include "policy/policy.h"
#include "policy/snapshot.h"
#include "server/server_private.h"

#define LINE_MAX_BYTES 1024

static void begin(struct server *s);

/* ------------------------------------------------------------------ the end */

static void answer_all(struct list *requests, const struct reload_outcome *outcome)
{
    while (!list_empty(requests)) {
        struct reload_request *request = LIST_FIRST(requests, struct reload_request, node);

        list_remove(&request->node);
        request->done(request, outcome);
    }
}

/* Tells who waits, and goes on with who has asked meanwhile. */
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

    r->phase = RELOAD_IDLE;
    snapshot_unref(r->loaded);
    r->loaded = NULL;
    answer_all(&r->served, &outcome);
    conf_messages_deinit(&r->messages);
    r->messages = (struct conf_messages){0};
    if (r->again) {
        begin(s);
    }
}

static void log_messages(const struct conf_messages *messages)
{
    for (size_t i = 0; i < messages->count; i++) {
        const struct conf_message *message = &messages->items[i];
        char line[LINE_MAX_BYTES];

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
    log_event(LOG_ERROR, "reload", "failed, and what was in force stays: %s", strerror(-error));
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

    s->reload.changes++;
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
    log_fields(LOG_NOTICE, "reload", fields, ARRAY_LEN(fields), "names were read again");
}

static void announce_listeners(const struct server *s)
{
    LIST_FOR_EACH (node, next, &s->reload.plan.opened) {
        const struct socket_set *set = LIST_ITEM(node, struct socket_set, node);

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

        socket_set_name(LIST_ITEM(node, struct socket_set, node), name, sizeof(name));
        field.text = str_of(name);
        log_fields(LOG_NOTICE, "listener", &field, 1, "no longer listening");
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

/* From here on there is no way back. */
static void put_in_force(struct server *s, struct worker_change **changes)
{
    struct reload *r = &s->reload;

    r->phase = RELOAD_INSTALLING;
    r->changes = 0;
    r->needs_restart = false;
    r->replaced = s->snapshot;
    s->snapshot = r->loaded;
    r->loaded = NULL;
    conf_diff(r->replaced->conf, s->snapshot->conf, tell_change, s);
    policy_diff_lists(r->replaced->policy, s->snapshot->policy, tell_list, s);
    announce_listeners(s);
    sockets_commit(&s->sockets, &r->plan, s->snapshot->conf);
    announce_leaving(s);
    server_apply(s, s->snapshot->conf);
    atomic_store(&r->missing, s->shop.worker_count);
    for (size_t i = 0; i < s->shop.worker_count; i++) {
        changes[i]->auth = s->auth;
        worker_change(s->shop.workers[i], changes[i]);
    }
    mem_free((void *)changes);
}

/* All that can fail, then all that cannot. */
static int install(struct server *s)
{
    struct reload *r = &s->reload;
    struct worker_change **changes = NULL;
    int error = server_settle(s, r->loaded, &r->plan);

    if (error == 0) {
        changes = new_changes(s);
        error = changes ? server_set_auth(s, r->loaded) : -ENOMEM;
    }
    if (error != 0) {
        if (changes) {
            drop_changes(changes, s->shop.worker_count);
        }
        sockets_give_up(&s->sockets, &r->plan);
        return error;
    }
    put_in_force(s, changes);
    return 0;
}

void reload_worker_changed(void *arg)
{
    struct server *s = arg;

    if (atomic_fetch_sub(&s->reload.missing, 1) == 1) {
        mailbox_send(s->reload.mailbox, &s->reload.installed_mail);
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
    snapshot_unref(r->replaced);
    r->replaced = NULL;
    log_messages(&r->messages);
    log_fields(LOG_NOTICE, "reload", fields, ARRAY_LEN(fields),
               "the new configuration is in force");
    finish(s, RELOAD_DONE);
}

/* ------------------------------------------------------------------ reading */

static void *load(void *arg)
{
    struct server *s = arg;
    struct reload *r = &s->reload;

    (void)pthread_setname_np(pthread_self(), "viaduct-reload");
    r->error = snapshot_load(s->source, s->snapshot, &r->loaded, &r->messages);
    mailbox_send(r->mailbox, &r->loaded_mail);
    return NULL;
}

static void on_loaded(struct server *s)
{
    struct reload *r = &s->reload;
    char text[SERVER_MESSAGE_MAX];
    int error;

    (void)pthread_join(r->thread, NULL);
    if (s->phase != SERVER_SERVING) {
        finish(s, RELOAD_IGNORED);
    } else if (r->error < 0) {
        fail(s, r->error);
    } else if (r->error > 0) {
        refuse(s);
    } else if (sockets_plan(&s->sockets, r->loaded->conf, &r->plan, text, sizeof(text)) != 0) {
        conf_messages_add(&r->messages, false, r->plan.origin, "%s", text);
        refuse(s);
    } else {
        error = install(s);
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
    list_splice_back(&r->served, &r->waiting);
    if (s->phase != SERVER_SERVING) {
        log_event(LOG_NOTICE, "reload", "ignored during the drain");
        finish(s, RELOAD_IGNORED);
        return;
    }
    error = pthread_create(&r->thread, NULL, load, s);
    if (error != 0) {
        fail(s, -error);
        return;
    }
    r->phase = RELOAD_LOADING;
}

static void on_mail(void *arg, struct mail *mail)
{
    struct server *s = arg;

    if (s->reload.phase == RELOAD_CLOSED) {
        return;
    }
    if (mail == &s->reload.loaded_mail) {
        on_loaded(s);
    } else {
        on_installed(s);
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
    list_init(&s->reload.served);
    list_init(&s->reload.waiting);
    return mailbox_new(s->loop, on_mail, s, &s->reload.mailbox);
}

void reload_deinit(struct server *s)
{
    struct reload *r = &s->reload;
    const struct reload_outcome outcome = {.result = RELOAD_IGNORED};

    if (r->phase == RELOAD_LOADING) {
        (void)pthread_join(r->thread, NULL);
    }
    r->phase = RELOAD_CLOSED;
    if (!r->mailbox) {
        return;
    }
    answer_all(&r->served, &outcome);
    answer_all(&r->waiting, &outcome);
    snapshot_unref(r->loaded);
    snapshot_unref(r->replaced);
    conf_messages_deinit(&r->messages);
}
