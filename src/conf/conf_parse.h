// SPDX-License-Identifier: MIT
#pragma once

/*
 * From the text of one INI file to sections and key-value pairs with their
 * lines. Knows the syntax and nothing of the keys. Private to conf/.
 */

#include <stddef.h>

#include "base/attr.h"
#include "base/str.h"

#define CONF_LINE_MAX (64U * 1024) /* bytes of one line, without its end */
#define CONF_NAME_MAX 49           /* bytes of a key, or of what stands between the brackets */

/* Called in the order of the text. Views are valid during the call. */
struct conf_parse_events {
    /* A section begins; pairs up to the next one belong to it. "listen  lan" comes as "listen lan".
     */
    void (*section)(void *arg, struct str name, unsigned line);
    /* value is trimmed and without its comment; it may be empty. */
    void (*pair)(void *arg, struct str key, struct str value, unsigned line);
    /* The line is wrong and was left out; the pairs of a section whose header is wrong, too. */
    void (*error)(void *arg, const char *text, unsigned line);
};

/* Reads text to its end whatever is wrong in it. 0, or -EIO when the library did not understand
 * what it was given, which should not happen. */
MUST_USE int conf_parse(struct str text, const struct conf_parse_events *events, void *arg);

/* Why a key or a section's name (one or more words with single blanks) cannot be one, or NULL. */
const char *conf_name_fault(struct str name, size_t max_words);
