// SPDX-License-Identifier: MIT
#pragma once

/*
 * `viaduct explain`: what would happen to a request, and why. Asks the same
 * functions as the proxy, connects to nothing, and sends no query but the one
 * for the name. A question is read from words, answered, and shown: three
 * steps, so that it may be asked and answered in different processes.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "base/addr.h"
#include "base/attr.h"
#include "base/host.h"
#include "base/str.h"
#include "policy/local_time.h"
#include "policy/policy.h"
#include "resolve/resolver.h"

struct args_explain;
struct explain_job;
struct loop;
struct snapshot;

#define EXPLAIN_MAX_ADDRS (2 * RESOLVE_MAX_ADDRS)

/* Views are borrowed from the words and the configuration that it was read from. */
struct explain_question {
    struct str method;
    struct str target; /* as it was written */
    struct host host;
    uint16_t port;
    struct addr client;
    struct str listener;
    struct str user;      /* empty: shows no credentials */
    bool is_unknown_user; /* there is no such user in auth.users */
    struct local_time time;
    struct str time_text;                 /* as it was written; empty: not told */
    struct addr addrs[EXPLAIN_MAX_ADDRS]; /* to take for the host's; ports are 0 */
    size_t addr_count;                    /* 0: resolve it */
};

#define EXPLAIN_WRONG 1

/* Who there are is known by the users file as snapshot was loaded with it. 0; EXPLAIN_WRONG with
 * one line (no LF) in error, when a word means nothing; -ENOMEM. */
MUST_USE int explain_read(const struct args_explain *words, const struct snapshot *snapshot,
                          struct explain_question *ret, char *error, size_t cap);

/* How far the question came. */
enum explain_end {
    EXPLAIN_BEFORE_DNS, /* the first walk ended it */
    EXPLAIN_UNRESOLVED, /* the host has no address: see dns */
    EXPLAIN_JUDGED,     /* each address has its verdict */
};

struct explain_address {
    struct addr addr; /* with the port */
    struct policy_verdict verdict;
};

/* Views live as long as the snapshot. */
struct explain_answer {
    enum explain_end end;
    struct policy_verdict verdict; /* of the whole; open: it hangs on what was not told */
    bool was_asked;                /* the addresses are the resolver's */
    enum resolve_status dns;
    struct explain_address addrs[EXPLAIN_MAX_ADDRS];
    size_t addr_count;
    bool is_user_asked; /* a walk has asked for credentials */
    bool has_nearest;   /* the allow line that comes nearest, where the verdict is another */
    struct policy_line nearest;
};

/* 0; negative errno with one line (no LF) in error when the machine's addresses cannot be read, or
 * something is out: memory, descriptors. */
MUST_USE int explain_ask(const struct explain_question *question, const struct snapshot *snapshot,
                         struct explain_answer *ret, char *error, size_t cap);

/* The same on a loop of the caller's: done is called from it, later and once, when answer is
 * filled; explain_end frees, after done, from it, or instead of it. Pointers are borrowed until
 * then. */
MUST_USE int explain_begin(const struct explain_question *question, const struct snapshot *snapshot,
                           struct loop *loop, void (*done)(void *arg), void *arg,
                           struct explain_answer *answer, struct explain_job **ret, char *error,
                           size_t cap);
void explain_end(struct explain_job *job); /* accepts NULL */

/* The exit status: 0 allowed, 1 denied or credentials are wanted, 3 not decided. */
int explain_status(const struct explain_answer *answer);

/* For a person, with colours if wanted; as one line of JSON. What cannot be written shows in
 * ferror(3). */
void explain_show(const struct explain_question *question, const struct explain_answer *answer,
                  bool colours, FILE *out);
void explain_show_json(const struct explain_question *question, const struct explain_answer *answer,
                       FILE *out);
