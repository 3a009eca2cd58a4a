// SPDX-License-Identifier: MIT
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"

struct file_stamp file_stamp_of(const struct stat *st)
{
    return (struct file_stamp){
        .exists = true,
        .dev = st->st_dev,
        .ino = st->st_ino,
        .size_bytes = st->st_size,
        .mtime = st->st_mtim,
        .ctime = st->st_ctim,
    };
}

struct file_stamp file_look(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 ? file_stamp_of(&st) : (struct file_stamp){0};
}

static bool same_time(struct timespec a, struct timespec b)
{
    return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

bool file_stamp_eq(const struct file_stamp *a, const struct file_stamp *b)
{
    return a->exists == b->exists &&
           (!a->exists || (a->dev == b->dev && a->ino == b->ino && a->size_bytes == b->size_bytes &&
                           same_time(a->mtime, b->mtime) && same_time(a->ctime, b->ctime)));
}

/* A change in the future was made by another clock: it says nothing. */
bool file_stamp_is_fresh(const struct file_stamp *stamp)
{
    uint64_t now_ms = clock_wall_ms();
    uint64_t changed_ms =
        (uint64_t)stamp->ctime.tv_sec * 1000 + (uint64_t)stamp->ctime.tv_nsec / 1000000;

    return stamp->exists && now_ms >= changed_ms && now_ms - changed_ms < FILE_FRESH_MS;
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

int file_open(const char *path, struct file_stamp *ret_stamp, int *ret_fd)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    struct stat st;
    int r = 0;

    if (fd < 0) {
        return -errno;
    }
    if (fstat(fd, &st) < 0) {
        r = -errno;
    } else if (!S_ISREG(st.st_mode)) {
        r = FILE_NOT_REGULAR;
    }
    if (r != 0) {
        (void)close(fd);
        return r;
    }
    *ret_stamp = file_stamp_of(&st);
    *ret_fd = fd;
    return 0;
}

int file_read(const char *path, size_t max_bytes, struct file_stamp *ret_stamp, char **ret_text,
              size_t *ret_len)
{
    struct file_stamp stamp = {0};
    int fd = -1;
    int r = file_open(path, &stamp, &fd);

    if (r != 0) {
        return r;
    }
    r = read_all(fd, (size_t)MAX(stamp.size_bytes, 0), max_bytes, ret_text, ret_len);
    if (r == 0 && ret_stamp) {
        *ret_stamp = stamp;
    }
    (void)close(fd);
    return r;
}
