// SPDX-License-Identifier: MIT
#pragma once

/*
 * An access record that is kept while a tunnel runs: the values known at its
 * opening, packed into one small object, for a tunnel may be idle for hours
 * and there may be thousands.
 */

#include "base/attr.h"

struct kept_record;
struct log_record;
struct slabs;

/* Packs what record tells, but for its addresses, end and the counts of the end: those the caller
 * knows when it writes the line. NULL: memory is out. */
MUST_USE struct kept_record *kept_record_new(struct slabs *slabs, const struct log_record *record);
void kept_record_free(struct slabs *slabs, struct kept_record *kept); /* accepts NULL */
/* The record again; its strings are borrowed from kept. */
void kept_record_get(const struct kept_record *kept, struct log_record *ret);
