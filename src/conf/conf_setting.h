// SPDX-License-Identifier: MIT
#pragma once

/*
 * What the setters of the types share. They return 0, CONF_VALUE_BAD with
 * the reason in *why, or -ENOMEM. Private to conf_value.c and conf_list.c.
 */

#include "base/attr.h"
#include "base/str.h"
#include "base/text.h"

struct conf_key;
struct conf_place;

struct conf_setting {
    const struct conf_key *key;
    void *base;  /* struct conf or struct conf_listener */
    void *field; /* base + key->offset */
    const struct conf_place *place;
    struct text *why;
};

/* The path seen from the place where it stands. */
MUST_USE int conf_setting_path(const struct conf_setting *s, struct str path, const char **ret);

/* Add each item of the value; the first bad one ends it. */
MUST_USE int conf_setting_binds(const struct conf_setting *s, struct str value);
MUST_USE int conf_setting_servers(const struct conf_setting *s, struct str value);
MUST_USE int conf_setting_addrs(const struct conf_setting *s, struct str value);
/* auto, off or the one address. */
MUST_USE int conf_setting_bind(const struct conf_setting *s, struct str value);
