// SPDX-License-Identifier: MIT
#include "conf/conf_read.h"

#include <errno.h>
#include <glob.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"

#define READ_FIRST_BYTES 16384

/* Room for a few more bytes behind len; cap doubles. */
static int make_room(char **buf, size_t len, size_t *cap)
{
    size_t wanted = *cap > 0 ? *cap * 2 : READ_FIRST_BYTES;
    char *grown;

    if (len < *cap) {
        return 0;
    }
    grown = mem_realloc(*buf, wanted);
    if (!grown) {
        return -ENOMEM;
    }
    *buf = grown;
    *cap = wanted;
    return 0;
}

int conf_read_file(int fd, char **ret, size_t *ret_len)
{
    char *buf = NULL;
    size_t cap = 0;
    size_t len = 0;
    int error;

    for (;;) {
        ssize_t got;

        error = make_room(&buf, len, &cap);
        if (error) {
            break;
        }
        got = read(fd, buf + len, cap - len);
        if (got == 0) {
            *ret = buf;
            *ret_len = len;
            return 0;
        }
        if (got < 0 && errno != EINTR) {
            error = -errno;
            break;
        }
        len += got > 0 ? (size_t)got : 0;
        if (len > CONF_FILE_MAX) {
            error = -EFBIG;
            break;
        }
    }
    mem_free(buf);
    return error;
}

/* path up to its last slash, without it. */
static struct str dir_part(struct str path)
{
    size_t slash = str_rfind(path, '/');

    return str_head(path, slash == path.len ? 0 : slash);
}

void conf_dir_put(struct text *out, const char *path)
{
    struct str whole = str_of(path);
    struct str dir = dir_part(whole);
    char cwd[PATH_MAX];

    if (str_starts(whole, STR("/"))) {
        text_put(out, dir);
        return;
    }
    if (!getcwd(cwd, sizeof(cwd))) {
        text_puts(out, "."); /* a directory that was removed: all that can be said */
    } else if (strcmp(cwd, "/") != 0) {
        text_puts(out, cwd);
    }
    if (dir.len > 0) {
        text_char(out, '/');
        text_put(out, dir);
    }
}

/* A directory that does not exist matches nothing; one that cannot be listed is an error.
 * (glob(3) passes no argument, so which one it was is lost.) */
static int on_unreadable(const char *path, int error)
{
    (void)path;
    return error != ENOENT;
}

static int keep_paths(char *const *paths, size_t count, struct conf_paths *ret)
{
    struct conf_paths kept = {mem_zalloc(count * sizeof(char *)), 0};

    if (!kept.items) {
        return -ENOMEM;
    }
    for (; kept.count < count; kept.count++) {
        kept.items[kept.count] = mem_strdup(paths[kept.count]);
        if (!kept.items[kept.count]) {
            conf_paths_deinit(&kept);
            return -ENOMEM;
        }
    }
    *ret = kept;
    return 0;
}

static int glob_paths(const char *pattern, struct conf_paths *ret)
{
    glob_t found = {0};
    int result;

    /* Sorted by strcmp: the program stays in the C locale. */
    switch (glob(pattern, 0, on_unreadable, &found)) {
    case 0:
        result = keep_paths(found.gl_pathv, found.gl_pathc, ret);
        break;
    case GLOB_NOMATCH:
        *ret = (struct conf_paths){0};
        result = 0;
        break;
    case GLOB_NOSPACE:
        result = -ENOMEM;
        break;
    default:
        result = -EACCES;
        break;
    }
    globfree(&found);
    return result;
}

/* The directory of the including file is no pattern, whatever its name looks like. */
static void put_escaped(struct text *out, struct str dir)
{
    for (size_t i = 0; i < dir.len; i++) {
        if (str_has(STR("*?[\\"), dir.ptr[i])) {
            text_char(out, '\\');
        }
        text_char(out, dir.ptr[i]);
    }
}

int conf_include_paths(const char *from_path, struct str pattern, struct conf_paths *ret)
{
    char buf[2 * PATH_MAX];
    struct text path = TEXT_OVER(buf);
    struct str dir = dir_part(str_of(from_path));
    bool is_pattern = str_has(pattern, '*') || str_has(pattern, '?') || str_has(pattern, '[');

    if (!str_starts(pattern, STR("/")) && str_has(str_of(from_path), '/')) {
        if (is_pattern) {
            put_escaped(&path, dir);
        } else {
            text_put(&path, dir);
        }
        text_char(&path, '/');
    }
    text_put(&path, pattern);
    if (path.full || path.len + 1 > sizeof(buf)) {
        return -ENAMETOOLONG;
    }
    (void)text_cstr(&path);
    return is_pattern ? glob_paths(buf, ret) : keep_paths((char *[]){buf}, 1, ret);
}

void conf_paths_deinit(struct conf_paths *paths)
{
    for (size_t i = 0; i < paths->count; i++) {
        mem_free(paths->items[i]);
    }
    mem_free(paths->items);
    *paths = (struct conf_paths){0};
}
