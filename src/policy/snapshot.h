// SPDX-License-Identifier: MIT
#pragma once

/*
 * One generation of all that a reload replaces: the configuration, the policy
 * compiled from it, the users file that it names, and what others know this
 * instance by. Immutable once it is in force, shared by all threads; whoever
 * uses it holds a reference, and the last to let go frees it.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/attr.h"
#include "base/ref.h"
#include "base/str.h"

struct auth_users;
struct conf;
struct conf_load_options;
struct conf_messages;
struct hits;
struct policy;

struct snapshot {
    struct ref ref;
    struct conf *conf;        /* owned */
    struct policy *policy;    /* owned */
    struct auth_users *users; /* shared ref; NULL without auth.users */
    uint64_t generation;      /* counts loads from 1 */
    /* Empty until snapshot_settle. */
    struct str via_name;        /* owned: server.name and eight hex digits */
    struct addr *own_addresses; /* owned: where we listen, for the loop guard */
    size_t own_address_count;
    struct hits *hits; /* owned: how often each row of the policy has decided */
};

/* Reads configuration, rules and the files that they name. previous is the snapshot in force, whose
 * lists are shared as far as they have not changed (NULL at start). 0 with *ret holding one
 * reference; 1 when something is wrong (messages tell all of it, *ret untouched); -ENOMEM. Warnings
 * may stand in messages, which must be zeroed before, are sorted, and outlive the snapshot. Takes
 * as long as large lists take: not for an event loop. */
MUST_USE int snapshot_load(const struct conf_load_options *options, const struct snapshot *previous,
                           struct snapshot **ret, struct conf_messages *messages);
/* Before any other thread sees it: the name in Via (copied), and where this instance listens
 * (given, from mem_alloc); counters for so many workers, which go on from those of previous (NULL:
 * none). 0 or -ENOMEM. */
MUST_USE int snapshot_settle(struct snapshot *snapshot, const char *via_name, struct addr *own,
                             size_t own_count, const struct snapshot *previous, size_t workers);
struct snapshot *snapshot_ref(struct snapshot *snapshot);
void snapshot_unref(struct snapshot *snapshot); /* accepts NULL */
