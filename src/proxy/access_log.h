// SPDX-License-Identifier: MIT
#pragma once

/*
 * The access log of one worker: lines are formatted once into its own buffer
 * and handed to the writer in batches: at once when the log is quiet or a
 * terminal, every 100 ms or 32 KiB when it is not.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/text.h"
#include "io/loop.h"
#include "log/record.h"

struct log_writer;

struct access_log {
    struct log_writer *writer; /* borrowed */
    enum log_format format;
    struct loop *loop; /* borrowed */
    struct text batch; /* owned memory */
    size_t lines;
    uint64_t handed_over_ms;
    struct deadline flush;
};

/* 0 or -ENOMEM. */
MUST_USE int access_log_init(struct access_log *log, struct loop *loop, struct log_writer *writer);
/* Of the lines from now on; LOG_FORMAT_LOGFMT until then. */
void access_log_set_format(struct access_log *log, enum log_format format);
/* Hands over what waits. */
void access_log_deinit(struct access_log *log);
void access_log_put(struct access_log *log, const struct log_record *record);
