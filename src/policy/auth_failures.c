// SPDX-License-Identifier: MIT
#include "policy/auth_failures.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "base/map.h"
#include "base/mem.h"

#define SETS 512 /* a power of two */
#define WAYS 8

/* A client that has failed; until_ms 0: nobody. */
struct failer {
    char key[ADDR_CLIENT_KEY_BYTES];
    uint64_t until_ms; /* when its time is over */
    uint64_t count;
};

struct set {
    pthread_mutex_t lock;
    struct failer failers[WAYS];    /* under lock */
    _Atomic uint64_t shut_until_ms; /* until then one of them, at least, may not try */
};

struct auth_failures {
    struct set sets[SETS];
    _Atomic uint64_t limit;
    _Atomic uint64_t window_ms;
};

struct auth_failures *auth_failures_new(void)
{
    struct auth_failures *failures = mem_zalloc(sizeof(*failures));

    if (failures) {
        for (size_t i = 0; i < SETS; i++) {
            (void)pthread_mutex_init(&failures->sets[i].lock, NULL);
        }
    }
    return failures;
}

void auth_failures_free(struct auth_failures *failures)
{
    if (failures) {
        for (size_t i = 0; i < SETS; i++) {
            (void)pthread_mutex_destroy(&failures->sets[i].lock);
        }
        mem_free(failures);
    }
}

void auth_failures_set(struct auth_failures *failures, uint64_t limit, uint64_t window_ms)
{
    atomic_store_explicit(&failures->limit, limit, memory_order_relaxed);
    atomic_store_explicit(&failures->window_ms, window_ms, memory_order_relaxed);
}

static struct set *set_of(struct auth_failures *failures, const char key[ADDR_CLIENT_KEY_BYTES])
{
    return &failures->sets[map_hash(str_make(key, ADDR_CLIENT_KEY_BYTES)) % SETS];
}

static struct failer *find(struct set *set, const char key[ADDR_CLIENT_KEY_BYTES], uint64_t now_ms)
{
    for (size_t i = 0; i < WAYS; i++) {
        struct failer *failer = &set->failers[i];

        if (failer->until_ms > now_ms && memcmp(failer->key, key, ADDR_CLIENT_KEY_BYTES) == 0) {
            return failer;
        }
    }
    return NULL;
}

/* The place of somebody whose time is over, else of who has failed least, else longest ago. */
static struct failer *find_place(struct set *set, uint64_t now_ms)
{
    struct failer *least = &set->failers[0];

    for (size_t i = 0; i < WAYS; i++) {
        struct failer *failer = &set->failers[i];

        if (failer->until_ms <= now_ms) {
            return failer;
        }
        if (failer->count < least->count ||
            (failer->count == least->count && failer->until_ms < least->until_ms)) {
            least = failer;
        }
    }
    return least;
}

/* set's lock is held. */
static uint64_t wait_of(const struct auth_failures *failures, const struct failer *failer,
                        uint64_t now_ms)
{
    uint64_t limit = atomic_load_explicit(&failures->limit, memory_order_relaxed);

    return failer && failer->count >= limit ? failer->until_ms - now_ms : 0;
}

uint64_t auth_failures_wait_ms(struct auth_failures *failures, const struct addr *client,
                               uint64_t now_ms)
{
    char key[ADDR_CLIENT_KEY_BYTES];
    struct set *set;
    uint64_t wait_ms;

    addr_client_key(client, key);
    set = set_of(failures, key);
    if (now_ms >= atomic_load_explicit(&set->shut_until_ms, memory_order_relaxed)) {
        return 0;
    }
    (void)pthread_mutex_lock(&set->lock);
    wait_ms = wait_of(failures, find(set, key, now_ms), now_ms);
    (void)pthread_mutex_unlock(&set->lock);
    return wait_ms;
}

uint64_t auth_failures_add(struct auth_failures *failures, const struct addr *client,
                           uint64_t now_ms)
{
    char key[ADDR_CLIENT_KEY_BYTES];
    struct set *set;
    struct failer *failer;
    uint64_t wait_ms;

    addr_client_key(client, key);
    set = set_of(failures, key);
    (void)pthread_mutex_lock(&set->lock);
    failer = find(set, key, now_ms);
    if (!failer) {
        failer = find_place(set, now_ms);
        *failer = (struct failer){
            .until_ms = now_ms + atomic_load_explicit(&failures->window_ms, memory_order_relaxed)};
        memcpy(failer->key, key, sizeof(failer->key));
    }
    failer->count++;
    wait_ms = wait_of(failures, failer, now_ms);
    if (wait_ms > 0 &&
        failer->until_ms > atomic_load_explicit(&set->shut_until_ms, memory_order_relaxed)) {
        atomic_store_explicit(&set->shut_until_ms, failer->until_ms, memory_order_relaxed);
    }
    (void)pthread_mutex_unlock(&set->lock);
    return wait_ms;
}
