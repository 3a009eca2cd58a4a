// SPDX-License-Identifier: MIT

/*
 * A configuration, files and -o options: whatever it holds, it loads or every fault is told in one
 * line each; and what loads can be written out by conf_dump and read again as the same.
 *
 * The input is the text of /fuzz/viaduct.ini. A line "=== NAME" begins a further file, NAME in the
 * same directory, and "=== -o" a list of options, one to a line. The files are never on a disk: the
 * system calls that conf/ makes are wrapped by the linker (see run) and see these files alone.
 */

#include "conf/conf.h"

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <glob.h>
#include <grp.h>
#include <pwd.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fuzz.h"

#define DIR "/fuzz/"
#define MAIN_FILE DIR "viaduct.ini"
#define FILES_MAX 8
#define OPTIONS_MAX 8
#define OPENS_MAX 200 /* a handful of files that include each other crosswise are read so often */

static struct {
    char path[FILES_MAX][80];
    int fd[FILES_MAX];
    size_t count;
    unsigned opens;
    bool active; /* conf/ is at work: no other caller is served here */
} disk;

/* ---- The system as conf/ sees it ---- */

int __real_open(const char *path, int flags, ...);
int __real_lstat(const char *path, struct stat *ret);
int __real_faccessat(int dir, const char *path, int mode, int flags);
int __real_getpwnam_r(const char *name, struct passwd *entry, char *buf, size_t size,
                      struct passwd **ret);
int __wrap_open(const char *path, int flags, ...);
int __wrap_lstat(const char *path, struct stat *ret);
int __wrap_faccessat(int dir, const char *path, int mode, int flags);
int __wrap_glob(const char *pattern, int flags, int (*on_error)(const char *, int), glob_t *ret);
int __wrap_getpwnam_r(const char *name, struct passwd *entry, char *buf, size_t size,
                      struct passwd **ret);
int __wrap_getgrnam_r(const char *name, struct group *entry, char *buf, size_t size,
                      struct group **ret);

static int find_file(const char *path)
{
    for (size_t i = 0; i < disk.count; i++) {
        if (strcmp(disk.path[i], path) == 0) {
            return (int)i;
        }
    }
    return -1;
}

int __wrap_open(const char *path, int flags, ...)
{
    int index = find_file(path);
    int fd;

    if (!disk.active) {
        return __real_open(path, flags, 0600);
    }
    if (index < 0 || disk.opens++ == OPENS_MAX) {
        errno = index < 0 ? ENOENT : ENFILE;
        return -1;
    }
    fd = dup(disk.fd[index]);
    CHECK(fd >= 0 && lseek(fd, 0, SEEK_SET) == 0, "dup");
    return fd;
}

int __wrap_lstat(const char *path, struct stat *ret)
{
    if (!disk.active) {
        return __real_lstat(path, ret);
    }
    *ret = (struct stat){.st_mode = S_IFREG};
    errno = ENOENT;
    return find_file(path) < 0 ? -1 : 0;
}

int __wrap_faccessat(int dir, const char *path, int mode, int flags)
{
    if (!disk.active) {
        return __real_faccessat(dir, path, mode, flags);
    }
    errno = ENOENT;
    return find_file(path) < 0 ? -1 : 0;
}

int __wrap_glob(const char *pattern, int flags, int (*on_error)(const char *, int), glob_t *ret)
{
    (void)flags;
    (void)on_error;
    *ret = (glob_t){.gl_pathv = calloc(FILES_MAX, sizeof(char *))};
    CHECK(ret->gl_pathv, "out of memory");
    for (size_t i = 0; i < disk.count; i++) {
        /* A long pattern of stars costs fnmatch(3) a time that says nothing of conf/. */
        if (strlen(pattern) < 100 && fnmatch(pattern, disk.path[i], FNM_PATHNAME) == 0) {
            ret->gl_pathv[ret->gl_pathc++] = strdup(disk.path[i]);
        }
    }
    if (ret->gl_pathc == 0) {
        globfree(ret);
        return GLOB_NOMATCH;
    }
    return 0;
}

/* Names of one letter exist. */
int __wrap_getpwnam_r(const char *name, struct passwd *entry, char *buf, size_t size,
                      struct passwd **ret)
{
    (void)buf;
    (void)size;
    *ret = strlen(name) == 1 ? entry : NULL;
    return 0;
}

int __wrap_getgrnam_r(const char *name, struct group *entry, char *buf, size_t size,
                      struct group **ret)
{
    (void)buf;
    (void)size;
    *ret = strlen(name) == 1 ? entry : NULL;
    return 0;
}

static void add_file(struct str name, struct str text)
{
    size_t i = disk.count;

    if (i == FILES_MAX || name.len == 0 || name.len > 60 || memchr(name.ptr, '\0', name.len)) {
        return;
    }
    if (disk.fd[i] == 0) {
        disk.fd[i] = memfd_create("fuzz", MFD_CLOEXEC);
        CHECK(disk.fd[i] > 0, "memfd_create");
    }
    CHECK(ftruncate(disk.fd[i], 0) == 0 &&
              pwrite(disk.fd[i], text.ptr, text.len, 0) == (ssize_t)text.len,
          "write");
    (void)snprintf(disk.path[i], sizeof(disk.path[i]), DIR "%.*s", STR_ARG(name));
    disk.count++;
}

/* ---- The input ---- */

static struct {
    char *text[OPTIONS_MAX];
    size_t count;
} options;

static void add_options(struct str text)
{
    while (text.len > 0 && options.count < OPTIONS_MAX) {
        const char *end = memchr(text.ptr, '\n', text.len);
        size_t len = end ? (size_t)(end - text.ptr) : text.len;

        char *option = calloc(1, len + 1);

        CHECK(option, "out of memory");
        memcpy(option, text.ptr, len);
        options.text[options.count++] = option;
        text = str_from(text, end ? len + 1 : len);
    }
}

static void add_part(struct str name, struct str text)
{
    if (str_eq(name, STR("-o"))) {
        add_options(text);
    } else {
        add_file(name, text);
    }
}

/* The next line that begins with "=== ", or the end of the text. */
static size_t find_mark(struct str in)
{
    for (size_t i = 0; i + 4 <= in.len; i++) {
        if ((i == 0 || in.ptr[i - 1] == '\n') && memcmp(in.ptr + i, "=== ", 4) == 0) {
            return i;
        }
    }
    return in.len;
}

static void read_input(struct str in)
{
    struct str name = STR("viaduct.ini");

    for (;;) {
        size_t mark = find_mark(in);
        size_t end;

        add_part(name, str_head(in, mark));
        in = str_from(in, mark + 4);
        if (in.len == 0) {
            return;
        }
        end = str_find(in, '\n');
        name = str_head(in, end);
        in = str_from(in, end + 1);
    }
}

static void clear_input(void)
{
    for (size_t i = 0; i < options.count; i++) {
        free(options.text[i]);
    }
    options.count = 0;
    disk.count = 0;
    disk.opens = 0;
}

/* ---- What must hold ---- */

static void check_messages(const struct conf_messages *messages)
{
    size_t errors = 0;

    for (size_t i = 0; i < messages->count; i++) {
        char line[2048];

        conf_message_format(&messages->items[i], line, sizeof(line));
        CHECK(messages->items[i].text[0], "an empty message");
        for (const char *c = line; *c; c++) {
            CHECK((unsigned char)*c >= ' ' && *c != 0x7f, "a control character in %s", line);
        }
        errors += !messages->items[i].is_warning;
    }
    CHECK(errors == messages->error_count, "%zu errors of %zu", errors, messages->error_count);
}

static int load(const char *const *overrides, size_t count, struct conf **ret)
{
    const struct conf_load_options how = {
        .path = MAIN_FILE, .overrides = overrides, .override_count = count};
    struct conf_messages messages = {0};
    int result;

    disk.active = true;
    result = conf_load(&how, ret, &messages);
    disk.active = false;
    CHECK(result == 0 || result == 1, "conf_load says %d", result);
    CHECK((result == 1) == (messages.error_count > 0), "%zu errors", messages.error_count);
    check_messages(&messages);
    conf_messages_deinit(&messages);
    return result;
}

static void put(void *arg, struct str text)
{
    fuzz_bytes_put(arg, text);
}

/* Lines without the comment that says where a value came from. */
static struct fuzz_bytes without_comments(struct str text)
{
    struct fuzz_bytes plain = {0};

    while (text.len > 0) {
        size_t end = str_find(text, '\n');
        struct str line = str_head(text, end);
        size_t comment = 0;

        while (comment < line.len && !str_starts(str_from(line, comment), STR(" ; "))) {
            comment++;
        }
        if (!str_starts(line, STR("#"))) {
            fuzz_bytes_put(&plain, str_head(line, comment));
            fuzz_bytes_put(&plain, STR("\n"));
        }
        text = str_from(text, end + 1);
    }
    return plain;
}

static struct fuzz_bytes dump(const struct conf *conf)
{
    struct fuzz_bytes text = {0};
    const struct conf_dump_options options = {.show_secrets = true, .put = put, .arg = &text};

    conf_dump(conf, &options);
    return text;
}

/* conf_dump's output read again is the same configuration. */
static void check_again(const struct conf *conf)
{
    struct fuzz_bytes first = dump(conf);
    struct fuzz_bytes first_plain = without_comments(fuzz_bytes_str(&first));
    struct fuzz_bytes second;
    struct fuzz_bytes second_plain;
    struct conf *again = NULL;

    clear_input();
    add_file(STR("viaduct.ini"), fuzz_bytes_str(&first));
    CHECK(load(NULL, 0, &again) == 0, "own text refused:\n%.*s", (int)first.len, first.ptr);
    second = dump(again);
    second_plain = without_comments(fuzz_bytes_str(&second));
    CHECK(str_eq(fuzz_bytes_str(&first_plain), fuzz_bytes_str(&second_plain)),
          "another configuration:\n%.*s\nwas:\n%.*s", (int)second.len, second.ptr, (int)first.len,
          first.ptr);
    conf_free(again);
    fuzz_bytes_free(&first);
    fuzz_bytes_free(&first_plain);
    fuzz_bytes_free(&second);
    fuzz_bytes_free(&second_plain);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct conf *conf = NULL;

    clear_input();
    read_input(str_make((const char *)data, size));
    if (load((const char *const *)options.text, options.count, &conf) == 0) {
        check_again(conf);
        conf_free(conf);
    }
    clear_input();
    return 0;
}
