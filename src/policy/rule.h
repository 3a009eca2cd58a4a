// SPDX-License-Identifier: MIT
#pragma once

/*
 * One line of a rule table, read: its action and its conditions with their
 * values. Knows the words and what each value looks like; what several lines
 * mean together is for compile.c. Everything it hands out lives in the arena
 * or is a view of the line's text.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/attr.h"
#include "base/str.h"

struct arena;
struct conf_messages;
struct conf_rule;
struct domains;

/* In the order in which a line's conditions are judged: those that cost least first. */
enum rule_kind {
    RULE_LISTENER,
    RULE_PORT,
    RULE_METHOD,
    RULE_FROM,
    RULE_TIME,
    RULE_USER,
    RULE_TO,
    RULE_HOST,
    RULE_HOSTS,
    RULE_KIND_COUNT,
};

/* What the words of from and to stand for; bits. */
enum rule_class {
    RULE_CLASS_ANY = 1 << 0,
    RULE_CLASS_LOOPBACK = 1 << 1,
    RULE_CLASS_LINK_LOCAL = 1 << 2,
    RULE_CLASS_PRIVATE = 1 << 3,
    RULE_CLASS_PUBLIC = 1 << 4,
    RULE_CLASS_HOST = 1 << 5, /* an address of this machine */
    RULE_CLASS_SELF = 1 << 6, /* where we listen ourselves; in to alone */
    RULE_CLASS_UNIX = 1 << 7, /* a client of a unix socket; in from alone */
};

struct rule_addrs {
    unsigned classes;
    const struct addr_net *nets;
    size_t net_count;
};

struct rule_ports {
    uint16_t first, last;
};

/* Minutes of the day; a span whose end is not after its beginning goes on into the next day. */
struct rule_span {
    unsigned char days; /* of its beginning: bit 0 is Sunday */
    unsigned short from, to;
};

/* One name or pattern of `host`, in lower case, without the leading dot of those that mean all
 * below it too. */
struct rule_host {
    struct str name;
    bool is_below; /* and all below it */
    bool is_glob;  /* holds a '*' */
};

struct rule_condition {
    enum rule_kind kind;
    bool negated;
    struct str text; /* as written, with its "not"; of an implied one what it means */
    union {
        struct rule_addrs from;
        struct {
            struct rule_addrs only;   /* to; empty where there is none */
            struct rule_addrs except; /* not to */
            bool has_only, has_except;
            bool is_implied;        /* only is the public addresses, for want of a to */
            struct str except_text; /* as written; text is that of only, if there is one */
        } to;
        struct {
            const struct rule_host *items;
            size_t count;
        } hosts;
        struct {
            const struct rule_ports *items; /* sorted, disjoint */
            size_t count;
        } ports;
        struct {
            const struct str *items;
            size_t count;
            bool is_any; /* `user *` */
        } words;         /* listeners, methods, users; sorted */
        struct {
            const struct str *paths;      /* absolute, NUL-terminated */
            const struct domains **lists; /* borrowed: as compile.c loads them; NULL before */
            size_t count;
        } files;
        struct rule_span span;
    };
};

struct rule {
    struct str action;
    struct rule_condition *conditions; /* sorted by kind, each kind once */
    size_t condition_count;
};

/* Reads a line. 0, also where it is wrong: then messages has at least one error more, with the
 * line's place and name, and *ret what could be read; -ENOMEM. Paths become absolute. */
MUST_USE int rule_parse(const struct conf_rule *line, struct arena *arena,
                        struct conf_messages *messages, struct rule *ret);

/* The condition of a kind, or NULL. */
const struct rule_condition *rule_find(const struct rule *rule, enum rule_kind kind);
/* The word of a condition. */
const char *rule_word(enum rule_kind kind);
/* The sorted words hold this one. */
bool rule_words_have(const struct str *words, size_t count, struct str word);
/* Of sorted ranges the one that holds this port, or NULL. */
const struct rule_ports *rule_ports_find(const struct rule_ports *ports, size_t count,
                                         uint16_t port);
