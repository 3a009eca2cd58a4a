// SPDX-License-Identifier: MIT
#pragma once

/*
 * One value: from the text of the file into its field, and back. Every type
 * of the key table has a setter and a getter here, and what the getter
 * writes the setter reads again. Private to conf/.
 */

#include "base/attr.h"
#include "base/str.h"
#include "base/text.h"
#include "conf/conf.h"
#include "conf/conf_keys.h"

struct conf_state;

#define CONF_VALUE_BAD 1         /* the value is wrong; nothing was stored */
#define CONF_VALUE_TEXT_MAX 8192 /* bytes that one value takes in its getter's spelling */

/* Where a value stands. */
struct conf_place {
    struct conf_state *state; /* keeps strings */
    const char *dir;          /* relative paths count from here */
    struct conf_origin origin;
};

/* Stores the value in base's field (a list: adds to it). 0; CONF_VALUE_BAD, with the reason in
 * *why; -ENOMEM. */
MUST_USE int conf_value_set(const struct conf_key *key, void *base, struct str value,
                            const struct conf_place *place, struct text *why);
/* Empties a list; nothing for a scalar, which the next set replaces. */
void conf_value_clear(const struct conf_key *key, void *base);
bool conf_value_is_list(const struct conf_key *key);
/* The effective value, of a list its item number index. */
void conf_value_put(const struct conf_key *key, const void *base, size_t index, struct text *out);
/* Items of a list; 1 for a scalar. */
size_t conf_value_items(const struct conf_key *key, const void *base);
/* conf_equal.c: whether two bases have the same value, of a list the same items in the same order,
 * whatever of it is shown. */
bool conf_value_eq(const struct conf_key *key, const void *a, const void *b);
/* One address of a listener, as it is written in the file. */
void conf_bind_put(const struct conf_bind *bind, struct text *out);
/* A network or class, as it is written in the file. */
void conf_addr_put(const struct conf_addr *addr, struct text *out);
/* May stand in an INI file as it is: no control character, nothing that begins a comment. */
bool conf_value_is_plain(struct str value);
