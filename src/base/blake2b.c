// SPDX-License-Identifier: MIT
#include "base/blake2b.h"

#include <endian.h>
#include <stdbool.h>
#include <string.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/secret.h"

#define ROUNDS 12

/* RFC 7693 2.6 */
static const uint64_t initial[8] = {
    0x6a09e667f3bcc908, 0xbb67ae8584caa73b, 0x3c6ef372fe94f82b, 0xa54ff53a5f1d36f1,
    0x510e527fade682d1, 0x9b05688c2b3e6c1f, 0x1f83d9abfb41bd6b, 0x5be0cd19137e2179,
};

/* RFC 7693 2.7; the last two rounds use the first two rows again. */
static const uint8_t sigma[10][16] = {
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
    {14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3},
    {11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4},
    {7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8},
    {9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13},
    {2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9},
    {12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11},
    {13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10},
    {6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5},
    {10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0},
};

static uint64_t rotr(uint64_t x, unsigned bits)
{
    return (x >> bits) | (x << (64 - bits));
}

static uint64_t load_le64(const uint8_t *ptr)
{
    uint64_t value;

    memcpy(&value, ptr, sizeof(value));
    return le64toh(value);
}

/* RFC 7693 3.1 */
#define MIX(a, b, c, d, x, y)                                                                      \
    do {                                                                                           \
        (a) += (b) + (x);                                                                          \
        (d) = rotr((d) ^ (a), 32);                                                                 \
        (c) += (d);                                                                                \
        (b) = rotr((b) ^ (c), 24);                                                                 \
        (a) += (b) + (y);                                                                          \
        (d) = rotr((d) ^ (a), 16);                                                                 \
        (c) += (d);                                                                                \
        (b) = rotr((b) ^ (c), 63);                                                                 \
    } while (0)

static void mix_round(uint64_t v[16], const uint64_t m[16], const uint8_t s[16])
{
    MIX(v[0], v[4], v[8], v[12], m[s[0]], m[s[1]]);
    MIX(v[1], v[5], v[9], v[13], m[s[2]], m[s[3]]);
    MIX(v[2], v[6], v[10], v[14], m[s[4]], m[s[5]]);
    MIX(v[3], v[7], v[11], v[15], m[s[6]], m[s[7]]);
    MIX(v[0], v[5], v[10], v[15], m[s[8]], m[s[9]]);
    MIX(v[1], v[6], v[11], v[12], m[s[10]], m[s[11]]);
    MIX(v[2], v[7], v[8], v[13], m[s[12]], m[s[13]]);
    MIX(v[3], v[4], v[9], v[14], m[s[14]], m[s[15]]);
}

/* RFC 7693 3.2 */
static void compress(struct blake2b *hash, bool is_last)
{
    uint64_t v[16];
    uint64_t m[16];

    for (unsigned i = 0; i < 8; i++) {
        v[i] = hash->state[i];
        v[i + 8] = initial[i];
    }
    for (unsigned i = 0; i < 16; i++) {
        m[i] = load_le64(hash->block + (size_t)i * 8);
    }
    v[12] ^= hash->count;
    v[14] ^= is_last ? UINT64_MAX : 0;
    for (unsigned round = 0; round < ROUNDS; round++) {
        mix_round(v, m, sigma[round % ARRAY_LEN(sigma)]);
    }
    for (unsigned i = 0; i < 8; i++) {
        hash->state[i] ^= v[i] ^ v[i + 8];
    }
    secret_wipe(m, sizeof(m));
    secret_wipe(v, sizeof(v));
}

void blake2b_init(struct blake2b *hash, size_t hash_len, const void *key, size_t key_len)
{
    ASSERT(hash_len > 0 && hash_len <= BLAKE2B_MAX_BYTES && key_len <= BLAKE2B_MAX_BYTES);
    *hash = (struct blake2b){.hash_len = hash_len};
    memcpy(hash->state, initial, sizeof(initial));
    hash->state[0] ^= 0x01010000U ^ (uint64_t)key_len << 8 ^ hash_len;
    if (key_len > 0) {
        memcpy(hash->block, key, key_len);
        hash->held = BLAKE2B_BLOCK_BYTES;
    }
}

/* The last block is told from the others, so a full one waits until more comes. */
void blake2b_add(struct blake2b *hash, const void *ptr, size_t len)
{
    const uint8_t *bytes = ptr;

    while (len > 0) {
        size_t part;

        if (hash->held == BLAKE2B_BLOCK_BYTES) {
            hash->count += BLAKE2B_BLOCK_BYTES;
            compress(hash, false);
            hash->held = 0;
        }
        part = MIN(len, BLAKE2B_BLOCK_BYTES - hash->held);
        memcpy(hash->block + hash->held, bytes, part);
        hash->held += part;
        bytes += part;
        len -= part;
    }
}

void blake2b_finish(struct blake2b *hash, void *ret)
{
    uint8_t *out = ret;

    hash->count += hash->held;
    memset(hash->block + hash->held, 0, BLAKE2B_BLOCK_BYTES - hash->held);
    compress(hash, true);
    for (size_t i = 0; i < hash->hash_len; i++) {
        out[i] = (uint8_t)(hash->state[i / 8] >> (8 * (i % 8)));
    }
    secret_wipe(hash, sizeof(*hash));
}
