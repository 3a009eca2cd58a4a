// SPDX-License-Identifier: MIT
#pragma once

/*
 * Bytes both ways between a client and an origin, after CONNECT or 101: each
 * direction ends for itself. Small messages are copied through the worker's
 * read buffer, bulk goes through a pipe with splice(2).
 */

#include <stdint.h>

#include "base/str.h"

struct census_item;
struct downstream_detached;
struct log_record;
struct proxy;
struct roll_entry;
struct stream;

/* Takes both streams and the buffers of client, also on failure. surplus: bytes of the origin read
 * already (copied). record is copied whole, its strings too. When memory is out everything is
 * closed and the log line says so. */
void tunnel_start(struct proxy *proxy, struct downstream_detached *client, struct stream *origin,
                  struct str surplus, const struct log_record *record, uint64_t start_mono_ms);
/* Cuts every tunnel of this worker with that end value. */
void tunnel_cut_all(struct proxy *proxy, const char *end);
/* Of a tunnel by its entry on the roll. Fills all that applies. */
void tunnel_see(struct roll_entry *entry, struct census_item *ret);
/* Cuts it (end=killed). */
void tunnel_kill(struct roll_entry *entry);
