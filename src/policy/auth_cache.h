// SPDX-License-Identifier: MIT
#pragma once

/*
 * Credentials that were checked a while ago, right ones and wrong ones, by
 * their print: a keyed hash, so that no password can be read out of it.
 * Bounded, never locked; where several threads use one, they lock it.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/blake2b.h"
#include "base/str.h"

#define AUTH_PRINT_BYTES 16

struct auth_print {
    uint8_t bytes[AUTH_PRINT_BYTES];
};

/* Makes prints that mean something in this process only. */
struct auth_printer {
    struct blake2b prepared; /* with the key in it */
};

/* Draws the key. 0 or negative errno. */
MUST_USE int auth_printer_init(struct auth_printer *printer);
void auth_printer_deinit(struct auth_printer *printer);
/* hash: the stored one, empty for an unknown user. */
void auth_printer_make(const struct auth_printer *printer, struct str user, struct str password,
                       struct str hash, struct auth_print *ret);
/* Takes as long whatever they are. */
bool auth_print_eq(const struct auth_print *a, const struct auth_print *b);

/* A print and until when it is remembered; 0: none. */
struct auth_seen {
    struct auth_print print;
    uint64_t until_ms;
};

#define AUTH_CACHE_SETS 64 /* a power of two */
#define AUTH_CACHE_WAYS 8

struct auth_cache {
    struct auth_seen *right; /* owned: the last right ones of each user, by the user's index */
    size_t user_count;
    /* The last wrong ones of all: a set by the print's first bits, and what ends first gives way.
     */
    struct auth_seen wrong[AUTH_CACHE_SETS][AUTH_CACHE_WAYS];
};

enum auth_memory { AUTH_UNSEEN, AUTH_SEEN_RIGHT, AUTH_SEEN_WRONG };

void auth_cache_init(struct auth_cache *cache);
void auth_cache_deinit(struct auth_cache *cache);
/* Forgets everything, and makes room for so many users; where memory is out, for none. */
void auth_cache_renew(struct auth_cache *cache, size_t user_count);

#define AUTH_NO_USER ((size_t)-1) /* index of an unknown one */

/* *ret_until_ms is written when something was seen. */
enum auth_memory auth_cache_find(const struct auth_cache *cache, size_t user,
                                 const struct auth_print *print, uint64_t now_ms,
                                 uint64_t *ret_until_ms);
void auth_cache_put_right(struct auth_cache *cache, size_t user, const struct auth_print *print,
                          uint64_t until_ms);
void auth_cache_put_wrong(struct auth_cache *cache, const struct auth_print *print,
                          uint64_t until_ms);
