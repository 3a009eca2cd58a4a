// SPDX-License-Identifier: MIT
#pragma once

/*
 * A client that speaks HTTP/1.x: reads heads and bodies, keeps pipelined
 * requests waiting in order, writes responses, and decides when the
 * connection goes on, lingers or ends. Idle it holds no buffer and no
 * exchange.
 */

#include <stdbool.h>

#include "base/attr.h"

struct census_item;
struct proxy;
struct roll_entry;
struct stream;

/* Takes an accepted stream. listener, its name, is borrowed and outlives the client. refused: the
 * address has too many connections (its first request is answered 429). When memory is out the
 * stream is closed. */
void client_h1_new(struct proxy *proxy, struct stream *stream, const char *listener, bool refused);

/* Of a client by its entry on the roll. Fills all that applies. */
void client_h1_see(struct roll_entry *entry, struct census_item *ret);
/* Ends it, and what runs for it (end=killed). */
void client_h1_kill(struct roll_entry *entry);
