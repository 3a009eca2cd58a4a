// SPDX-License-Identifier: MIT
#include "resolve/watched_file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

#define LOOK_EVERY_MS 1000

void watched_file_init(struct watched_file *file, const char *path)
{
    *file = (struct watched_file){.path = path};
}

static bool same_time(struct timespec a, struct timespec b)
{
    return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

bool watched_file_changed(struct watched_file *file, uint64_t now_ms)
{
    struct stat st = {0};
    bool exists;
    bool same;

    if (file->looked && now_ms < file->next_look_ms) {
        return false;
    }
    exists = stat(file->path, &st) == 0;
    same = file->looked && !file->stale && file->exists == exists &&
           (!exists ||
            (file->dev == st.st_dev && file->ino == st.st_ino && file->size_bytes == st.st_size &&
             same_time(file->mtime, st.st_mtim) && same_time(file->ctime, st.st_ctim)));
    *file = (struct watched_file){
        .path = file->path,
        .next_look_ms = now_ms + LOOK_EVERY_MS,
        .looked = true,
        .exists = exists,
        .dev = st.st_dev,
        .ino = st.st_ino,
        .size_bytes = st.st_size,
        .mtime = st.st_mtim,
        .ctime = st.st_ctim,
    };
    return !same;
}

void watched_file_failed(struct watched_file *file)
{
    file->stale = true;
}

/* Reads to the end, however the size stat told has changed since. */
static int read_all(int fd, size_t guess, size_t max_bytes, char **ret_text, size_t *ret_len)
{
    size_t cap = MIN(guess, max_bytes) + 1;
    char *text = mem_alloc(cap);
    size_t len = 0;
    int r = text ? 0 : -ENOMEM;

    while (r == 0) {
        ssize_t got = read(fd, text + len, cap - len);

        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            r = got < 0 ? -errno : 0;
            break;
        }
        len += (size_t)got;
        if (len > max_bytes) {
            r = -EFBIG;
        } else if (len == cap) {
            char *grown = mem_realloc(text, cap * 2);

            r = grown ? 0 : -ENOMEM;
            text = grown ? grown : text;
            cap *= 2;
        }
    }
    if (r < 0) {
        mem_free(text);
        return r;
    }
    *ret_text = text;
    *ret_len = len;
    return 0;
}

int watched_file_read(const struct watched_file *file, size_t max_bytes, char **ret_text,
                      size_t *ret_len)
{
    int fd = open(file->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat st;
    int r = 0;

    if (fd < 0 && errno != ENOENT && errno != ENOTDIR) {
        return -errno;
    }
    *ret_text = NULL;
    *ret_len = 0;
    if (fd < 0) {
        return 0;
    }
    if (fstat(fd, &st) < 0) {
        r = -errno;
    } else if (S_ISREG(st.st_mode)) {
        r = read_all(fd, (size_t)MAX(st.st_size, 0), max_bytes, ret_text, ret_len);
    }
    (void)close(fd);
    return r;
}
