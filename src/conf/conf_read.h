// SPDX-License-Identifier: MIT
#pragma once

/*
 * From file names to text: reading a file whole, finding what an include
 * pattern means, and the directory that relative paths count from. Private
 * to conf/.
 */

#include <stddef.h>
#include <sys/stat.h>

#include "base/attr.h"
#include "base/str.h"
#include "base/text.h"

#define CONF_FILE_MAX (16U * 1024 * 1024) /* bytes of one file */

/* The file's bytes, owned by the caller (mem_free). 0; negative errno, -EFBIG beyond CONF_FILE_MAX.
 */
MUST_USE int conf_read_file(int fd, char **ret, size_t *ret_len);

/* The directory of path, absolute and without a slash at its end ("" is the root); path NULL means
 * the current directory. out->full when it does not fit. */
void conf_dir_put(struct text *out, const char *path);

/* What an include line names, seen from the file that holds it: each path in order of its name.
 * Without wildcards that is the path itself, whether or not there is such a file. */
struct conf_paths {
    char **items; /* owned */
    size_t count;
};

/* 0; negative errno when a directory cannot be listed or memory is out. */
MUST_USE int conf_include_paths(const char *from_path, struct str pattern, struct conf_paths *ret);
void conf_paths_deinit(struct conf_paths *paths);
