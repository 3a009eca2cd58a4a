// SPDX-License-Identifier: MIT
#pragma once

/*
 * What is different between two configurations, key by key and rule by rule:
 * for the log of a reload.
 */

#include <stdbool.h>

#include "base/str.h"

struct conf;

/* Views are borrowed for the call. */
struct conf_change {
    struct str name;   /* "server.grace", "listen lan.address", "access.office" */
    struct str before; /* as in the file; empty: was not there, or empty */
    struct str after;
    bool needs_restart; /* the value before stays in force until then */
    bool is_old;        /* the same as last time: that restart is still due */
};

/* Calls tell for each. Values are compared, not what is shown of them. Of a table whose lines are
 * the same but in another order, TABLE alone is told, with their names. Of keys that need a restart
 * the values in force are those of started, however often they have changed since. */
void conf_diff(const struct conf *started, const struct conf *before, const struct conf *after,
               void (*tell)(void *arg, const struct conf_change *change), void *arg);
