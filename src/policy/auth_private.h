// SPDX-License-Identifier: MIT
#pragma once

/*
 * The inside of struct auth, shared by auth.c (what all workers have in
 * common, its life and what it logs) and auth_desk.c (one worker's side).
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "policy/auth.h"
#include "policy/auth_cache.h"

struct auth_checks;
struct auth_failures;
struct auth_follow;
struct auth_pool;

struct auth {
    struct auth_printer printer;
    struct auth_failures *failures; /* owned */
    struct auth_pool *hashers;      /* owned */
    struct auth_pool *readers;      /* owned */
    struct auth_checks *checks;     /* owned */
    struct auth_follow *follow;     /* owned */
    bool is_abandoned;              /* a thread that hangs still uses all this */
    uint64_t wait_ms;               /* set once */
    _Atomic uint64_t cache_ms;
};

/* auth.c: client has shown a wrong password, or a name that nobody has: that counts, and is told.
 * From any thread. */
void auth_count_wrong(struct auth *auth, const struct addr *client, struct str name, bool is_known);
