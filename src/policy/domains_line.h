// SPDX-License-Identifier: MIT
#pragma once

/*
 * One line of a list of host names, in any of the forms that such lists come
 * in: names, a hosts-file, filter lists for browsers. Private to domains.
 */

#include <stddef.h>

#include "base/attr.h"
#include "base/str.h"
#include "policy/domains.h"
#include "policy/domains_set.h"

struct domains_reader {
    struct domains_set set;
    struct domains_counts counts; /* names and folded are for the end */
    size_t entries;               /* names that went into the set */
    const char *fault;            /* of the last broken line; static */
};

#define DOMAINS_LINE_BROKEN 1

/* line is without LF. 0; DOMAINS_LINE_BROKEN with reader->fault set (what could be read of the line
 * is listed all the same); -ENOMEM, -EFBIG. */
MUST_USE int domains_line_read(struct domains_reader *reader, struct str line);
