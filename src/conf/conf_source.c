// SPDX-License-Identifier: MIT

/* Files that are being read, and the files that they include. */

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "conf/conf_load.h"
#include "conf/conf_parse.h"
#include "conf/conf_read.h"
#include "conf/conf_state.h"
#include "conf/conf_value.h"

#define INCLUDE_DEPTH_MAX 10
#define FILES_MAX 1000 /* includes may fan out */

/* A file that is being read. */
struct source {
    struct conf_loader *loader;
    const struct source *outer; /* the file that includes this one */
    const char *path;           /* as the user named it; kept */
    const char *dir;            /* absolute; kept */
    dev_t device;
    ino_t inode;
    unsigned depth;
    bool is_at_top;               /* no section has begun yet */
    struct conf_section *section; /* NULL in one that is unknown */
};

static void read_source(struct conf_loader *loader, const char *path, const struct source *outer,
                        struct conf_origin origin);

static void on_section(void *arg, struct str name, unsigned line)
{
    struct source *source = arg;

    source->is_at_top = false;
    source->section =
        conf_open_section(source->loader, name, (struct conf_origin){source->path, line});
}

static void include(const struct source *source, struct str pattern, struct conf_origin origin)
{
    struct conf_loader *loader = source->loader;
    struct conf_paths paths;
    int error;

    if (pattern.len == 0) {
        conf_messages_add(loader->messages, false, origin, "include: a file name is missing");
        return;
    }
    if (source->depth == INCLUDE_DEPTH_MAX) {
        conf_messages_add(loader->messages, false, origin,
                          "include %.*s: includes are nested more than %d deep", STR_ARG(pattern),
                          INCLUDE_DEPTH_MAX);
        return;
    }
    error = conf_include_paths(source->path, pattern, &paths);
    if (error) {
        conf_messages_add(loader->messages, false, origin, "include %.*s: %s", STR_ARG(pattern),
                          strerror(-error));
        return;
    }
    for (size_t i = 0; i < paths.count; i++) {
        read_source(loader, paths.items[i], source, origin);
    }
    conf_paths_deinit(&paths);
}

static void on_pair(void *arg, struct str key, struct str value, unsigned line)
{
    struct source *source = arg;
    struct conf_loader *loader = source->loader;
    const struct conf_place place = {loader->state, source->dir, {source->path, line}};

    if (source->section) {
        conf_set_value(loader, source->section, key, value, &place, false);
    } else if (source->is_at_top && str_eq(key, STR("include"))) {
        include(source, value, place.origin);
    } else if (source->is_at_top) {
        conf_messages_add(loader->messages, false, place.origin,
                          "%.*s stands before the first [section]", STR_ARG(key));
    }
}

static void on_syntax_error(void *arg, const char *text, unsigned line)
{
    const struct source *source = arg;

    conf_messages_add(source->loader->messages, false, (struct conf_origin){source->path, line},
                      "%s", text);
}

static bool is_loop(const struct source *source)
{
    for (const struct source *s = source->outer; s; s = s->outer) {
        if (s->device == source->device && s->inode == source->inode) {
            return true;
        }
    }
    return false;
}

static int parse_file(struct source *source, int fd)
{
    static const struct conf_parse_events events = {on_section, on_pair, on_syntax_error};
    char *text = NULL;
    size_t len = 0;
    int error = conf_read_file(fd, &text, &len);

    if (!error) {
        error = conf_parse(str_make(text, len), &events, source);
    }
    mem_free(text);
    return error;
}

/* Opens, makes sure that it is not among those being read, reads. */
static int read_opened(struct source *source)
{
    struct stat st;
    int fd = open(source->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    int error;

    if (fd < 0) {
        return -errno;
    }
    if (fstat(fd, &st) != 0) {
        error = -errno;
    } else if (S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode)) {
        error = -ESPIPE;
    } else {
        source->device = st.st_dev;
        source->inode = st.st_ino;
        error = is_loop(source) ? -EDEADLK : parse_file(source, fd);
    }
    (void)close(fd);
    return error;
}

static const char *read_error_text(int error)
{
    switch (-error) {
    case EDEADLK:
        return "the file includes itself";
    case EFBIG:
        return "the file is larger than 16M";
    case E2BIG:
        return "more than 1000 files are included";
    case ESPIPE:
        return "a pipe: it could not be read a second time, for a reload; write it into a file";
    case EILSEQ:
        return "the file's name holds a control character";
    default:
        return strerror(-error);
    }
}

/* Sets path, and dir, which is absolute. */
static int name_source(struct source *source, const char *path)
{
    char buf[PATH_MAX];
    struct text dir = TEXT_OVER(buf);

    conf_dir_put(&dir, path);
    source->path = conf_keep(source->loader->state, str_of(path));
    source->dir = conf_keep(source->loader->state, text_str(&dir));
    if (!source->path || !source->dir) {
        source->loader->error = -ENOMEM;
        return -ENOMEM;
    }
    if (!conf_value_is_plain(str_of(path))) {
        return -EILSEQ; /* it would garble messages */
    }
    return dir.full ? -ENAMETOOLONG : 0;
}

/* origin is the line that includes it; built-in for the file that was asked for. */
static void read_source(struct conf_loader *loader, const char *path, const struct source *outer,
                        struct conf_origin origin)
{
    struct source source = {
        .loader = loader, .outer = outer, .depth = outer ? outer->depth + 1 : 0, .is_at_top = true};
    int error = name_source(&source, path);

    if (!error && loader->file_count++ == FILES_MAX) {
        error = -E2BIG;
    }
    if (!error) {
        conf_messages_reading(loader->messages, path);
        error = read_opened(&source);
    }
    if (error == -ENOMEM) {
        loader->error = error;
    } else if (error && origin.file) {
        conf_messages_add(loader->messages, false, origin, "include %s: %s", path,
                          read_error_text(error));
    } else if (error) {
        conf_messages_add(loader->messages, false, (struct conf_origin){source.path, 0},
                          "cannot be read: %s", read_error_text(error));
    }
}

void conf_read_source(struct conf_loader *loader, const char *path)
{
    read_source(loader, path, NULL, (struct conf_origin){NULL, 0});
}
