// SPDX-License-Identifier: MIT
#include "server/crowd.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "base/err.h"
#include "base/map.h"
#include "base/mem.h"

struct member {
    struct map_node node;
    uint64_t count;
    char key[ADDR_CLIENT_KEY_BYTES];
};

struct crowd {
    pthread_mutex_t lock;
    struct map members;     /* under lock */
    atomic_size_t counted;  /* connections of all members; written under lock */
    _Atomic uint64_t limit; /* 0: none */
};

int crowd_new(uint64_t limit, struct crowd **ret)
{
    struct crowd *crowd = mem_zalloc(sizeof(*crowd));

    if (!crowd || map_init(&crowd->members) != 0) {
        mem_free(crowd);
        return -ENOMEM;
    }
    (void)pthread_mutex_init(&crowd->lock, NULL);
    crowd->limit = limit;
    *ret = crowd;
    return 0;
}

void crowd_set_limit(struct crowd *crowd, uint64_t limit)
{
    atomic_store_explicit(&crowd->limit, limit, memory_order_relaxed);
}

void crowd_free(struct crowd *crowd)
{
    struct map_node *node;

    if (!crowd) {
        return;
    }
    while ((node = map_any(&crowd->members)) != NULL) {
        map_remove(&crowd->members, node);
        mem_free(CONTAINER_OF(node, struct member, node));
    }
    map_deinit(&crowd->members);
    (void)pthread_mutex_destroy(&crowd->lock);
    mem_free(crowd);
}

static struct member *find(struct crowd *crowd, const char key[ADDR_CLIENT_KEY_BYTES])
{
    struct map_node *node = map_find(&crowd->members, str_make(key, ADDR_CLIENT_KEY_BYTES));

    return node ? CONTAINER_OF(node, struct member, node) : NULL;
}

static struct member *find_or_add(struct crowd *crowd, const char key[ADDR_CLIENT_KEY_BYTES])
{
    struct member *member = find(crowd, key);

    if (member) {
        return member;
    }
    member = mem_zalloc(sizeof(*member));
    if (member) {
        memcpy(member->key, key, ADDR_CLIENT_KEY_BYTES);
        member->node.key = str_make(member->key, ADDR_CLIENT_KEY_BYTES);
        map_add(&crowd->members, &member->node);
    }
    return member;
}

bool crowd_enter(struct crowd *crowd, const struct addr *client)
{
    char key[ADDR_CLIENT_KEY_BYTES];
    struct member *member;
    uint64_t limit = atomic_load_explicit(&crowd->limit, memory_order_relaxed);
    bool within = true; /* without memory to count, nobody is refused */

    if (limit == 0) {
        return true;
    }
    addr_client_key(client, key);
    (void)pthread_mutex_lock(&crowd->lock);
    member = find_or_add(crowd, key);
    if (member) {
        within = member->count < limit;
        member->count += within;
        atomic_fetch_add_explicit(&crowd->counted, within, memory_order_relaxed);
    }
    (void)pthread_mutex_unlock(&crowd->lock);
    return within;
}

void crowd_leave(struct crowd *crowd, const struct addr *client)
{
    char key[ADDR_CLIENT_KEY_BYTES];
    struct member *member;

    if (atomic_load_explicit(&crowd->counted, memory_order_relaxed) == 0) {
        return;
    }
    addr_client_key(client, key);
    (void)pthread_mutex_lock(&crowd->lock);
    member = find(crowd, key);
    if (member) {
        atomic_fetch_sub_explicit(&crowd->counted, 1, memory_order_relaxed);
    }
    if (member && --member->count == 0) {
        map_remove(&crowd->members, &member->node);
        mem_free(member);
    }
    (void)pthread_mutex_unlock(&crowd->lock);
}
