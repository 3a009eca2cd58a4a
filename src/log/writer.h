// SPDX-License-Identifier: MIT
#pragma once

/*
 * The log writer: a thread that blocks in write(2) so that no worker ever
 * does. Lines arrive in batches through a bounded queue; what does not fit
 * is dropped whole, counted, and a line says how many. It never changes the
 * flags of a descriptor it was given. A line is written whole or not at all:
 * a line begun is finished first, after ENOSPC or EPIPE too, or taken back
 * from a file that is given up for a new one.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/str.h"
#include "log/log.h"

struct log_writer;

struct log_writer_options {
    const char *path;    /* NULL: stdout, else a file, opened for append, mode 0640 */
    size_t buffer_bytes; /* log.buffer: what may wait; 4096 at least */
    bool json;           /* its own lines (of what was dropped) as JSON */
};

/* Opens the file and starts the thread. 0, or negative errno (of open(2), pthread_create(3));
 * -EBADF when stdout is closed, -ENXIO for a fifo that nobody reads. */
MUST_USE int log_writer_new(const struct log_writer_options *options, struct log_writer **ret);
/* Lets the queue drain for at most deadline_ms, whatever the reader does; what is lost is counted
 * on stderr. Frees, or leaks on purpose while the thread still hangs in write(2): the process ends
 * next. */
void log_writer_stop(struct log_writer *writer, unsigned deadline_ms);

/* What each line of that level begins with: its priority where stdout is the journal, else nothing.
 * JOURNAL_PREFIX_LEN bytes at most. */
struct str log_writer_prefix(const struct log_writer *writer, enum log_level level);
/* From any thread, never blocks: line_count whole lines, each ended by '\n', copied. Returns false
 * when they were dropped (and counted). */
bool log_writer_put(struct log_writer *writer, struct str lines, size_t line_count);
/* From any thread: the form of its own lines from now on. */
void log_writer_set_json(struct log_writer *writer, bool json);
/* Opens the path again before the next write (USR1). Where that fails a line says so and the old
 * file stays. False: it is stdout, and there is nothing to be done. */
bool log_writer_reopen(struct log_writer *writer);
/* Lines dropped since the start. */
uint64_t log_writer_dropped(struct log_writer *writer);
/* Writes that failed since the start (EPIPE, ENOSPC, ...); each was tried again. */
uint64_t log_writer_errors(struct log_writer *writer);
/* The destination is a terminal: hand over every line at once. */
bool log_writer_is_terminal(const struct log_writer *writer);
