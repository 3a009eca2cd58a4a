// SPDX-License-Identifier: MIT
#pragma once

/*
 * Lines for the journal: where the service manager has tied a descriptor to
 * it, a line begins with its priority, as sd-daemon(3) has it. Anybody else
 * would read that as part of the line.
 */

#include <stdbool.h>

#include "base/str.h"
#include "log/log.h"

/* fd is what JOURNAL_STREAM (DEVICE:INODE) names. Reads the environment: before there are threads.
 */
bool journal_has(int fd);
#define JOURNAL_PREFIX_LEN 3U
/* "<N>" by syslog(3): <3> for LOG_ERROR to <7> for LOG_DEBUG. */
struct str journal_prefix(enum log_level level);
/* The same where fd is the journal, else nothing. */
struct str journal_prefix_on(int fd, enum log_level level);
