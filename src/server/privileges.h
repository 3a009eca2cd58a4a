// SPDX-License-Identifier: MIT
#pragma once

/*
 * Becoming server.user once everything that needs root is open.
 */

#include <stddef.h>

#include "base/attr.h"

/* user NULL: nothing. Gives up root for good: groups, group, user. 0, or negative errno with one
 * line in error. */
MUST_USE int privileges_drop(const char *user, char *error, size_t cap);
