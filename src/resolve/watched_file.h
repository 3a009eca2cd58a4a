// SPDX-License-Identifier: MIT
#pragma once

/*
 * A file that is read again when it changes: looked at when somebody asks,
 * at most once a second, and compared by device, inode, size and times.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/file.h"

struct watched_file {
    const char *path; /* borrowed, outlives this */
    uint64_t next_look_ms;
    bool looked;
    bool stale; /* the last reading failed */
    struct file_stamp stamp;
};

void watched_file_init(struct watched_file *file, const char *path);
/* True at the first call, and when the file is another one or has changed (also: has gone, has
 * come) since true was last returned. now_ms is monotonic. */
bool watched_file_changed(struct watched_file *file, uint64_t now_ms);
/* The reading failed: the next look counts as a change. */
void watched_file_failed(struct watched_file *file);
/* The whole of a regular file: 0 and *ret_text (owned, mem_free, not NUL-terminated; may be NULL
 * when empty). A file that is not there or not regular is empty. -EFBIG beyond max_bytes, -ENOMEM,
 * or the errno of read(2). Never blocks on a pipe. */
MUST_USE int watched_file_read(const struct watched_file *file, size_t max_bytes, char **ret_text,
                               size_t *ret_len);
