// SPDX-License-Identifier: MIT
#include "policy/auth.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/list.h"
#include "base/mem.h"
#include "base/text.h"
#include "conf/conf.h"
#include "io/loop.h"
#include "io/mailbox.h"
#include "log/log.h"
#include "policy/auth_basic.h"
#include "policy/auth_cache.h"
#include "policy/auth_checks.h"
#include "policy/auth_failures.h"
#include "policy/auth_pool.h"
#include "policy/auth_users.h"

#define LOOK_EVERY_MS 1000
#define STOP_MS 1000 /* for a check that runs when the program ends */

struct auth {
    struct auth_printer printer;
    struct auth_failures *failures; /* owned */
    struct auth_pool *pool;         /* owned */
    struct auth_checks *checks;     /* owned */
    bool is_abandoned;              /* a thread that hangs still uses all this */
    uint64_t wait_ms;               /* set once */

    pthread_mutex_t lock;
    struct auth_users *users; /* shared ref; under lock, as looked and cache_ms */
    struct file_stamp looked; /* of the users file as it was last read, well or badly */
    uint64_t cache_ms;
    _Atomic uint64_t generation; /* counts users; written under lock */

    _Atomic uint64_t next_look_ms;
};

struct auth_desk {
    struct auth *auth;        /* borrowed */
    struct loop *loop;        /* borrowed */
    struct mailbox *mailbox;  /* owned: results of checks */
    struct auth_users *users; /* shared ref */
    uint64_t generation;      /* of users */
    struct auth_cache cache;
    struct list queries; /* owned */
};

struct auth_query {
    struct auth_check check;
    struct list node;
    struct auth_desk *desk;   /* borrowed */
    struct auth_users *users; /* shared ref */
    const struct auth_user *user;
    struct auth_print print;
    struct deadline deadline;
    const struct auth_events *events;
    void *arg;
    bool is_cancelled;
};

/* ------------------------------------------------------------------ wrong passwords */

static bool may_try(void *arg, const struct addr *client)
{
    struct auth *auth = arg;

    return auth_failures_wait_ms(auth->failures, client, clock_mono_ms()) == 0;
}

/* The line that a filter for log files reads: who tried, and as whom. */
static void on_wrong(void *arg, const struct addr *client, struct str name, bool is_known)
{
    struct auth *auth = arg;
    uint64_t wait_ms = auth_failures_add(auth->failures, client, clock_mono_ms());
    char client_buf[ADDR_TEXT_MAX];
    struct text client_text = TEXT_OVER(client_buf);
    const char *why = is_known ? "wrong password" : "no such user";
    struct log_field fields[] = {LOG_TEXT("client", STR("")), LOG_TEXT("user", name)};

    addr_put(&client_text, client);
    fields[0].text = text_str(&client_text);
    if (wait_ms > 0) {
        log_fields(LOG_WARNING, "auth", fields, ARRAY_LEN(fields),
                   "%s; too many from this client, which may try again in %llu s", why,
                   (unsigned long long)((wait_ms + 999) / 1000));
    } else {
        log_fields(LOG_WARNING, "auth", fields, ARRAY_LEN(fields), "%s", why);
    }
}

static void on_failed(void *arg, int error)
{
    (void)arg;
    log_event(LOG_ERROR, "auth", "a password cannot be checked (errno %d)", -error);
}

static const struct auth_checks_events checks_events = {
    .may_try = may_try,
    .wrong = on_wrong,
    .failed = on_failed,
};

/* ------------------------------------------------------------------ users */

/* users is given. lock is held. */
static void install(struct auth *auth, struct auth_users *users)
{
    auth_users_unref(auth->users);
    auth->users = users;
    auth->looked = *auth_users_stamp(users);
    auth_checks_renew(auth->checks, users, auth->cache_ms);
    atomic_fetch_add_explicit(&auth->generation, 1, memory_order_release);
}

static void tell_bad_file(const struct conf_messages *messages, const char *path)
{
    for (size_t i = 0; i < messages->count; i++) {
        char line[1024];

        conf_message_format(&messages->items[i], line, sizeof(line));
        log_event(LOG_WARNING, "users", "%s", line);
    }
    log_event(LOG_WARNING, "users", "%s has changed and cannot be used: the users read before stay",
              path);
}

/* What came of reading the file again, in place of users, whom it followed. */
static void take_read(struct auth *auth, const struct auth_users *users, struct auth_users *read,
                      int r, const struct file_stamp *stamp, const struct conf_messages *messages)
{
    const char *path = auth_users_path(users);

    (void)pthread_mutex_lock(&auth->lock);
    if (auth->users != users) {
        auth_users_unref(read); /* a reload was faster */
    } else if (r == 0) {
        install(auth, read);
        log_event(LOG_NOTICE, "users", "%s has changed: %zu users", path, auth_users_count(read));
    } else if (r != -ENOMEM) { /* that is tried again */
        auth->looked = *stamp;
        tell_bad_file(messages, path);
    }
    (void)pthread_mutex_unlock(&auth->lock);
}

/* Reads the file, which has the stamp, again. False when it was written meanwhile: what was read
 * may be half of it, and does not count. */
static bool read_again(struct auth *auth, const struct auth_users *users,
                       const struct file_stamp *stamp)
{
    const char *path = auth_users_path(users);
    const struct conf_origin origin = {.file = path};
    struct conf_messages messages = {0};
    struct auth_users *read = NULL;
    int r = auth_users_load(path, origin, &messages, &read);
    struct file_stamp now = file_look(path);
    bool is_whole = file_stamp_eq(&now, stamp);

    if (is_whole) {
        take_read(auth, users, read, r, stamp, &messages);
    } else {
        auth_users_unref(read);
    }
    conf_messages_deinit(&messages);
    return is_whole;
}

/* Whoever comes first in a second looks at the file, and reads it when it is another: who was
 * struck from it is not let in once more. A file that is just being written is left alone. */
static void look_if_due(struct auth *auth, uint64_t now_ms)
{
    uint64_t due_ms = atomic_load_explicit(&auth->next_look_ms, memory_order_relaxed);
    struct auth_users *users;
    struct file_stamp looked;
    struct file_stamp stamp;

    if (now_ms < due_ms ||
        !atomic_compare_exchange_strong(&auth->next_look_ms, &due_ms, now_ms + LOOK_EVERY_MS)) {
        return;
    }
    (void)pthread_mutex_lock(&auth->lock);
    users = auth_users_ref(auth->users);
    looked = auth->looked;
    (void)pthread_mutex_unlock(&auth->lock);
    stamp = file_look(auth_users_path(users));
    if (!file_stamp_eq(&stamp, &looked) &&
        (file_stamp_is_fresh(&stamp) || !read_again(auth, users, &stamp))) {
        atomic_store_explicit(&auth->next_look_ms, now_ms + FILE_FRESH_MS, memory_order_relaxed);
    }
    auth_users_unref(users);
}

/* ------------------------------------------------------------------ what all share */

/* The file has not changed since it was read for those in use: what was learnt of them holds. */
static bool is_in_use(const struct auth *auth, const struct auth_users *users)
{
    return auth->users && strcmp(auth_users_path(auth->users), auth_users_path(users)) == 0 &&
           file_stamp_eq(auth_users_stamp(auth->users), auth_users_stamp(users));
}

int auth_new(const struct auth_options *options, struct auth_users *users, struct auth **ret)
{
    struct auth *auth = mem_zalloc(sizeof(*auth));
    int r;

    if (!auth) {
        return -ENOMEM;
    }
    (void)pthread_mutex_init(&auth->lock, NULL);
    auth->wait_ms = options->wait_ms;
    auth->failures = auth_failures_new();
    r = auth->failures ? auth_printer_init(&auth->printer) : -ENOMEM;
    if (r == 0) {
        r = auth_pool_new(options->threads, &auth->pool);
    }
    if (r == 0) {
        r = auth_checks_new(auth->pool, &checks_events, auth, &auth->checks);
    }
    if (r != 0) {
        auth_free(auth);
        return r;
    }
    auth_renew(auth, options, users);
    *ret = auth;
    return 0;
}

/* The file was read again, well or badly, since the reload has read it: what is in use is newer. */
static bool is_overtaken(const struct auth *auth, const struct auth_users *users,
                         const struct file_stamp *now)
{
    return auth->users && strcmp(auth_users_path(auth->users), auth_users_path(users)) == 0 &&
           file_stamp_eq(now, &auth->looked) && !file_stamp_eq(now, auth_users_stamp(users));
}

void auth_renew(struct auth *auth, const struct auth_options *options, struct auth_users *users)
{
    struct file_stamp now = file_look(auth_users_path(users));
    bool keeps;

    (void)pthread_mutex_lock(&auth->lock);
    keeps = is_in_use(auth, users) || is_overtaken(auth, users, &now);
    if (!keeps || auth->cache_ms != options->cache_ms) {
        struct file_stamp looked = auth->looked;

        auth->cache_ms = options->cache_ms;
        install(auth, auth_users_ref(keeps ? auth->users : users));
        auth->looked = keeps ? looked : auth->looked;
        /* The file may have changed since the reload read it. */
        atomic_store_explicit(&auth->next_look_ms, 0, memory_order_relaxed);
    }
    auth_failures_set(auth->failures, options->failures, options->failures_ms);
    (void)pthread_mutex_unlock(&auth->lock);
}

void auth_stop(struct auth *auth)
{
    auth_checks_stop(auth->checks);
    auth->is_abandoned = !auth_pool_stop(auth->pool, STOP_MS);
}

void auth_free(struct auth *auth)
{
    if (!auth || auth->is_abandoned) {
        return;
    }
    auth_checks_free(auth->checks);
    auth_pool_free(auth->pool);
    auth_failures_free(auth->failures);
    auth_users_unref(auth->users);
    auth_printer_deinit(&auth->printer);
    (void)pthread_mutex_destroy(&auth->lock);
    mem_free(auth);
}

/* ------------------------------------------------------------------ a worker's side */

/* The users of now; with others, all that was remembered is void. */
static void follow_users(struct auth_desk *desk)
{
    struct auth *auth = desk->auth;

    if (atomic_load_explicit(&auth->generation, memory_order_acquire) == desk->generation) {
        return;
    }
    auth_users_unref(desk->users);
    (void)pthread_mutex_lock(&auth->lock);
    desk->users = auth_users_ref(auth->users);
    desk->generation = atomic_load_explicit(&auth->generation, memory_order_relaxed);
    (void)pthread_mutex_unlock(&auth->lock);
    auth_cache_renew(&desk->cache, auth_users_count(desk->users));
}

bool auth_desk_knows(struct auth_desk *desk, struct str user)
{
    look_if_due(desk->auth, loop_now_ms(desk->loop));
    follow_users(desk);
    return auth_users_find(desk->users, user) != NULL;
}

static void remember(struct auth_desk *desk, const struct auth_user *user,
                     const struct auth_print *print, enum auth_check_result result,
                     uint64_t until_ms)
{
    if (until_ms > 0 && result == AUTH_CHECK_RIGHT) {
        auth_cache_put_right(&desk->cache, user->index, print, until_ms);
    } else if (until_ms > 0 && result == AUTH_CHECK_WRONG) {
        auth_cache_put_wrong(&desk->cache, print, until_ms);
    }
}

static struct auth_answer too_many(const struct auth_desk *desk, const struct addr *client)
{
    uint64_t wait_ms = auth_failures_wait_ms(desk->auth->failures, client, loop_now_ms(desk->loop));

    return (struct auth_answer){.outcome = AUTH_TOO_MANY, .retry_after_ms = MAX(wait_ms, 1)};
}

static struct auth_answer answer_of(const struct auth_desk *desk, const struct addr *client,
                                    const struct auth_user *user, enum auth_check_result result)
{
    switch (result) {
    case AUTH_CHECK_RIGHT:
        return (struct auth_answer){.outcome = AUTH_VALID, .user = user->node.key};
    case AUTH_CHECK_WRONG:
        return (struct auth_answer){.outcome = AUTH_WRONG};
    case AUTH_CHECK_SHUT:
        return too_many(desk, client);
    case AUTH_CHECK_FULL:
        return (struct auth_answer){.outcome = AUTH_BUSY};
    case AUTH_CHECK_FAILED:
        break;
    case AUTH_CHECK_PENDING:
        return (struct auth_answer){.outcome = AUTH_PENDING};
    }
    return (struct auth_answer){.outcome = AUTH_FAILED};
}

static void free_query(struct auth_query *query)
{
    deadline_disarm(&query->deadline);
    list_remove(&query->node);
    auth_users_unref(query->users);
    mem_free(query);
}

/* The users have changed while the password was checked: this one has not. */
static bool is_still_right(const struct auth_desk *desk, const struct auth_user *user)
{
    const struct auth_user *now = auth_users_find(desk->users, user->node.key);

    return now && str_eq(now->hash, user->hash);
}

static void on_result(void *arg, struct mail *mail)
{
    struct auth_query *query = CONTAINER_OF(mail, struct auth_query, check.mail);
    struct auth_desk *desk = arg;
    enum auth_check_result result = query->check.result;
    struct auth_answer answer;

    follow_users(desk);
    if (query->users == desk->users) {
        remember(desk, query->user, &query->print, result, query->check.until_ms);
    } else if (result == AUTH_CHECK_RIGHT && !is_still_right(desk, query->user)) {
        result = AUTH_CHECK_WRONG;
    }
    answer = answer_of(desk, &query->check.client, query->user, result);
    if (!query->is_cancelled) {
        query->events->checked(query->arg, &answer);
    }
    free_query(query);
}

/* What comes of the check later is still remembered. */
static void on_overdue(struct deadline *deadline)
{
    struct auth_query *query = CONTAINER_OF(deadline, struct auth_query, deadline);
    const struct auth_answer answer = {.outcome = AUTH_BUSY};
    const struct auth_events *events = query->events;
    void *arg = query->arg;

    auth_cancel(query);
    events->checked(arg, &answer);
}

int auth_desk_new(struct auth *auth, struct loop *loop, struct auth_desk **ret)
{
    struct auth_desk *desk = mem_zalloc(sizeof(*desk));
    int r;

    if (!desk) {
        return -ENOMEM;
    }
    desk->auth = auth;
    desk->loop = loop;
    list_init(&desk->queries);
    auth_cache_init(&desk->cache);
    r = mailbox_new(loop, on_result, desk, &desk->mailbox);
    if (r != 0) {
        mem_free(desk);
        return r;
    }
    *ret = desk;
    return 0;
}

void auth_desk_free(struct auth_desk *desk)
{
    if (!desk) {
        return;
    }
    LIST_FOR_EACH (node, next, &desk->queries) {
        LIST_ITEM(node, struct auth_query, node)->is_cancelled = true;
    }
    mailbox_free(desk->mailbox); /* frees those whose result has come */
    while (!list_empty(&desk->queries)) {
        free_query(LIST_FIRST(&desk->queries, struct auth_query, node));
    }
    auth_users_unref(desk->users);
    auth_cache_deinit(&desk->cache);
    mem_free(desk);
}

/* ------------------------------------------------------------------ asking */

static struct auth_query *new_query(struct auth_desk *desk, const struct auth_question *question,
                                    const struct addr *client, const struct auth_events *events,
                                    void *arg)
{
    struct auth_query *query = mem_zalloc(sizeof(*query));

    if (!query) {
        return NULL;
    }
    query->check.home = desk->mailbox;
    query->check.client = *client;
    query->desk = desk;
    query->users = auth_users_ref(desk->users);
    query->user = question->user;
    query->print = question->print;
    query->events = events;
    query->arg = arg;
    deadline_init(&query->deadline, on_overdue);
    list_push_back(&desk->queries, &query->node);
    return query;
}

/* The pool, or another worker, has to tell. */
static enum auth_check_result
ask_others(struct auth_desk *desk, const struct auth_question *question, const struct addr *client,
           const struct auth_events *events, void *arg, struct auth_query **ret_query)
{
    struct auth_query *query = new_query(desk, question, client, events, arg);
    enum auth_check_result result;

    if (!query) {
        return AUTH_CHECK_FAILED;
    }
    result = auth_checks_ask(desk->auth->checks, question, &query->check);
    if (result == AUTH_CHECK_PENDING) {
        deadline_arm(&query->deadline, desk->loop, desk->auth->wait_ms);
        *ret_query = query;
        return result;
    }
    remember(desk, question->user, &question->print, result, query->check.until_ms);
    free_query(query);
    return result;
}

/* What this worker can tell by itself; AUTH_CHECK_PENDING: nothing. */
static enum auth_check_result recall(struct auth_desk *desk, const struct auth_question *question)
{
    size_t index = question->user ? question->user->index : AUTH_NO_USER;
    uint64_t until_ms;

    switch (auth_cache_find(&desk->cache, index, &question->print, loop_now_ms(desk->loop),
                            &until_ms)) {
    case AUTH_SEEN_RIGHT:
        return AUTH_CHECK_RIGHT;
    case AUTH_SEEN_WRONG:
        return AUTH_CHECK_WRONG;
    case AUTH_UNSEEN:
        break;
    }
    /* Without any user there is nothing to compare with. */
    return auth_users_count(desk->users) > 0 ? AUTH_CHECK_PENDING : AUTH_CHECK_WRONG;
}

static struct auth_answer ask(struct auth_desk *desk, const struct addr *client,
                              const struct auth_credentials *credentials,
                              const struct auth_events *events, void *arg,
                              struct auth_query **ret_query)
{
    struct auth_question question = {
        .users = desk->users,
        .user = auth_users_find(desk->users, credentials->user),
        .name = credentials->user,
        .password = credentials->password,
    };
    enum auth_check_result result;

    auth_printer_make(&desk->auth->printer, question.name, question.password,
                      question.user ? question.user->hash : STR(""), &question.print);
    result = recall(desk, &question);
    if (result == AUTH_CHECK_PENDING) {
        result = ask_others(desk, &question, client, events, arg, ret_query);
    }
    if (result == AUTH_CHECK_WRONG) {
        on_wrong(desk->auth, client, question.name, question.user != NULL);
    }
    return answer_of(desk, client, question.user, result);
}

enum auth_outcome auth_ask(struct auth_desk *desk, const struct addr *client, struct str field,
                           const struct auth_events *events, void *arg, struct auth_answer *ret,
                           struct auth_query **ret_query)
{
    struct auth_credentials credentials;
    uint64_t now_ms = loop_now_ms(desk->loop);

    *ret_query = NULL;
    if (auth_basic_parse(field, &credentials) != 0) {
        *ret = (struct auth_answer){.outcome = AUTH_NONE};
        return ret->outcome;
    }
    look_if_due(desk->auth, now_ms);
    follow_users(desk);
    if (auth_failures_wait_ms(desk->auth->failures, client, now_ms) > 0) {
        *ret = too_many(desk, client);
    } else {
        *ret = ask(desk, client, &credentials, events, arg, ret_query);
    }
    auth_credentials_wipe(&credentials);
    return ret->outcome;
}

void auth_cancel(struct auth_query *query)
{
    if (!query) {
        return;
    }
    query->is_cancelled = true;
    deadline_disarm(&query->deadline);
    if (auth_checks_withdraw(query->desk->auth->checks, &query->check)) {
        free_query(query);
    }
}
