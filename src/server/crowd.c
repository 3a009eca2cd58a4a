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

/* Whom a connection is counted for, looked at and hashed once. */
struct who {
    char key[ADDR_CLIENT_KEY_BYTES];
    uint64_t hash;
};

static struct who who_is(const struct addr *client)
{
    struct who who;

    addr_client_key(client, who.key);
    who.hash = map_hash(str_make(who.key, sizeof(who.key)));
    return who;
}

static struct part *part_of(struct crowd *crowd, const struct who *who)
{
    return &crowd->parts[who->hash >> PART_SHIFT];
}

static struct member *find(const struct part *part, const struct who *who)
{
    struct str key = str_make(who->key, sizeof(who->key));
    struct map_node *node = map_find_hashed(&part->members, key, who->hash);

    return node ? CONTAINER_OF(node, struct member, node) : NULL;
}

static struct member *add(struct part *part, const struct who *who)
{
    struct member *member = mem_zalloc(sizeof(*member));

    if (member) {
        memcpy(member->key, who->key, sizeof(member->key));
        member->node.key = str_make(member->key, sizeof(member->key));
        member->node.hash = who->hash;
        map_add_hashed(&part->members, &member->node);
    }
    return member;
}

/* lock is held. */
static int count_one(struct part *part, const struct who *who, uint64_t limit)
{
    struct member *member = find(part, who);

    if (member && limit > 0 && member->count >= limit) {
        return CROWD_FULL;
    }
    if (!member) {
        member = add(part, who);
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
    struct who who = who_is(client);
    struct part *part = part_of(crowd, &who);
    int r;

    (void)pthread_mutex_lock(&part->lock);
    r = count_one(part, &who, limit);
    (void)pthread_mutex_unlock(&part->lock);
    return r;
}

void crowd_leave(struct crowd *crowd, const struct addr *client)
{
    struct who who = who_is(client);
    struct part *part = part_of(crowd, &who);
    struct member *member;

    (void)pthread_mutex_lock(&part->lock);
    member = find(part, &who);
    ASSERT(member);
    if (--member->count == 0) {
        map_remove(&part->members, &member->node);
        mem_free(member);
    }
    (void)pthread_mutex_unlock(&part->lock);
}
