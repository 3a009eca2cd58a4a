// SPDX-License-Identifier: MIT
#include "policy/auth_follow.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "conf/conf.h"
#include "log/log.h"
#include "policy/auth_pool.h"
#include "policy/auth_users.h"

#define LOOK_EVERY_MS 1000

struct auth_follow {
    struct auth_pool *pool; /* borrowed */
    void (*renew)(void *arg, const struct auth_users *users);
    void *arg;

    pthread_mutex_t lock;     /* may be held while a mailbox's is taken, or renew's */
    struct auth_users *users; /* shared ref; under lock, as looked and followers */
    struct file_stamp looked; /* of the file as it was last read, well or badly */
    struct list followers;
    bool is_stopped;
    _Atomic uint64_t generation; /* counts users; written under lock */
    _Atomic uint64_t next_look_ms;

    /* The reading: one at a time, the thread's own from its beginning to its end. */
    atomic_bool is_reading; /* written under lock */
    struct auth_task task;
    struct auth_users *followed; /* shared ref: who were in force when it began */
    struct file_stamp found;
};

/* lock is held. */
static void tell(struct auth_follow *follow, bool by_mail)
{
    while (!list_empty(&follow->followers)) {
        struct auth_follower *follower = LIST_FIRST(&follow->followers, struct auth_follower, node);

        list_remove(&follower->node);
        if (by_mail) {
            mailbox_send(follower->home, &follower->mail);
        }
    }
}

/* ------------------------------------------------------------------ whom all go by */

/* users is given; what is returned is the caller's, to let go of without the lock, which is held.
 */
static struct auth_users *install(struct auth_follow *follow, struct auth_users *users)
{
    struct auth_users *former = follow->users;

    follow->users = users;
    follow->looked = *auth_users_stamp(users);
    follow->renew(follow->arg, users);
    atomic_fetch_add_explicit(&follow->generation, 1, memory_order_release);
    return former;
}

static bool is_same_path(const struct auth_users *a, const struct auth_users *b)
{
    return strcmp(auth_users_path(a), auth_users_path(b)) == 0;
}

/* The file has not changed since it was read for those in use: what was learnt of them holds. */
static bool is_in_use(const struct auth_follow *follow, const struct auth_users *users)
{
    return follow->users && is_same_path(follow->users, users) &&
           file_stamp_eq(auth_users_stamp(follow->users), auth_users_stamp(users));
}

/* The file was read again, well or badly, since the reload has read it: what is in use is newer. */
static bool is_overtaken(const struct auth_follow *follow, const struct auth_users *users,
                         const struct file_stamp *now)
{
    return follow->users && is_same_path(follow->users, users) &&
           file_stamp_eq(now, &follow->looked) && !file_stamp_eq(now, auth_users_stamp(users));
}

void auth_follow_set(struct auth_follow *follow, struct auth_users *users, bool anew)
{
    struct file_stamp now = file_look(auth_users_path(users));
    struct auth_users *former = NULL;
    bool keeps;

    (void)pthread_mutex_lock(&follow->lock);
    keeps = is_in_use(follow, users) || is_overtaken(follow, users, &now);
    if (!keeps || anew) {
        struct file_stamp looked = follow->looked;

        former = install(follow, auth_users_ref(keeps ? follow->users : users));
        follow->looked = keeps ? looked : follow->looked;
        /* The file may have changed since the reload read it. */
        atomic_store_explicit(&follow->next_look_ms, 0, memory_order_relaxed);
    }
    (void)pthread_mutex_unlock(&follow->lock);
    auth_users_unref(former);
}

uint64_t auth_follow_generation(const struct auth_follow *follow)
{
    return atomic_load_explicit(&follow->generation, memory_order_acquire);
}

struct auth_users *auth_follow_users(struct auth_follow *follow, uint64_t *ret_generation)
{
    struct auth_users *users;

    (void)pthread_mutex_lock(&follow->lock);
    users = auth_users_ref(follow->users);
    *ret_generation = atomic_load_explicit(&follow->generation, memory_order_relaxed);
    (void)pthread_mutex_unlock(&follow->lock);
    return users;
}

/* ------------------------------------------------------------------ reading, aside */

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

/* What came of reading the file, read being given. What is returned is to be let go of. lock is
 * held. */
static struct auth_users *take_read(struct auth_follow *follow, struct auth_users *read, int r,
                                    const struct conf_messages *messages)
{
    const char *path = auth_users_path(follow->followed);

    if (follow->users != follow->followed) {
        return read; /* a reload was faster */
    }
    if (r == 0) {
        log_event(LOG_NOTICE, "users", "%s has changed: %zu users", path, auth_users_count(read));
        return install(follow, read);
    }
    if (r != -ENOMEM) { /* that is tried again */
        follow->looked = follow->found;
        tell_bad_file(messages, path);
    }
    return NULL;
}

/* What was written meanwhile may be half of it, and does not count: it is looked at again soon.
 * Whatever came of it, who waits goes by what is in force now. */
static void read_file(struct auth_follow *follow)
{
    struct auth_users *followed = follow->followed;
    const char *path = auth_users_path(followed);
    const struct conf_origin origin = {.file = path};
    struct conf_messages messages = {0};
    struct auth_users *read = NULL;
    int r = auth_users_load(path, origin, &messages, &read);
    struct file_stamp now = file_look(path);

    (void)pthread_mutex_lock(&follow->lock);
    if (file_stamp_eq(&now, &follow->found)) {
        read = take_read(follow, read, r, &messages);
    } else {
        atomic_store_explicit(&follow->next_look_ms, clock_mono_ms() + FILE_FRESH_MS,
                              memory_order_relaxed);
    }
    follow->followed = NULL;
    atomic_store_explicit(&follow->is_reading, false, memory_order_relaxed);
    tell(follow, true);
    (void)pthread_mutex_unlock(&follow->lock);
    auth_users_unref(read);
    auth_users_unref(followed);
    conf_messages_deinit(&messages);
}

static void run_read(struct auth_task *task, struct auth_hasher *hasher)
{
    (void)hasher;
    read_file(CONTAINER_OF(task, struct auth_follow, task));
}

/* users is given: those that found differs from. Without a thread it is read here and now. */
static void begin_reading(struct auth_follow *follow, struct auth_users *users,
                          const struct file_stamp *found)
{
    bool begins;

    (void)pthread_mutex_lock(&follow->lock);
    begins = !follow->followed && follow->users == users;
    if (begins) {
        follow->followed = users;
        follow->found = *found;
        atomic_store_explicit(&follow->is_reading, true, memory_order_relaxed);
    }
    (void)pthread_mutex_unlock(&follow->lock);
    if (!begins) {
        auth_users_unref(users);
    } else if (!auth_pool_submit(follow->pool, &follow->task)) {
        read_file(follow);
    }
}

/* ------------------------------------------------------------------ following */

/* Whoever comes first in a second; a file that is just being written is left alone. */
static void look(struct auth_follow *follow, uint64_t now_ms)
{
    struct auth_users *users;
    struct file_stamp looked;
    struct file_stamp found;

    (void)pthread_mutex_lock(&follow->lock);
    users = auth_users_ref(follow->users);
    looked = follow->looked;
    (void)pthread_mutex_unlock(&follow->lock);
    found = file_look(auth_users_path(users));
    if (file_stamp_eq(&found, &looked)) {
        auth_users_unref(users);
    } else if (file_stamp_is_fresh(&found)) {
        atomic_store_explicit(&follow->next_look_ms, now_ms + FILE_FRESH_MS, memory_order_relaxed);
        auth_users_unref(users);
    } else {
        begin_reading(follow, users, &found);
    }
}

bool auth_follow_look(struct auth_follow *follow, uint64_t now_ms)
{
    uint64_t due_ms = atomic_load_explicit(&follow->next_look_ms, memory_order_relaxed);

    if (now_ms >= due_ms &&
        atomic_compare_exchange_strong(&follow->next_look_ms, &due_ms, now_ms + LOOK_EVERY_MS)) {
        look(follow, now_ms);
    }
    return atomic_load_explicit(&follow->is_reading, memory_order_relaxed);
}

bool auth_follow_wait(struct auth_follow *follow, struct auth_follower *follower)
{
    bool waits;

    (void)pthread_mutex_lock(&follow->lock);
    waits = atomic_load_explicit(&follow->is_reading, memory_order_relaxed) && !follow->is_stopped;
    if (waits) {
        list_init(&follower->node);
        list_push_back(&follow->followers, &follower->node);
    }
    (void)pthread_mutex_unlock(&follow->lock);
    return waits;
}

void auth_follow_leave(struct auth_follow *follow, struct auth_follower *follower)
{
    (void)pthread_mutex_lock(&follow->lock);
    list_remove(&follower->node);
    (void)pthread_mutex_unlock(&follow->lock);
}

/* ------------------------------------------------------------------ beginning and end */

int auth_follow_new(struct auth_pool *pool,
                    void (*renew)(void *arg, const struct auth_users *users), void *arg,
                    struct auth_follow **ret)
{
    struct auth_follow *follow = mem_zalloc(sizeof(*follow));

    if (!follow) {
        return -ENOMEM;
    }
    follow->pool = pool;
    follow->task.run = run_read;
    follow->renew = renew;
    follow->arg = arg;
    list_init(&follow->followers);
    (void)pthread_mutex_init(&follow->lock, NULL);
    *ret = follow;
    return 0;
}

void auth_follow_free(struct auth_follow *follow)
{
    if (follow) {
        auth_users_unref(follow->followed); /* a reading that never began */
        auth_users_unref(follow->users);
        (void)pthread_mutex_destroy(&follow->lock);
        mem_free(follow);
    }
}

void auth_follow_stop(struct auth_follow *follow)
{
    (void)pthread_mutex_lock(&follow->lock);
    follow->is_stopped = true;
    tell(follow, false);
    (void)pthread_mutex_unlock(&follow->lock);
}
