// SPDX-License-Identifier: MIT
#pragma once

/*
 * The commands that a running daemon answers: status, rules, connections,
 * kill, reload, and explain with -s. Finds its admin socket, asks, and prints
 * what it says.
 */

#include "base/attr.h"

struct args;

/* Returns the exit code; what could not be written shows in ferror(stdout). */
MUST_USE int remote_run(const struct args *args);
