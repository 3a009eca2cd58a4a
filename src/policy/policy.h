// SPDX-License-Identifier: MIT
#pragma once

/*
 * The one place that decides what is let through: [access], compiled once.
 * policy_decide is pure: no I/O, no allocation, no lock; facts are plain
 * values, so the same function serves the proxy, `viaduct explain` and table
 * tests. A verdict names the line that made it and where that line stands.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/attr.h"
#include "base/host.h"
#include "base/str.h"
#include "conf/conf.h"
#include "policy/local_time.h"

struct domains_shelf;
struct machine_addrs;
struct policy;

/* When a decision is asked for; later stages know more facts. */
enum policy_stage {
    POLICY_CONNECTION, /* a client has connected */
    POLICY_REQUEST,    /* the head is read, nothing is resolved: first walk */
    POLICY_ADDRESS,    /* one address that would be dialled: second walk */
    POLICY_HELLO,      /* a tunnel's ClientHello has been read */
};

/* All pointers and views are borrowed for the call. */
struct policy_facts {
    enum policy_stage stage;
    struct addr client;
    struct str listener;
    struct str method;
    const struct host *host; /* NULL before a request */
    uint16_t port;
    struct str user;        /* empty: the client has shown no valid credentials */
    struct local_time time; /* when the request came */
    struct addr address; /* from POLICY_ADDRESS on: would be dialled, port included. Before, a host
                            that is a literal is its own address */
    bool own_via;        /* the request carries this instance's own Via entry */
    const struct machine_addrs *machine; /* NULL: not known; loopback alone is this machine */
    /* Our listeners and the admin address; an any-address stands for every one of the machine. */
    const struct addr *own_addresses;
    size_t own_address_count;
};

/* What a line may have to wait for; bits. */
enum policy_need {
    POLICY_NEEDS_REQUEST = 1 << 0,
    POLICY_NEEDS_ADDRESS = 1 << 1,
    POLICY_NEEDS_USER = 1 << 2,
    POLICY_NEEDS_TIME = 1 << 3, /* for explain alone: a proxy knows what time it is */
};

enum policy_action {
    POLICY_DENY,
    POLICY_CHALLENGE, /* 407: rule asks for credentials */
    POLICY_OPEN,      /* more facts decide: those of needs */
    POLICY_ALLOW,     /* from POLICY_ADDRESS on */
};

/* The names that decide without a line. */
enum policy_builtin {
    POLICY_BUILTIN_LOOP,
    POLICY_BUILTIN_DEFAULT,
    POLICY_BUILTIN_PRIVATE_ADDRESS,
    POLICY_BUILTIN_COUNT,
};

#define POLICY_REPORTS_MAX 8 /* names of report lines that one verdict holds */

/* Views live as long as the policy. */
struct policy_verdict {
    enum policy_action action;
    unsigned needs;            /* POLICY_OPEN: bits of enum policy_need */
    struct str rule;           /* the deciding line's name or builtin:*; empty while open */
    uint32_t row;              /* of policy_row, where rule is not empty */
    struct conf_origin origin; /* where that line stands; built-in for builtin:* */
    struct str details; /* one more sentence for client and log; may be empty; no addresses. It may
                           name a rule: to be shown only where rule is */
    struct str would_deny[POLICY_REPORTS_MAX]; /* report lines that the walk passed and that hold */
    size_t would_deny_count;
};

/* Compiles conf's rules, which must live as long as the policy does; errors and warnings go to
 * messages. Lists of names are taken from previous (NULL: none), as far as their files are the
 * same, else loaded. 0, also where messages has errors now: then the policy is of no use but to be
 * freed; -ENOMEM. */
MUST_USE int policy_new(const struct conf *conf, const struct policy *previous,
                        struct conf_messages *messages, struct policy **ret);
void policy_free(struct policy *policy); /* accepts NULL */

/* POLICY_CONNECTION: deny, or open. POLICY_REQUEST: deny, challenge, or open. From POLICY_ADDRESS
 * on: deny, challenge or allow, and open for explain, when the answer hangs on the time. */
void policy_decide(const struct policy *policy, const struct policy_facts *facts,
                   struct policy_verdict *ret);
/* Of several addresses: *sum, the verdict on those before (at first on the first one), becomes that
 * on all of them with next. One allowed: that; else challenged: that; else the first's. */
void policy_sum_up(struct policy_verdict *sum, const struct policy_verdict *next);
/* Facts beyond address and request that some line asks for; bits of enum policy_need. */
unsigned policy_needs(const struct policy *policy);

/* Calls tell for each list of names whose file was read anew, is new or is no longer there, with
 * how many names it has (0 where it is not there). path is borrowed. */
void policy_diff_lists(const struct policy *before, const struct policy *after,
                       void (*tell)(void *arg, const char *path, size_t before, size_t after),
                       void *arg);

/* Calls tell for each method that a condition names, with the line's name and place. The room that
 * knows which methods there are is above this one. */
void policy_each_method(const struct policy *policy,
                        void (*tell)(void *arg, struct str method, struct str rule,
                                     struct conf_origin origin),
                        void *arg);

/* ---- For explain: line by line ---- */

enum policy_answer { POLICY_NO, POLICY_LINE_OPEN, POLICY_YES };

/* How one line stands to the facts. Views live as long as the policy. */
struct policy_line {
    struct str name;
    struct str text; /* as it is written */
    struct conf_origin origin;
    struct str action; /* "allow", "deny", "report" */
    enum policy_answer answer;
    unsigned needs; /* POLICY_LINE_OPEN: bits of enum policy_need */
    /* POLICY_NO: the first condition that is no, as written ("port 80,443"), or "to public" where
     * an allow line means that without saying it; and how many are no. */
    struct str failed;
    size_t failed_count;
    bool is_for_others; /* one of those is about the client: from, listener, user */
    bool is_elsewhere;  /* one of those is about where it leads: host, hosts, to */
};

/* Whatever may decide: each enum policy_builtin, then the lines in the order of the walk. */
size_t policy_row_count(const struct policy *policy);
/* Its name, text, origin and action alone; of a builtin the text says when it decides. */
void policy_row(const struct policy *policy, uint32_t row, struct policy_line *ret);

size_t policy_line_count(const struct policy *policy);
/* index counts from 0, in the order of the walk. */
void policy_explain_line(const struct policy *policy, size_t index,
                         const struct policy_facts *facts, struct policy_line *ret);
/* The allow line that comes nearest to a yes: rather one for this client than one for others, then
 * that with the fewest conditions that are no, of several the first. False: there is no allow line.
 */
MUST_USE bool policy_nearest_allow(const struct policy *policy, const struct policy_facts *facts,
                                   struct policy_line *ret);

/* Writes a rule's text as it could stand in any file: its paths made absolute. For conf_dump. */
void policy_put_rule(const struct conf_rule *rule, void (*put)(void *arg, struct str text),
                     void *arg);
