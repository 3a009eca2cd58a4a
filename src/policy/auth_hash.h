// SPDX-License-Identifier: MIT
#pragma once

/*
 * Stored passwords, and the library that checks them (libxcrypt): which
 * kinds of hash are taken, what one of them costs to check, and the check
 * itself. No other file sees the library.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/str.h"
#include "base/text.h"

#define AUTH_PASSWORD_MAX 511 /* bytes; the library takes no more */
#define AUTH_HASH_MAX 255     /* bytes of a stored hash; none that is taken has more than 150 */

#define AUTH_HASH_BAD 1

/* Whether a stored hash is of a kind that is taken, whole, and of a cost that can be borne: 0 and
 * what one check costs on a usual machine, in nanoseconds (good for comparing); else AUTH_HASH_BAD,
 * and why on *why, which never shows the hash. */
MUST_USE int auth_hash_judge(struct str hash, uint64_t *ret_cost_ns, struct text *why);

/* The library's working memory, 32 KiB: one for each thread that checks. */
struct auth_hasher;
/* NULL: memory is out. */
MUST_USE struct auth_hasher *auth_hasher_new(void);
void auth_hasher_free(struct auth_hasher *hasher);
/* Whether password (NUL-terminated) is the one of hash (NUL-terminated, judged to be good). Takes
 * as long as the hash wants it to, milliseconds to seconds. 0, or negative errno when it could not
 * be told (-ENOMEM). */
MUST_USE int auth_hasher_check(struct auth_hasher *hasher, const char *password, const char *hash,
                               bool *ret_equal);

/* The library's version, "4.4.33". */
const char *auth_hash_library_version(void);
