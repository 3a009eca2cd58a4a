// SPDX-License-Identifier: MIT
#pragma once

/*
 * What rule.c (the words of a line) and those that read the values of one
 * condition share: rule_value.c, rule_time.c. Private to them.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/attr.h"
#include "base/str.h"
#include "policy/rule.h"

struct arena;
struct conf_messages;
struct conf_rule;

#define RULE_SHOWN_MAX 80 /* bytes of a bad word that a message shows */

struct rule_reader {
    const struct conf_rule *line; /* borrowed */
    struct arena *arena;
    struct conf_messages *messages;
    struct str rest; /* of the line's text */
    int error;       /* -ENOMEM once memory was out */
};

/* Adds an error about the line. */
void rule_complain(struct rule_reader *reader, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* What a message shows of word. */
struct str rule_shown(struct str word);

/* The next item of a comma-separated list. False at its end, and at an empty item, which is told
 * and leaves *failed true. */
bool rule_next_item(struct rule_reader *reader, struct str *list, struct str *ret, bool *failed);

/* Reads what stands behind a condition's word into *ret, whose kind and negated are set. False: it
 * is wrong, and that was told, or memory is out. */
MUST_USE bool rule_read_addrs(struct rule_reader *reader, struct str value,
                              const struct rule_condition *condition, struct rule_addrs *ret);
MUST_USE bool rule_read_hosts(struct rule_reader *reader, struct str value,
                              struct rule_condition *ret);
MUST_USE bool rule_read_files(struct rule_reader *reader, struct str value,
                              struct rule_condition *ret);
MUST_USE bool rule_read_ports(struct rule_reader *reader, struct str value,
                              struct rule_condition *ret);
MUST_USE bool rule_read_words(struct rule_reader *reader, struct str value,
                              struct rule_condition *ret);
/* days or clock may be empty, not both. */
MUST_USE bool rule_read_span(struct rule_reader *reader, struct str days, struct str clock,
                             struct rule_condition *ret);
