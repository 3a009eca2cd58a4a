// SPDX-License-Identifier: MIT
#pragma once

/*
 * Whether one line of a rule table leaves anything to another behind it.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "policy/table.h"

/* Looking at every pair of lines could take for ever where there are very many; so that only so
 * much is compared. */
struct cover {
    const struct table *table;
    uint64_t left; /* comparisons */
};

/* The first line before line that is yes whenever line is (and no report), or NULL. Sure where it
 * finds one; some that only a person would see it does not find. *ret_save_inner: but for addresses
 * with an IPv4 address inside, all of which that line wants to match, and line but one. */
const struct line *cover_find(struct cover *cover, uint32_t line, bool *ret_save_inner);
