// SPDX-License-Identifier: MIT
#include "resolve/watched_file.h"

#include <errno.h>

#define LOOK_EVERY_MS 1000

void watched_file_init(struct watched_file *file, const char *path)
{
    *file = (struct watched_file){.path = path};
}

bool watched_file_changed(struct watched_file *file, uint64_t now_ms)
{
    struct file_stamp stamp;
    bool same;

    if (file->looked && now_ms < file->next_look_ms) {
        return false;
    }
    stamp = file_look(file->path);
    same = file->looked && !file->stale && file_stamp_eq(&file->stamp, &stamp);
    *file = (struct watched_file){
        .path = file->path,
        .next_look_ms = now_ms + LOOK_EVERY_MS,
        .looked = true,
        .stamp = stamp,
    };
    return !same;
}

void watched_file_failed(struct watched_file *file)
{
    file->stale = true;
}

int watched_file_read(const struct watched_file *file, size_t max_bytes, char **ret_text,
                      size_t *ret_len)
{
    int r = file_read(file->path, max_bytes, NULL, ret_text, ret_len);

    if (r == -ENOENT || r == -ENOTDIR || r == FILE_NOT_REGULAR) {
        *ret_text = NULL;
        *ret_len = 0;
        return 0;
    }
    return r;
}
