// SPDX-License-Identifier: MIT
#pragma once

/*
 * The daemon: opens listeners, starts the workers, and waits for signals on
 * the main thread until the drain is over. Reloads stand in reload.c.
 */

#include "base/attr.h"

struct conf_load_options;
struct conf_messages;
struct snapshot;

/* Before the configuration is read, which may take a while: HUP and USR1, that would end the
 * program, wait until it serves. */
void server_hold_signals(void);
/* Serves until TERM or INT. snapshot is taken; source is where it came from, for reloads; warnings
 * are logged. Returns the exit code: 0, or 1 with a message (on stderr before the log is up). */
int server_run(struct snapshot *snapshot, const struct conf_load_options *source,
               const struct conf_messages *warnings);
