// SPDX-License-Identifier: MIT
#include "policy/auth_cache.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "base/mem.h"
#include "base/secret.h"

#define KEY_BYTES 32

/* ------------------------------------------------------------------ prints */

/* The key takes a block of its own; the byte behind it makes sure that this block is behind us once
 * and for all, and not again with each print. */
int auth_printer_init(struct auth_printer *printer)
{
    uint8_t key[KEY_BYTES];

    if (getrandom(key, sizeof(key), 0) != (ssize_t)sizeof(key)) {
        return -EIO;
    }
    blake2b_init(&printer->prepared, AUTH_PRINT_BYTES, key, sizeof(key));
    blake2b_add(&printer->prepared, "", 1);
    secret_wipe(key, sizeof(key));
    return 0;
}

void auth_printer_deinit(struct auth_printer *printer)
{
    secret_wipe(printer, sizeof(*printer));
}

/* None of the three holds a NUL, so it parts them. */
void auth_printer_make(const struct auth_printer *printer, struct str user, struct str password,
                       struct str hash, struct auth_print *ret)
{
    struct blake2b blake = printer->prepared;

    blake2b_add(&blake, user.ptr, user.len);
    blake2b_add(&blake, "", 1);
    blake2b_add(&blake, password.ptr, password.len);
    blake2b_add(&blake, "", 1);
    blake2b_add(&blake, hash.ptr, hash.len);
    blake2b_finish(&blake, ret->bytes);
}

bool auth_print_eq(const struct auth_print *a, const struct auth_print *b)
{
    return secret_eq(a->bytes, b->bytes, sizeof(a->bytes));
}

/* ------------------------------------------------------------------ what was seen */

void auth_cache_init(struct auth_cache *cache)
{
    *cache = (struct auth_cache){0};
}

void auth_cache_deinit(struct auth_cache *cache)
{
    mem_free(cache->right);
    cache->right = NULL;
    cache->user_count = 0;
}

void auth_cache_renew(struct auth_cache *cache, size_t user_count)
{
    size_t bytes;

    mem_free(cache->right);
    *cache = (struct auth_cache){0};
    if (user_count > 0 && mem_mul(user_count, sizeof(struct auth_seen), &bytes)) {
        cache->right = mem_zalloc(bytes);
        cache->user_count = cache->right ? user_count : 0;
    }
}

static bool is_seen(const struct auth_seen *seen, const struct auth_print *print, uint64_t now_ms,
                    uint64_t *ret_until_ms)
{
    bool same = auth_print_eq(&seen->print, print);

    if (!same || seen->until_ms <= now_ms) {
        return false;
    }
    *ret_until_ms = seen->until_ms;
    return true;
}

static size_t set_of(const struct auth_print *print)
{
    return print->bytes[0] % AUTH_CACHE_SETS;
}

enum auth_memory auth_cache_find(const struct auth_cache *cache, size_t user,
                                 const struct auth_print *print, uint64_t now_ms,
                                 uint64_t *ret_until_ms)
{
    const struct auth_seen *set = cache->wrong[set_of(print)];

    if (user < cache->user_count && is_seen(&cache->right[user], print, now_ms, ret_until_ms)) {
        return AUTH_SEEN_RIGHT;
    }
    for (size_t i = 0; i < AUTH_CACHE_WAYS; i++) {
        if (is_seen(&set[i], print, now_ms, ret_until_ms)) {
            return AUTH_SEEN_WRONG;
        }
    }
    return AUTH_UNSEEN;
}

void auth_cache_put_right(struct auth_cache *cache, size_t user, const struct auth_print *print,
                          uint64_t until_ms)
{
    if (user < cache->user_count) {
        cache->right[user] = (struct auth_seen){.print = *print, .until_ms = until_ms};
    }
}

void auth_cache_put_wrong(struct auth_cache *cache, const struct auth_print *print,
                          uint64_t until_ms)
{
    struct auth_seen *set = cache->wrong[set_of(print)];
    struct auth_seen *first = &set[0];

    for (size_t i = 1; i < AUTH_CACHE_WAYS; i++) {
        if (set[i].until_ms < first->until_ms) {
            first = &set[i];
        }
    }
    *first = (struct auth_seen){.print = *print, .until_ms = until_ms};
}
