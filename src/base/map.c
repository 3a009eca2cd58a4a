// SPDX-License-Identifier: MIT
#include "base/map.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "base/err.h"
#include "base/mem.h"

#define MAP_FIRST_BUCKETS 16

static uint64_t hash_key[2];

/* Runs before main, so that the key needs no lock. A kernel that cannot give
 * random bytes this early leaves the clock, which still differs per start. */
__attribute__((constructor)) static void draw_hash_key(void)
{
    struct timespec now;

    if (getrandom(hash_key, sizeof(hash_key), GRND_NONBLOCK) == (ssize_t)sizeof(hash_key)) {
        return;
    }
    (void)clock_gettime(CLOCK_REALTIME, &now);
    hash_key[0] = (uint64_t)now.tv_nsec * 0x9e3779b97f4a7c15U;
    hash_key[1] = (uint64_t)now.tv_sec * 0xc2b2ae3d27d4eb4fU;
}

static uint64_t rotl(uint64_t x, unsigned bits)
{
    return (x << bits) | (x >> (64 - bits));
}

static void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[1] = rotl(v[1], 13) ^ v[0];
    v[0] = rotl(v[0], 32);
    v[2] += v[3];
    v[3] = rotl(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = rotl(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = rotl(v[1], 17) ^ v[2];
    v[2] = rotl(v[2], 32);
}

/* SipHash (Aumasson, Bernstein 2012) with one round a word and three to finish. */
uint64_t map_hash(struct str key)
{
    uint64_t v[4] = {hash_key[0] ^ 0x736f6d6570736575U, hash_key[1] ^ 0x646f72616e646f6dU,
                     hash_key[0] ^ 0x6c7967656e657261U, hash_key[1] ^ 0x7465646279746573U};
    uint64_t word;
    size_t at = 0;

    for (; key.len - at >= 8; at += 8) {
        memcpy(&word, key.ptr + at, 8);
        v[3] ^= word;
        sip_round(v);
        v[0] ^= word;
    }
    word = (uint64_t)key.len << 56;
    for (unsigned shift = 0; at < key.len; at++, shift += 8) {
        word |= (uint64_t)(unsigned char)key.ptr[at] << shift;
    }
    v[3] ^= word;
    sip_round(v);
    v[0] ^= word;
    v[2] ^= 0xff;
    sip_round(v);
    sip_round(v);
    sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

int map_init(struct map *map)
{
    struct map_node **buckets = mem_zalloc(MAP_FIRST_BUCKETS * sizeof(*buckets));

    if (!buckets) {
        return -ENOMEM;
    }
    *map = (struct map){.buckets = buckets, .mask = MAP_FIRST_BUCKETS - 1};
    return 0;
}

void map_deinit(struct map *map)
{
    mem_free(map->buckets);
    *map = (struct map){0};
}

static struct map_node *find_from(struct map_node *node, struct str key, uint64_t hash)
{
    while (node && (node->hash != hash || !str_eq(node->key, key))) {
        node = node->next;
    }
    return node;
}

struct map_node *map_find_hashed(const struct map *map, struct str key, uint64_t hash)
{
    return find_from(map->buckets[hash & map->mask], key, hash);
}

struct map_node *map_find(const struct map *map, struct str key)
{
    return map_find_hashed(map, key, map_hash(key));
}

struct map_node *map_find_next(const struct map_node *node)
{
    return find_from(node->next, node->key, node->hash);
}

/* Chains keep their order (newest first) by going through each from its end. */
static void move_chain(struct map_node *node, struct map_node **buckets, size_t mask)
{
    struct map_node *reversed = NULL;

    while (node) {
        struct map_node *next = node->next;

        node->next = reversed;
        reversed = node;
        node = next;
    }
    while (reversed) {
        struct map_node *next = reversed->next;

        reversed->next = buckets[reversed->hash & mask];
        buckets[reversed->hash & mask] = reversed;
        reversed = next;
    }
}

static void grow(struct map *map)
{
    size_t count = (map->mask + 1) * 2;
    struct map_node **buckets = mem_zalloc(count * sizeof(*buckets));

    if (!buckets) {
        return;
    }
    for (size_t i = 0; i <= map->mask; i++) {
        move_chain(map->buckets[i], buckets, count - 1);
    }
    mem_free(map->buckets);
    map->buckets = buckets;
    map->mask = count - 1;
}

void map_add_hashed(struct map *map, struct map_node *node)
{
    struct map_node **bucket;

    if (map->count > map->mask) {
        grow(map);
    }
    bucket = &map->buckets[node->hash & map->mask];
    node->next = *bucket;
    *bucket = node;
    map->count++;
}

void map_add(struct map *map, struct map_node *node)
{
    node->hash = map_hash(node->key);
    map_add_hashed(map, node);
}

void map_remove(struct map *map, struct map_node *node)
{
    struct map_node **at = &map->buckets[node->hash & map->mask];

    while (*at != node) {
        ASSERT(*at);
        at = &(*at)->next;
    }
    *at = node->next;
    node->next = NULL;
    map->count--;
}

struct map_node *map_any(const struct map *map)
{
    for (size_t i = 0; map->count > 0 && i <= map->mask; i++) {
        if (map->buckets[i]) {
            return map->buckets[i];
        }
    }
    return NULL;
}
