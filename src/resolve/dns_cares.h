// SPDX-License-Identifier: MIT
#pragma once

/*
 * DNS questions through c-ares, one channel per worker. Answers are never
 * given from inside the library nor from inside dns_cares_ask: they are
 * collected and handed out from the loop, so a callback may do anything.
 * With servers from resolv.conf, a change there builds a new channel and the
 * old one lives until its last question has ended.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/attr.h"
#include "resolve/dns_answer.h"

struct loop;
struct dns_cares;
struct dns_question;

/* Questions in flight per worker; more are refused rather than queued. */
#define DNS_MAX_IN_FLIGHT 4096

struct dns_cares_options {
    const struct addr *servers; /* borrowed for the call; port 0 means 53; count 0: resolv.conf */
    size_t server_count;
    const char *resolv_conf_path; /* borrowed, outlives this */
    uint64_t timeout_ms; /* tries are spread so that every server has been asked well before */
};

typedef void dns_answer_fn(void *arg, const struct dns_answer *answer);

MUST_USE int dns_cares_new(struct loop *loop, const struct dns_cares_options *options,
                           struct dns_cares **ret);
/* Ends all questions without calling anybody. Not from inside an answer. */
void dns_cares_free(struct dns_cares *dns);

/* Asks for one family of a name (NUL-terminated, copied). 0, and answer is called once from the
 * loop unless the question is dropped before; *ret is borrowed until then. -ENOBUFS: too many in
 * flight. -ENOMEM. */
MUST_USE int dns_cares_ask(struct dns_cares *dns, const char *name, enum dns_family family,
                           dns_answer_fn *answer, void *arg, struct dns_question **ret);
/* answer will not be called. Servers may be asked on behalf of it until nobody waits for any. */
void dns_question_drop(struct dns_question *question);
const char *dns_cares_version(void);
