// SPDX-License-Identifier: MIT
#pragma once

/*
 * BLAKE2b (RFC 7693): a cryptographic hash that takes a key by itself, so
 * that it serves as a MAC without a construction around it.
 */

#include <stddef.h>
#include <stdint.h>

#define BLAKE2B_BLOCK_BYTES 128
#define BLAKE2B_MAX_BYTES 64 /* of the key and of the hash */

/* A value: a copy goes on from where the original was. */
struct blake2b {
    uint64_t state[8];
    uint64_t count; /* bytes compressed so far */
    size_t held;    /* bytes in block */
    size_t hash_len;
    uint8_t block[BLAKE2B_BLOCK_BYTES];
};

/* hash_len: 1 to BLAKE2B_MAX_BYTES; key_len: 0 (none) to BLAKE2B_MAX_BYTES. */
void blake2b_init(struct blake2b *hash, size_t hash_len, const void *key, size_t key_len);
void blake2b_add(struct blake2b *hash, const void *ptr, size_t len);
/* Writes hash_len bytes and wipes *hash. */
void blake2b_finish(struct blake2b *hash, void *ret);
