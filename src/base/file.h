// SPDX-License-Identifier: MIT
#pragma once

/*
 * Files that are read whole, and how to tell that one has changed since:
 * another file under the same name (device, inode), another size, other
 * times.
 */

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <time.h>

#include "base/attr.h"

struct stat;

/* All zero: no file. */
struct file_stamp {
    bool exists;
    dev_t dev;
    ino_t ino;
    off_t size_bytes;
    struct timespec mtime, ctime;
};

#define FILE_NOT_REGULAR 1 /* a directory, a pipe, a device */

struct file_stamp file_stamp_of(const struct stat *st);
/* Of what stands at path now; all zero where nothing can be seen. */
struct file_stamp file_look(const char *path);
/* The file was changed just now: whoever writes it in place may not be done, and within the clock's
 * grain another change would leave the same stamp. */
bool file_stamp_is_fresh(const struct file_stamp *stamp);
#define FILE_FRESH_MS 100
bool file_stamp_eq(const struct file_stamp *a, const struct file_stamp *b);

/* Opens it to be read: 0, *ret_fd (the caller closes it) and the stamp from before anything is
 * read. FILE_NOT_REGULAR, or the errno of open(2) or fstat(2). Never blocks on a pipe. */
MUST_USE int file_open(const char *path, struct file_stamp *ret_stamp, int *ret_fd);
/* The whole file: 0 and *ret_text (owned, mem_free, not NUL-terminated; may be NULL when empty)
 * with its stamp, as file_open has it. -EFBIG beyond max_bytes, -ENOMEM, what file_open returns, or
 * the errno of read(2). ret_stamp may be NULL. */
MUST_USE int file_read(const char *path, size_t max_bytes, struct file_stamp *ret_stamp,
                       char **ret_text, size_t *ret_len);
