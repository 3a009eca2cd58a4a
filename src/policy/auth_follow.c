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
#define LOOK_EARLY_MS 100 /* so that where many ask the next look is over before it is missed */
#define UNREST_MS 2000    /* a file that keeps changing for so long is read as it stands */
#define SLOW_MS 5000      /* what takes longer, with the reading, is told of */

struct auth_follow {
    struct auth_pool *pool; /* borrowed */
    void (*renew)(void *arg, const struct auth_users *users);
    void *arg;

    pthread_mutex_t lock;     /* may be held while a mailbox's is taken, or renew's */
    struct auth_users *users; /* shared ref; under lock, as looked and followers */
    struct file_stamp looked; /* of the file as it was last read, well or badly */
    uint64_t changed_ms;      /* since when it has been another; 0: it has not */
    uint64_t counted_ms;      /* due_ms, as the last look that is over has left it */
    struct list followers;
    bool is_stopped;
    _Atomic uint64_t generation;   /* counts users; written under lock */
    _Atomic uint64_t next_look_ms; /* from then on the next look may begin; as due_ms */
    _Atomic uint64_t due_ms;       /* until then counts what the last look has found */

    /* A look, and the reading of what it has found: one at a time. */
    atomic_bool is_looking;   /* until the end of both; made false under lock */
    atomic_bool is_reading;   /* it has found another file; changed under lock */
    _Atomic uint64_t slow_ms; /* when it is to be told of; UINT64_MAX: not */
    struct auth_task task;
    uint64_t begin_ms; /* of the look: for who looks */
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

/* The file has been read as it was then. lock is held. */
static void note_read(struct auth_follow *follow, const struct file_stamp *stamp)
{
    follow->looked = *stamp;
    follow->changed_ms = 0;
}

/* users is given; what is returned is the caller's, to let go of without the lock, which is held.
 */
static struct auth_users *install(struct auth_follow *follow, struct auth_users *users)
{
    struct auth_users *former = follow->users;

    follow->users = users;
    follow->renew(follow->arg, users);
    atomic_fetch_add_explicit(&follow->generation, 1, memory_order_release);
    return former;
}

static bool is_same_path(const struct auth_users *a, const struct auth_users *b)
{
    return strcmp(auth_users_path(a), auth_users_path(b)) == 0;
}

/* users, of the file of those in use, are no newer: the file has not changed between the two
 * readings, and what was learnt of those in use holds; or they were read earlier. */
static bool is_no_newer(const struct auth_follow *follow, const struct auth_users *users)
{
    return file_stamp_eq(auth_users_stamp(follow->users), auth_users_stamp(users)) ||
           auth_users_read_ms(users) < auth_users_read_ms(follow->users);
}

/* Not before when_ms: what was found until now counts so long. lock is held. */
static void look_again(struct auth_follow *follow, uint64_t when_ms)
{
    atomic_store_explicit(&follow->next_look_ms, when_ms, memory_order_release);
    atomic_store_explicit(&follow->due_ms, when_ms, memory_order_release);
}

void auth_follow_set(struct auth_follow *follow, struct auth_users *users, bool anew)
{
    struct auth_users *former = NULL;
    bool keeps;

    (void)pthread_mutex_lock(&follow->lock);
    keeps = follow->users && is_same_path(follow->users, users) && is_no_newer(follow, users);
    if (!keeps || anew) {
        former = install(follow, auth_users_ref(keeps ? follow->users : users));
        if (!keeps) {
            note_read(follow, auth_users_stamp(users));
        }
        look_again(follow, 0); /* the file may have changed since the reload read it */
        follow->counted_ms = 0;
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
        char line[CONF_MESSAGE_LINE_MAX];

        conf_message_format(&messages->items[i], line, sizeof(line));
        log_event(LOG_WARNING, "users", "%s", line);
    }
    log_event(LOG_WARNING, "users", "%s has changed and cannot be used: the users read before stay",
              path);
}

/* What came of reading the file, read being given: it is in force from now on, unless a reload was
 * faster with what it has read later, or with another file. What is returned is to be let go of.
 * lock is held. */
static struct auth_users *take_read(struct auth_follow *follow, const struct auth_users *followed,
                                    const struct file_stamp *found, struct auth_users *read, int r,
                                    const struct conf_messages *messages)
{
    const char *path = auth_users_path(followed);
    bool is_followed = is_same_path(follow->users, followed);

    if (r == 0 && is_followed && !is_no_newer(follow, read)) {
        log_event(LOG_NOTICE, "users", "%s has changed: %zu users", path, auth_users_count(read));
        note_read(follow, auth_users_stamp(read));
        return install(follow, read);
    }
    if (r == 0 && is_followed) {
        note_read(follow, auth_users_stamp(follow->users));
    } else if (is_followed && r != -ENOMEM) { /* that is tried again */
        note_read(follow, found);
        tell_bad_file(messages, path);
    }
    return read;
}

/* The file has been another for so long that whatever stands in it is taken, be it that it changes
 * all the time. lock is held. */
static bool is_overdue(const struct auth_follow *follow, uint64_t now_ms)
{
    return follow->changed_ms > 0 && now_ms >= follow->changed_ms + UNREST_MS;
}

/* Who waits is told. lock is held. */
static void end_look(struct auth_follow *follow)
{
    follow->counted_ms = atomic_load_explicit(&follow->due_ms, memory_order_relaxed);
    atomic_store_explicit(&follow->slow_ms, UINT64_MAX, memory_order_relaxed);
    /* Who sees these sees the generation, too. */
    atomic_store_explicit(&follow->is_reading, false, memory_order_release);
    atomic_store_explicit(&follow->is_looking, false, memory_order_release);
    tell(follow, true);
}

/* What was written meanwhile may be half of it, and does not count: it is looked at again soon. */
static void read_file(struct auth_follow *follow, const struct auth_users *followed,
                      const struct file_stamp *found)
{
    const char *path = auth_users_path(followed);
    const struct conf_origin origin = {.file = path};
    struct conf_messages messages = {0};
    struct auth_users *read = NULL;
    int r = auth_users_load(path, origin, &messages, &read);
    struct file_stamp now = file_look(path);
    uint64_t now_ms = clock_mono_ms();

    (void)pthread_mutex_lock(&follow->lock);
    if (file_stamp_eq(&now, found) || is_overdue(follow, now_ms)) {
        read = take_read(follow, followed, found, read, r, &messages);
    } else if (follow->users == followed) {
        look_again(follow, now_ms + FILE_FRESH_MS);
    }
    end_look(follow);
    (void)pthread_mutex_unlock(&follow->lock);
    auth_users_unref(read);
    conf_messages_deinit(&messages);
}

/* ------------------------------------------------------------------ looking, aside */

/* Whether the file is to be read; one that is just being written is left alone for a while. After
 * a reload that has brought others meanwhile the look counts for nothing. lock is held. */
static bool take_look(struct auth_follow *follow, const struct auth_users *followed,
                      const struct file_stamp *found)
{
    uint64_t begin_ms = follow->begin_ms;
    bool is_other = !file_stamp_eq(found, &follow->looked);

    if (follow->users != followed) {
        return false;
    }
    if (!is_other) {
        follow->changed_ms = 0;
    } else if (follow->changed_ms == 0) {
        follow->changed_ms = begin_ms;
    }
    if (is_other && file_stamp_is_fresh(found) && !is_overdue(follow, begin_ms)) {
        look_again(follow, begin_ms + FILE_FRESH_MS);
        return false;
    }
    /* Whoever sees that the look counts sees what it has found. */
    atomic_store_explicit(&follow->is_reading, is_other, memory_order_relaxed);
    atomic_store_explicit(&follow->next_look_ms, begin_ms + LOOK_EVERY_MS - LOOK_EARLY_MS,
                          memory_order_release);
    atomic_store_explicit(&follow->due_ms, begin_ms + LOOK_EVERY_MS, memory_order_release);
    return is_other;
}

/* Where a file system does not answer this takes for good: no worker may wait for it. */
static void look(struct auth_follow *follow)
{
    uint64_t generation;
    struct auth_users *followed = auth_follow_users(follow, &generation);
    struct file_stamp found = file_look(auth_users_path(followed));
    bool reads;

    (void)pthread_mutex_lock(&follow->lock);
    reads = take_look(follow, followed, &found);
    if (!reads) {
        end_look(follow);
    }
    (void)pthread_mutex_unlock(&follow->lock);
    if (reads) {
        read_file(follow, followed, &found);
    }
    auth_users_unref(followed);
}

static void run_look(struct auth_task *task, struct auth_hasher *hasher)
{
    (void)hasher;
    look(CONTAINER_OF(task, struct auth_follow, task));
}

/* ------------------------------------------------------------------ following */

/* is_looking has just become true. Without a thread it is done here and now. */
static void begin_look(struct auth_follow *follow, uint64_t now_ms)
{
    follow->begin_ms = now_ms;
    atomic_store_explicit(&follow->slow_ms, now_ms + SLOW_MS, memory_order_relaxed);
    if (!auth_pool_submit(follow->pool, &follow->task)) {
        look(follow);
    }
}

/* Whoever waits then says so, once a look. */
static void tell_slow(struct auth_follow *follow, uint64_t now_ms)
{
    uint64_t slow_ms = atomic_load_explicit(&follow->slow_ms, memory_order_relaxed);

    if (now_ms < slow_ms ||
        !atomic_compare_exchange_strong(&follow->slow_ms, &slow_ms, UINT64_MAX)) {
        return;
    }
    (void)pthread_mutex_lock(&follow->lock);
    log_event(LOG_WARNING, "users",
              "to look at %s takes more than %d s: whoever shows credentials waits for it",
              auth_users_path(follow->users), SLOW_MS / 1000);
    (void)pthread_mutex_unlock(&follow->lock);
}

/* Somebody begins a look before the last one counts no more. Where nobody did, for nobody asked,
 * and where it takes too long, who asks waits for it; and always for the reading of what it has
 * found. */
bool auth_follow_look(struct auth_follow *follow, uint64_t now_ms)
{
    bool is_due;
    bool waits;

    if (now_ms >= atomic_load_explicit(&follow->next_look_ms, memory_order_acquire) &&
        !atomic_exchange(&follow->is_looking, true)) {
        begin_look(follow, now_ms);
    }
    is_due = now_ms >= atomic_load_explicit(&follow->due_ms, memory_order_acquire);
    waits = atomic_load_explicit(is_due ? &follow->is_looking : &follow->is_reading,
                                 memory_order_acquire);
    if (waits) {
        tell_slow(follow, now_ms);
    }
    return waits;
}

uint64_t auth_follow_counted_ms(struct auth_follow *follow)
{
    uint64_t counted_ms;

    (void)pthread_mutex_lock(&follow->lock);
    counted_ms = follow->is_stopped ? UINT64_MAX : follow->counted_ms;
    (void)pthread_mutex_unlock(&follow->lock);
    return counted_ms;
}

/* lock is held. */
static bool is_awaited(const struct auth_follow *follow, uint64_t since_ms)
{
    return !follow->is_stopped && (since_ms >= follow->counted_ms ||
                                   atomic_load_explicit(&follow->is_reading, memory_order_relaxed));
}

bool auth_follow_wait(struct auth_follow *follow, struct auth_follower *follower, uint64_t since_ms,
                      uint64_t now_ms)
{
    bool waits;
    bool is_told = false;

    do {
        (void)auth_follow_look(follow, now_ms);
        (void)pthread_mutex_lock(&follow->lock);
        waits = is_awaited(follow, since_ms);
        if (waits && atomic_load_explicit(&follow->is_looking, memory_order_relaxed)) {
            list_init(&follower->node);
            list_push_back(&follow->followers, &follower->node);
            is_told = true;
        }
        (void)pthread_mutex_unlock(&follow->lock);
    } while (waits && !is_told); /* a look was over just then, and another has to begin */
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
    follow->task.run = run_look;
    follow->renew = renew;
    follow->arg = arg;
    atomic_init(&follow->slow_ms, UINT64_MAX);
    list_init(&follow->followers);
    (void)pthread_mutex_init(&follow->lock, NULL);
    *ret = follow;
    return 0;
}

void auth_follow_free(struct auth_follow *follow)
{
    if (follow) {
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
