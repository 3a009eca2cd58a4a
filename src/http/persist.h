// SPDX-License-Identifier: MIT
#pragma once

/*
 * What an origin's messages say about the life of their connection beyond
 * whether it goes on (h1_head.c): how long it may be idle, and whom it serves.
 * Pure.
 */

#include <stdbool.h>
#include <stdint.h>

#include "http/field.h"

/* A field of that id, Authorization or WWW-Authenticate, names a scheme that authenticates a
 * connection and not a request, against RFC 9110 11.1: NTLM, Negotiate. */
bool persist_is_bound(const struct field_list *fields, enum field_id id);
/* How long the connection may be idle by Keep-Alive: timeout=N, less a second, so that our request
 * does not cross the origin's FIN. before_ms if they say nothing. */
uint64_t persist_idle_ms(const struct field_list *fields, uint64_t before_ms);
