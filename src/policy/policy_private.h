// SPDX-License-Identifier: MIT
#pragma once

/*
 * The inside of a policy, shared by the files that make it: compile.c (from
 * the configuration), policy.c (decisions), explain.c (line by line) and
 * warn.c (what `check` says about it).
 */

#include "base/arena.h"
#include "policy/domains.h"
#include "policy/policy.h"
#include "policy/table.h"

struct conf;
struct conf_messages;

struct policy {
    struct arena_pool pool;
    struct arena arena;         /* owns lines and indexes */
    struct domains_shelf shelf; /* the lists that `hosts` lines name */
    struct table access;
    unsigned needs; /* bits of enum policy_need, beyond address and request */
};

/* policy.c: of policy_row. */
void policy_builtin_row(enum policy_builtin builtin, struct policy_line *ret);

/* warn.c: adds the warnings about a policy without errors. */
void policy_warn(const struct policy *policy, const struct conf *conf,
                 struct conf_messages *messages);
