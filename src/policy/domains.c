// SPDX-License-Identifier: MIT
#include "policy/domains.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/ref.h"
#include "base/text.h"
#include "base/thread.h"
#include "conf/conf.h"
#include "policy/domains_line.h"
#include "policy/domains_set.h"

#define READ_BYTES (64U * 1024) /* at once; a longer line is broken */
#define BROKEN_SHOWN 10
#define EXCERPT_MAX 60 /* bytes of a broken line in its message */

struct domains {
    struct ref ref;
    char *path; /* owned */
    struct file_stamp stamp;
    bool is_fresh; /* the stamp proves nothing */
    struct domains_set set;
    struct domains_counts counts;
};

struct loading {
    const char *path;
    struct conf_messages *messages;
    struct domains_reader reader;
    unsigned line;
};

static struct conf_origin origin_of(const struct loading *loading)
{
    return (struct conf_origin){loading->path, loading->line};
}

/* A warning for the first few; the line may be anything. */
static void tell_broken(struct loading *loading, struct str line, const char *fault)
{
    char excerpt[EXCERPT_MAX];
    size_t len = MIN(line.len, sizeof(excerpt));

    if (loading->reader.counts.broken++ >= BROKEN_SHOWN) {
        return;
    }
    for (size_t i = 0; i < len; i++) {
        excerpt[i] = line.ptr[i] >= ' ' && line.ptr[i] < 0x7f ? line.ptr[i] : '?';
    }
    conf_messages_add(loading->messages, true, origin_of(loading), "'%.*s%s' is passed over: %s",
                      (int)len, excerpt, len < line.len ? "..." : "", fault);
}

static int take_line(struct loading *loading, struct str line)
{
    int r;

    if (str_ends(line, STR("\r"))) {
        line.len--;
    }
    loading->line++;
    r = domains_line_read(&loading->reader, line);
    if (r == DOMAINS_LINE_BROKEN) {
        tell_broken(loading, line, loading->reader.fault);
        r = 0;
    }
    return r;
}

/* Takes the whole lines at the front of *text. */
static int take_lines(struct loading *loading, struct str *text)
{
    int r = 0;

    while (r == 0) {
        size_t len = str_find(*text, '\n');

        if (len == text->len) {
            break;
        }
        r = take_line(loading, str_head(*text, len));
        *text = str_from(*text, len + 1);
    }
    return r;
}

static void tell_passed_over(struct loading *loading)
{
    const struct domains_counts *counts = &loading->reader.counts;

    loading->line = 0;
    if (counts->broken > BROKEN_SHOWN) {
        conf_messages_add(loading->messages, true, origin_of(loading), "%zu more lines are broken",
                          counts->broken - BROKEN_SHOWN);
    }
    if (counts->filters > 0) {
        conf_messages_add(loading->messages, true, origin_of(loading),
                          "%zu lines are filters of other kinds and passed over", counts->filters);
    }
    if (counts->foreign > 0) {
        conf_messages_add(loading->messages, true, origin_of(loading),
                          "%zu names are not ASCII and passed over: their xn-- form is needed",
                          counts->foreign);
    }
    if (counts->names == 0) {
        conf_messages_add(loading->messages, true, origin_of(loading), "lists no name");
    }
}

/* After the last line. */
static int finish(struct loading *loading)
{
    struct domains_reader *reader = &loading->reader;
    int r = domains_set_finish(&reader->set);

    if (r < 0) {
        return r;
    }
    reader->counts.names = reader->set.count;
    reader->counts.folded = reader->entries - reader->counts.names;
    tell_passed_over(loading);
    return 0;
}

static int read_text(struct loading *loading, struct str text)
{
    int r = take_lines(loading, &text);

    if (r == 0 && text.len > 0) {
        r = take_line(loading, text);
    }
    return r < 0 ? r : finish(loading);
}

static ssize_t read_some(int fd, char *dst, size_t cap)
{
    ssize_t got;

    do {
        got = read(fd, dst, cap);
    } while (got < 0 && errno == EINTR);
    return got < 0 ? -errno : got;
}

/* What is in the buffer while a file goes through it. */
struct window {
    char *data; /* READ_BYTES */
    size_t len;
    bool is_tail; /* of a line that was too long: it was told already */
};

/* Drops the rest of an over-long line, as far as it is there. */
static struct str drop_tail(struct window *window, struct str text)
{
    size_t end = str_find(text, '\n');

    if (window->is_tail) {
        window->is_tail = end == text.len;
        text = str_from(text, end + 1);
    }
    return text;
}

/* A line that fills the window will not be read whole. */
static struct str drop_giant(struct loading *loading, struct window *window, struct str text)
{
    if (text.len < READ_BYTES) {
        return text;
    }
    loading->line++;
    tell_broken(loading, text, "a line has at most 64K");
    window->is_tail = true;
    return str_from(text, text.len);
}

/* Takes all lines that are there whole; keeps the beginning of the next one. */
static int digest(struct loading *loading, struct window *window)
{
    struct str text = drop_tail(window, str_make(window->data, window->len));
    int r = take_lines(loading, &text);

    text = drop_giant(loading, window, text);
    memmove(window->data, text.ptr, text.len);
    window->len = text.len;
    return r;
}

static int read_through(struct loading *loading, struct window *window, int fd)
{
    int r = 0;

    while (r == 0) {
        ssize_t got = read_some(fd, window->data + window->len, READ_BYTES - window->len);

        if (got < 0) {
            return (int)got;
        }
        if (got == 0) {
            break;
        }
        window->len += (size_t)got;
        r = digest(loading, window);
        thread_give_way();
    }
    if (r == 0 && window->len > 0) {
        r = take_line(loading, str_make(window->data, window->len));
    }
    return r < 0 ? r : finish(loading);
}

static int read_fd(struct loading *loading, int fd)
{
    struct window window = {.data = mem_alloc(READ_BYTES)};
    int r = window.data ? read_through(loading, &window, fd) : -ENOMEM;

    mem_free(window.data);
    return r;
}

/* Sets the stamp too, from before the reading. */
static int read_file(struct loading *loading, struct domains *domains)
{
    int fd;
    int r = file_open(loading->path, &domains->stamp, &fd);

    if (r != 0) {
        return r;
    }
    domains->is_fresh = file_stamp_is_fresh(&domains->stamp);
    r = read_fd(loading, fd);
    (void)close(fd);
    return r;
}

static void domains_free(struct domains *domains)
{
    domains_set_deinit(&domains->set);
    mem_free(domains->path);
    mem_free(domains);
}

/* Of the file at path, or of text if that is not NULL. */
static int read_into(struct domains *domains, const struct str *text,
                     struct conf_messages *messages)
{
    struct loading loading = {.path = domains->path, .messages = messages};
    int r = domains->path ? 0 : -ENOMEM;

    domains_set_init(&loading.reader.set);
    if (r == 0) {
        r = text ? read_text(&loading, *text) : read_file(&loading, domains);
    }
    /* The domains own the set however far it came. */
    domains->set = loading.reader.set;
    domains->counts = loading.reader.counts;
    return r;
}

static int load(const char *path, const struct str *text, struct conf_messages *messages,
                struct domains **ret)
{
    struct domains *domains = mem_zalloc(sizeof(*domains));
    int r;

    if (!domains) {
        return -ENOMEM;
    }
    ref_init(&domains->ref);
    domains->path = mem_strdup(path);
    r = read_into(domains, text, messages);
    if (r != 0) {
        domains_free(domains);
        return r;
    }
    *ret = domains;
    return 0;
}

int domains_load(const char *path, struct conf_messages *messages, struct domains **ret)
{
    return load(path, NULL, messages, ret);
}

int domains_parse(struct str text, const char *path, struct conf_messages *messages,
                  struct domains **ret)
{
    return load(path, &text, messages, ret);
}

void domains_unref(struct domains *domains)
{
    if (domains && ref_drop(&domains->ref)) {
        domains_free(domains);
    }
}

bool domains_has(const struct domains *domains, struct str name)
{
    return domains_set_has(&domains->set, name);
}

const struct domains_counts *domains_counts(const struct domains *domains)
{
    return &domains->counts;
}

static struct domains *find_on(const struct domains_shelf *shelf, const char *path)
{
    for (size_t i = 0; i < shelf->count; i++) {
        if (strcmp(shelf->items[i]->path, path) == 0) {
            return shelf->items[i];
        }
    }
    return NULL;
}

static bool is_current(const struct domains *domains)
{
    struct file_stamp now = file_look(domains->path);

    return !domains->is_fresh && file_stamp_eq(&domains->stamp, &now);
}

static int get_list(const struct domains_shelf *previous, const char *path,
                    struct conf_messages *messages, struct domains **ret)
{
    struct domains *old = previous ? find_on(previous, path) : NULL;

    conf_messages_reading(messages, path);
    if (old && is_current(old)) {
        ref_take(&old->ref);
        *ret = old;
        return 0;
    }
    return domains_load(path, messages, ret);
}

int domains_shelf_get(struct domains_shelf *shelf, const struct domains_shelf *previous,
                      const char *path, struct conf_messages *messages, const struct domains **ret)
{
    struct domains *domains = find_on(shelf, path);
    struct domains **items;
    int r;

    if (domains) {
        *ret = domains;
        return 0;
    }
    items = mem_realloc_array(shelf->items, shelf->count + 1, sizeof(*items));
    if (!items) {
        return -ENOMEM;
    }
    shelf->items = items;
    r = get_list(previous, path, messages, &domains);
    if (r != 0) {
        return r;
    }
    items[shelf->count++] = domains;
    *ret = domains;
    return 0;
}

void domains_shelf_diff(const struct domains_shelf *before, const struct domains_shelf *after,
                        void (*tell)(void *arg, const char *path,
                                     const struct domains_counts *before,
                                     const struct domains_counts *after),
                        void *arg)
{
    for (size_t i = 0; i < after->count; i++) {
        const struct domains *now = after->items[i];
        const struct domains *old = find_on(before, now->path);

        if (old != now) {
            tell(arg, now->path, old ? &old->counts : NULL, &now->counts);
        }
    }
    for (size_t i = 0; i < before->count; i++) {
        const struct domains *old = before->items[i];

        if (!find_on(after, old->path)) {
            tell(arg, old->path, &old->counts, NULL);
        }
    }
}

void domains_shelf_deinit(struct domains_shelf *shelf)
{
    for (size_t i = 0; i < shelf->count; i++) {
        domains_unref(shelf->items[i]);
    }
    mem_free(shelf->items);
    *shelf = (struct domains_shelf){0};
}
