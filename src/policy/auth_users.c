// SPDX-License-Identifier: MIT
#include "policy/auth_users.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "base/arena.h"
#include "base/blake2b.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/ref.h"
#include "base/secret.h"
#include "base/thread.h"
#include "conf/conf.h"
#include "policy/auth_hash.h"

#define SHOWN_ERRORS 10
#define LINES_AT_ONCE 128 /* some 0.1 ms */

struct auth_users {
    struct ref ref;
    struct map names;
    struct arena_pool chunks;
    struct arena arena;             /* the users, their names and hashes */
    const struct auth_user **items; /* in the arena, by index */
    char *path;                     /* owned */
    struct file_stamp stamp;
    uint64_t read_ms;
};

/* One reading. */
struct reader {
    struct auth_users *users;
    struct conf_messages *messages;
    struct conf_origin at;
    size_t errors;
};

/* ------------------------------------------------------------------ one line */

static void complain(struct reader *reader, const char *text)
{
    if (reader->errors++ < SHOWN_ERRORS) {
        conf_messages_add(reader->messages, false, reader->at, "%s", text);
    }
}

/* NULL, or what is wrong with the name. */
static const char *judge_name(struct str name)
{
    if (name.len == 0) {
        return "the user's name is missing";
    }
    if (name.len > AUTH_USER_MAX) {
        return "the user's name is longer than 255 bytes";
    }
    for (size_t i = 0; i < name.len; i++) {
        unsigned char c = (unsigned char)name.ptr[i];

        if (c < ' ' || c == 0x7f) {
            return "the user's name holds a control character";
        }
    }
    return str_trim(name).len != name.len ? "a blank before or behind the user's name" : NULL;
}

static void complain_of(struct reader *reader, struct str name, const char *why)
{
    char buf[AUTH_USER_MAX + 256];
    struct text out = TEXT_OVER(buf);

    text_puts(&out, "user ");
    text_put(&out, name);
    text_puts(&out, ": ");
    text_puts(&out, why);
    complain(reader, text_cstr(&out));
}

static void complain_of_twin(struct reader *reader, struct str name, struct map_node *first)
{
    char buf[64];
    struct text out = TEXT_OVER(buf);

    text_puts(&out, "stands in line ");
    text_u64(&out, CONTAINER_OF(first, struct auth_user, node)->line);
    text_puts(&out, " already");
    complain_of(reader, name, text_cstr(&out));
}

static struct str keep(struct auth_users *users, struct str s)
{
    char *copy = arena_alloc_bytes(&users->arena, s.len + 1);

    if (!copy) {
        return (struct str){0};
    }
    memcpy(copy, s.ptr, s.len);
    copy[s.len] = '\0';
    return str_make(copy, s.len);
}

static int add_user(struct reader *reader, struct str name, struct str hash)
{
    struct auth_users *users = reader->users;
    size_t index = users->names.count;
    struct auth_user *user = arena_alloc(&users->arena, sizeof(*user));
    void *items = arena_grow(&users->arena, users->items, index, sizeof(*users->items));

    if (!user || !items) {
        return -ENOMEM;
    }
    users->items = items;
    *user = (struct auth_user){.index = index, .line = reader->at.line};
    user->node.key = keep(users, name);
    user->hash = keep(users, hash);
    if (!user->node.key.ptr || !user->hash.ptr) {
        return -ENOMEM;
    }
    map_add(&users->names, &user->node);
    users->items[index] = user;
    return 0;
}

/* NAME:HASH, and what stands behind a second colon does not count. */
static int read_line(struct reader *reader, struct str line)
{
    size_t colon = str_find(line, ':');
    struct str name = str_head(line, colon);
    struct str hash = str_from(line, colon + 1);
    char why_buf[128];
    struct text why = TEXT_OVER(why_buf);
    const char *bad_name = judge_name(name);
    struct map_node *twin;
    uint64_t cost_ns;

    if (colon == line.len) {
        complain(reader, "expected NAME:HASH, as htpasswd writes it");
        return 0;
    }
    if (bad_name) {
        complain(reader, bad_name);
        return 0;
    }
    hash = str_trim(str_head(hash, str_find(hash, ':')));
    if (auth_hash_judge(hash, &cost_ns, &why) != 0) {
        text_puts(&why, "; write it anew with htpasswd -B");
        complain_of(reader, name, text_cstr(&why));
        return 0;
    }
    twin = map_find(&reader->users->names, name);
    if (twin) {
        complain_of_twin(reader, name, twin);
        return 0;
    }
    return add_user(reader, name, hash);
}

/* ------------------------------------------------------------------ the file */

static int read_text(struct reader *reader, struct str text)
{
    int r = 0;

    text = str_skip_bom(text);
    while (text.len > 0 && r == 0) {
        struct str line = str_head(text, str_find(text, '\n'));

        text = str_from(text, line.len + 1);
        reader->at.line++;
        if (str_ends(line, STR("\r"))) {
            line.len--;
        }
        if (str_trim(line).len > 0 && line.ptr[0] != '#') {
            r = read_line(reader, line);
        }
        if (reader->at.line % LINES_AT_ONCE == 0) {
            thread_give_way();
        }
    }
    return r;
}

static int new_users(const char *path, struct auth_users **ret)
{
    struct auth_users *users = mem_zalloc(sizeof(*users));

    if (!users) {
        return -ENOMEM;
    }
    ref_init(&users->ref);
    arena_pool_init(&users->chunks, NULL, NULL);
    arena_init(&users->arena, &users->chunks);
    users->path = mem_strdup(path);
    if (!users->path || map_init(&users->names) != 0) {
        mem_free(users->path);
        mem_free(users);
        return -ENOMEM;
    }
    *ret = users;
    return 0;
}

int auth_users_parse(struct str text, const char *path, struct conf_messages *messages,
                     struct auth_users **ret)
{
    struct reader reader = {.messages = messages, .at = {.file = path}};
    int r = new_users(path, &reader.users);

    if (r != 0) {
        return r;
    }
    r = read_text(&reader, text);
    if (reader.errors > SHOWN_ERRORS) {
        reader.at.line = 0;
        conf_messages_add(messages, false, reader.at, "%zu more lines are wrong",
                          reader.errors - SHOWN_ERRORS);
    }
    if (r == 0 && reader.errors > 0) {
        r = AUTH_USERS_BAD;
    }
    if (r != 0) {
        auth_users_unref(reader.users);
        return r;
    }
    *ret = reader.users;
    return 0;
}

static void complain_of_file(const char *path, int error, struct conf_origin origin,
                             struct conf_messages *messages)
{
    const char *why = error == FILE_NOT_REGULAR ? "not a regular file" : strerror(-error);

    if (error == -EFBIG) {
        why = "larger than 64 MiB";
    }
    conf_messages_add(messages, false, origin, "auth.users = %s: %s", path, why);
}

int auth_users_load(const char *path, struct conf_origin origin, struct conf_messages *messages,
                    struct auth_users **ret)
{
    uint64_t read_ms = clock_mono_ms();
    struct file_stamp stamp;
    char *text = NULL;
    size_t len = 0;
    int r;

    conf_messages_reading(messages, path);
    r = file_read(path, AUTH_USERS_MAX_BYTES, &stamp, &text, &len);
    if (r != 0) {
        if (r == -ENOMEM) {
            return r;
        }
        complain_of_file(path, r, origin, messages);
        return AUTH_USERS_BAD;
    }
    r = auth_users_parse(str_make(text, len), path, messages, ret);
    secret_wipe(text, len);
    mem_free(text);
    if (r == 0) {
        (*ret)->stamp = stamp;
        (*ret)->read_ms = read_ms;
    }
    return r;
}

struct auth_users *auth_users_ref(struct auth_users *users)
{
    ref_take(&users->ref);
    return users;
}

void auth_users_unref(struct auth_users *users)
{
    if (!users || !ref_drop(&users->ref)) {
        return;
    }
    map_deinit(&users->names);
    arena_reset(&users->arena);
    mem_free(users->path);
    mem_free(users);
}

/* ------------------------------------------------------------------ looking up */

const struct auth_user *auth_users_find(const struct auth_users *users, struct str name)
{
    struct map_node *node = map_find(&users->names, name);

    return node ? CONTAINER_OF(node, struct auth_user, node) : NULL;
}

/* The key is a stored hash: as secret as need be, and the same after a restart. */
const struct auth_user *auth_users_stand_in(const struct auth_users *users, struct str name)
{
    struct blake2b hash;
    uint64_t number;
    struct str key;

    if (users->names.count == 0) {
        return NULL;
    }
    key = users->items[0]->hash;
    blake2b_init(&hash, sizeof(number), NULL, 0);
    blake2b_add(&hash, key.ptr, key.len);
    blake2b_add(&hash, name.ptr, name.len);
    blake2b_finish(&hash, &number);
    return users->items[number % users->names.count];
}

size_t auth_users_count(const struct auth_users *users)
{
    return users->names.count;
}

const char *auth_users_path(const struct auth_users *users)
{
    return users->path;
}

const struct file_stamp *auth_users_stamp(const struct auth_users *users)
{
    return &users->stamp;
}

uint64_t auth_users_read_ms(const struct auth_users *users)
{
    return users->read_ms;
}
