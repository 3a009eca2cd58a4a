// SPDX-License-Identifier: MIT
#pragma once

/*
 * A compiled rule table: its lines in their order, and indexes over them, so
 * that a walk looks only at lines that the request's host and addresses may
 * match. Immutable once built.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/str.h"
#include "conf/conf.h"
#include "policy/lines.h"
#include "policy/names.h"
#include "policy/nets.h"
#include "policy/rule.h"

struct arena;

enum line_action { LINE_DENY, LINE_REPORT, LINE_ALLOW };

struct line {
    struct str name; /* borrowed from the conf, as text and origin's file */
    struct str text;
    struct conf_origin origin;
    enum line_action action;
    uint32_t number; /* in the order of the walk, from 0 */
    struct rule rule;
    struct str private_details; /* of an allow with an implied `to public`: what to say when only
                                   that was in the way */
};

struct table {
    struct line *lines; /* in the arena, as all the rest */
    uint32_t count;
    struct names names;
    struct nets from, to, except; /* except: of `not to` */
    struct nets ports;
    struct lines always;       /* to be looked at whatever names, addresses and ports are */
    struct lines always_early; /* the same while the address is not known */
    unsigned from_classes;     /* bits of enum rule_class that any line asks for */
    unsigned to_classes;
};

/* Builds the indexes over lines (count of them), which live in the arena as long as the table.
 * 0 or -ENOMEM. */
MUST_USE int table_init(struct table *ret, struct line *lines, uint32_t count, struct arena *arena);
