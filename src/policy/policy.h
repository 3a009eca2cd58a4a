// SPDX-License-Identifier: MIT
#pragma once

/*
 * The one place that decides what is let through. policy_decide is pure: no
 * I/O, no allocation, no lock; facts are plain values, so the same function
 * serves the proxy and table tests. A verdict names the rule that made it.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/attr.h"
#include "base/host.h"
#include "base/str.h"

struct conf;
struct policy;

/* When a decision is asked for; later stages know more facts. */
enum policy_stage {
    POLICY_CONNECTION, /* a client has connected */
    POLICY_REQUEST,    /* the head is read, nothing is resolved: first walk */
    POLICY_ADDRESS,    /* one address that would be dialled: second walk */
    POLICY_HELLO,      /* a tunnel's ClientHello has been read */
};

struct policy_facts {
    enum policy_stage stage;
    struct addr client;
    struct str listener;
    struct str method;
    const struct host *host; /* borrowed; NULL before a request */
    uint16_t port;
    struct str user;     /* empty: no valid credentials */
    struct addr address; /* POLICY_ADDRESS: would be dialled, port included */
    bool own_via;        /* the request carries this instance's own Via entry */
    /* Our listeners; an any-address stands for every address of the machine. */
    const struct addr *own_addresses;
    size_t own_address_count;
};

enum policy_action {
    POLICY_ALLOW,
    POLICY_DENY,
    POLICY_OPEN, /* first walk only: the addresses decide */
};

struct policy_verdict {
    enum policy_action action;
    struct str rule;    /* the deciding rule's name or builtin:*; lives as long as the policy */
    struct str details; /* one more sentence for client and log; may be empty; no addresses */
};

/* Compiles conf's rules; with none, the built-in "local = allow from loopback,unix to any". 0 or
 * -ENOMEM. */
MUST_USE int policy_new(const struct conf *conf, struct policy **ret);
void policy_free(struct policy *policy);

/* POLICY_CONNECTION, POLICY_REQUEST: deny, or open. POLICY_ADDRESS: allow or deny. */
void policy_decide(const struct policy *policy, const struct policy_facts *facts,
                   struct policy_verdict *ret);
