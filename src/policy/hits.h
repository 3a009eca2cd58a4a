// SPDX-License-Identifier: MIT
#pragma once

/*
 * How often each row of a policy (see policy_row) was the one that decided,
 * or, of a report line, would have denied. Every worker writes counters of
 * its own, without lock or shared cache line; anyone may sum them up. A
 * line that keeps its name through a reload keeps its count.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/str.h"

struct hits;
struct policy;

/* For the policy, which must live as long. previous (NULL: none) is of the policy before it, whose
 * names these counts go on from. 0 or -ENOMEM. */
MUST_USE int hits_new(const struct policy *policy, const struct hits *previous, size_t workers,
                      struct hits **ret);
void hits_free(struct hits *hits); /* accepts NULL */

/* These are for the worker of that number alone. It goes by this policy from now on, and by that of
 * from, the previous of hits_new, no longer. */
void hits_carry(struct hits *hits, const struct hits *from, size_t worker);
void hits_count(struct hits *hits, size_t worker, uint32_t row);
/* By name, where the row is not known: of another policy, or of a report. No such row: nothing. */
void hits_count_named(struct hits *hits, size_t worker, struct str name);

/* From any thread: the sum over all workers. */
uint64_t hits_sum(const struct hits *hits, uint32_t row);
