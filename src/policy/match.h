// SPDX-License-Identifier: MIT
#pragma once

/*
 * How the lines of a table stand to the facts of one request. A view is made
 * once for a decision and holds what all its lines ask about: classes of the
 * addresses, and what the indexes found. Nothing is allocated; a view is
 * large, and made to lie on the stack.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "policy/lines.h"
#include "policy/names.h"
#include "policy/policy.h"
#include "policy/table.h"

/* How a line or condition stands. 0 is yes; bits of enum policy_need are what it waits for; beside
 * this bit they mean nothing. So the states of a line's conditions are ORed. */
#define MATCH_YES 0U
#define MATCH_NO (1U << 31)

/* One of the addresses that a dialled one stands for: itself, and the IPv4 addresses inside. */
#define MATCH_FORMS_MAX (1 + ADDR_EMBEDDED_MAX)

struct match_form {
    unsigned classes; /* bits of enum rule_class */
    struct lines_hits to, except;
};

struct match_view {
    const struct table *table;
    const struct policy_facts *facts;
    bool request_known;
    bool address_known;
    unsigned missing[RULE_KIND_COUNT]; /* what the facts lack to judge such a condition */
    unsigned client_classes;
    struct lines_hits from;
    struct lines_hits ports;
    struct str host_name; /* empty: unknown, or an address */
    struct names_hits names;
    unsigned form_count;
    struct match_form forms[MATCH_FORMS_MAX];
};

/* All is borrowed for the view's life. */
void match_view_init(struct match_view *view, const struct table *table,
                     const struct policy_facts *facts);

unsigned match_condition(const struct match_view *view, uint32_t line,
                         const struct rule_condition *condition);
unsigned match_line(const struct match_view *view, uint32_t line);
/* The same, but as if an allow without `to` reached every address. */
unsigned match_line_anywhere(const struct match_view *view, uint32_t line);
/* Of a `to` condition that is no: whether its `not to` alone is the reason. */
bool match_fails_by_except(const struct match_view *view, uint32_t line,
                           const struct rule_condition *condition);

/* The lines that may be something other than no, in their order. */
struct match_walk {
    const struct match_view *view;
    uint32_t line;  /* where it is; the request unknown, it goes from line to line */
    unsigned count; /* of lists that have lines left */
    struct lines lists[1 + (4 + MATCH_FORMS_MAX) * LINES_HITS_MAX];
};

void match_walk_init(struct match_walk *walk, const struct match_view *view);
/* False at the end. */
bool match_walk_next(struct match_walk *walk, uint32_t *ret);

/* The address that the facts would dial, if it is known: a literal is its own. */
bool match_address(const struct policy_facts *facts, struct addr *ret);
/* Whether a connection to address and port would come out at one of our own listeners. An
 * unspecified one of them listens on every address of the machine. An IPv4 address inside address
 * counts too. */
bool match_own(const struct policy_facts *facts, const struct addr *address);
