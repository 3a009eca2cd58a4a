// SPDX-License-Identifier: MIT
#include "server/crowd.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

#include "base/err.h"
#include "base/map.h"
#include "base/mem.h"

/* By the first bits of a key's hash, so that workers which accept at the same time seldom meet. */
#define PARTS 16
#define PART_SHIFT (64 - 4)

struct member {
    struct map_node node;
    uint64_t count;
    char key[ADDR_CLIENT_KEY_BYTES];
};

struct part {
    pthread_mutex_t lock;
    struct map members; /* under lock */
};

struct crowd {
    _Atomic uint64_t limit; /* 0: none */
    struct part parts[PARTS];
};

int crowd_new(struct crowd **ret)
{
    struct crowd *crowd = mem_zalloc(sizeof(*crowd));
    int r = crowd ? 0 : -ENOMEM;

    for (size_t i = 0; i < PARTS && r == 0; i++) {
        (void)pthread_mutex_init(&crowd->parts[i].lock, NULL);
        r = map_init(&crowd->parts[i].members);
    }
    if (r != 0) {
        crowd_free(crowd);
        return r;
    }
    *ret = crowd;
    return 0;
}

void crowd_set_limit(struct crowd *crowd, uint64_t limit)
{
    atomic_store_explicit(&crowd->limit, limit, memory_order_relaxed);
}

static void free_part(struct part *part)
{
    struct map_node *node;

    while ((node = map_any(&part->members)) != NULL) {
        map_remove(&part->members, node);
        mem_free(CONTAINER_OF(node, struct member, node));
    }
    map_deinit(&part->members);
    (void)pthread_mutex_destroy(&part->lock);
}

void crowd_free(struct crowd *crowd)
{
    /* The first part without a table is where memory was out. */
    for (size_t i = 0; crowd && i < PARTS && crowd->parts[i].members.buckets; i++) {
        free_part(&crowd->parts[i]);
    }
    mem_free(crowd);
}

static struct part *part_of(struct crowd *crowd, const char key[ADDR_CLIENT_KEY_BYTES])
{
    return &crowd->parts[map_hash(str_make(key, ADDR_CLIENT_KEY_BYTES)) >> PART_SHIFT];
}

static struct member *find(const struct part *part, const char key[ADDR_CLIENT_KEY_BYTES])
{
    struct map_node *node = map_find(&part->members, str_make(key, ADDR_CLIENT_KEY_BYTES));

    return node ? CONTAINER_OF(node, struct member, node) : NULL;
}

static struct member *add(struct part *part, const char key[ADDR_CLIENT_KEY_BYTES])
{
    struct member *member = mem_zalloc(sizeof(*member));

    if (member) {
        memcpy(member->key, key, ADDR_CLIENT_KEY_BYTES);
        member->node.key = str_make(member->key, ADDR_CLIENT_KEY_BYTES);
        map_add(&part->members, &member->node);
    }
    return member;
}

/* lock is held. */
static int count_one(struct part *part, const char key[ADDR_CLIENT_KEY_BYTES], uint64_t limit)
{
    struct member *member = find(part, key);

    if (member && limit > 0 && member->count >= limit) {
        return CROWD_FULL;
    }
    if (!member) {
        member = add(part, key);
    }
    if (!member) {
        return -ENOMEM;
    }
    member->count++;
    return 0;
}

int crowd_enter(struct crowd *crowd, const struct addr *client)
{
    uint64_t limit = atomic_load_explicit(&crowd->limit, memory_order_relaxed);
    char key[ADDR_CLIENT_KEY_BYTES];
    struct part *part;
    int r;

    addr_client_key(client, key);
    part = part_of(crowd, key);
    (void)pthread_mutex_lock(&part->lock);
    r = count_one(part, key, limit);
    (void)pthread_mutex_unlock(&part->lock);
    return r;
}

void crowd_leave(struct crowd *crowd, const struct addr *client)
{
    char key[ADDR_CLIENT_KEY_BYTES];
    struct part *part;
    struct member *member;

    addr_client_key(client, key);
    part = part_of(crowd, key);
    (void)pthread_mutex_lock(&part->lock);
    member = find(part, key);
    ASSERT(member);
    if (--member->count == 0) {
        map_remove(&part->members, &member->node);
        mem_free(member);
    }
    (void)pthread_mutex_unlock(&part->lock);
}
