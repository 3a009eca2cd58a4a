// SPDX-License-Identifier: MIT
#pragma once

/*
 * The one table of keys. Whatever knows a key by name (reader, dump, `check`,
 * the example file, the manual) knows it from here or is tested against it.
 * Private to conf/.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/str.h"

/* How a value is read, stored and written; conf_value.c has one row of functions for each. */
enum conf_type {
    CONF_TYPE_COUNT,   /* uint64_t: decimal digits */
    CONF_TYPE_SIZE,    /* uint64_t bytes: digits and K, M or G */
    CONF_TYPE_TIME,    /* uint64_t milliseconds: digits and ms, s, m, h or d */
    CONF_TYPE_RATE,    /* struct conf_rate: a count, '/' and s, m, h or d */
    CONF_TYPE_BOOL,    /* bool: on, off */
    CONF_TYPE_WORD,    /* an enum: one of words */
    CONF_TYPE_TOKEN,   /* const char *: may stand in Via and Proxy-Status as it is */
    CONF_TYPE_TEXT,    /* const char *: printable ASCII */
    CONF_TYPE_ACCOUNT, /* const char *: a user or a group */
    CONF_TYPE_PATH,    /* const char *: made absolute */
    CONF_TYPE_MODE,    /* mode_t: octal permission bits */
    CONF_TYPE_BINDS,   /* list: what a listener binds */
    CONF_TYPE_SERVERS, /* list: DNS servers */
    CONF_TYPE_BIND,    /* struct conf_bind: one address to listen on, auto or off */
    CONF_TYPE_ADDRS,   /* list: networks and classes of clients */
};

/* Whether a reload can change it. */
enum conf_reload { CONF_RELOAD, CONF_RESTART };

struct conf_key {
    const char *section;
    const char *name;
    enum conf_type type;
    size_t offset;            /* of the field in struct conf, in [listen] in struct conf_listener */
    const char *default_text; /* in the syntax of the file */
    uint64_t min, max;        /* of a number, after its unit */
    bool may_be_auto;         /* "auto" is CONF_AUTO */
    bool zero_is_off;         /* 0 is allowed beside min..max, and means none or no limit */
    const char *none; /* the text that stands for NULL or the empty list; NULL: nothing does */
    const char *const *words; /* of CONF_TYPE_WORD, by enum value, NULL at the end */
    enum conf_reload reload;
    const char *help; /* one line */
};

/* Keys of one section stand together, in the order in which they are shown. */
extern const struct conf_key conf_keys[];
extern const size_t conf_key_count;

/* A kind of section. */
struct conf_section_kind {
    const char *word;
    bool is_named; /* has a name of its own, as in [listen NAME] */
    bool is_rules; /* holds the lines of a rule table; stands only where somebody wrote it */
    bool is_later; /* of a later version: an error that says so */
};

extern const struct conf_section_kind conf_section_kinds[];
extern const size_t conf_section_kind_count;

const struct conf_section_kind *conf_section_kind_find(struct str word);
const struct conf_key *conf_key_find(const char *section, struct str name);
/* Position in conf_keys. */
size_t conf_key_index(const struct conf_key *key);

/* The known word nearest to a mistyped one (of those usable), or NULL when none is near. */
const char *conf_section_suggest(struct str word);
const char *conf_key_suggest(const char *section, struct str name);
/* Another section that has a key of this name, or NULL. */
const char *conf_key_other_section(struct str name);
