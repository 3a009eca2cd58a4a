// SPDX-License-Identifier: MIT
#pragma once

/*
 * Where a command finds the daemon that it is to ask, and why there: a
 * command that asks somebody else than its user thinks is worse than one that
 * fails.
 */

#include "base/attr.h"
#include "server/admin_address.h"

struct args;

#define ADMIN_WHY_MAX 1200

struct admin_place {
    struct admin_address address;
    char why[ADMIN_WHY_MAX]; /* "PATH:7 says so"; empty: the user said so, with -s */
};

/* EXIT_OK; else what is wrong has been printed. What made it guess has been printed, too. */
MUST_USE int admin_find(const struct args *args, struct admin_place *ret);
