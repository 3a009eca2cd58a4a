// SPDX-License-Identifier: MIT
#pragma once

/*
 * What a configuration remembers about itself beside its values: the memory
 * of its strings, its sections, and where each value came from. Private to
 * conf/.
 */

#include <stddef.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/map.h"
#include "base/ref.h"
#include "base/str.h"
#include "conf/conf.h"

struct conf_section_kind;

/* Where the value of one key in one section came from. */
struct conf_slot {
    struct conf_origin origin; /* of the first line */
    size_t lines;              /* 0: the built-in default */
};

struct conf_section {
    struct conf_section *next; /* in the order of their first lines; a kind's own order is kept */
    const struct conf_section_kind *kind;
    const char *name; /* "server", "listen lan" */
    size_t listener;  /* index in conf->listeners, of [listen NAME] */
    struct conf_origin origin;
    struct conf_slot *slots; /* one for each row of conf_keys */
};

struct conf_state {
    struct ref ref;
    struct arena_pool pool;
    struct arena arena; /* owns strings and sections */
    struct conf_section *sections;
    struct map rule_names; /* struct rule_name of conf_rules.c: TABLE.NAME to the rule */
};

/* A NUL-terminated copy that lives as long as the configuration, or NULL when memory is out. */
MUST_USE const char *conf_keep(struct conf_state *state, struct str text);

/* The struct that the keys of this section write to: conf itself, or its listener. */
void *conf_section_base(struct conf *conf, const struct conf_section *section);
const void *conf_section_base_const(const struct conf *conf, const struct conf_section *section);

/* conf_rules.c: the rule TABLE.NAME, or NULL. */
struct conf_rule *conf_rule_find(const struct conf *conf, struct str full_name);

/* conf_check.c: what one value alone cannot tell. Adds errors and warnings, and looks groups up. */
void conf_check(struct conf *conf, struct conf_messages *messages);
