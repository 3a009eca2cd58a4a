// SPDX-License-Identifier: MIT

/*
 * What tells who a client is: the value of a Proxy-Authorization field, and a users file, both from
 * the same bytes. Credentials that are taken, encoded by another hand, are the very characters that
 * were read; a users file that is taken has each of its users once, with a hash that is taken.
 */

#include <string.h>

#include "conf/conf.h"
#include "fuzz.h"
#include "policy/auth_basic.h"
#include "policy/auth_hash.h"
#include "policy/auth_users.h"

#define FIELD_MAX 2048

/* RFC 4648 4, as written there: 24 bits at a time. */
static size_t encode(struct str bytes, char *dst)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t len = 0;

    for (size_t at = 0; at < bytes.len; at += 3) {
        size_t rest = bytes.len - at;
        unsigned group = (unsigned)(unsigned char)bytes.ptr[at] << 16;

        group |= rest > 1 ? (unsigned)(unsigned char)bytes.ptr[at + 1] << 8 : 0;
        group |= rest > 2 ? (unsigned)(unsigned char)bytes.ptr[at + 2] : 0;
        dst[len++] = alphabet[group >> 18];
        dst[len++] = alphabet[group >> 12 & 63];
        dst[len++] = rest > 1 ? alphabet[group >> 6 & 63] : '=';
        dst[len++] = rest > 2 ? alphabet[group & 63] : '=';
    }
    return len;
}

static void check_part(struct str part, size_t max, bool may_hold_colon)
{
    CHECK(part.len <= max, "length %zu", part.len);
    for (size_t i = 0; i < part.len; i++) {
        unsigned char c = (unsigned char)part.ptr[i];

        CHECK(c >= ' ' && c != 0x7f && (may_hold_colon || c != ':'), "character 0x%02x", c);
    }
}

static void check_field(struct str field)
{
    static const struct auth_credentials empty;
    struct auth_credentials got = {0};
    char pair[FIELD_MAX];
    char again[FIELD_MAX];
    size_t len;

    if (auth_basic_parse(field, &got) != 0) {
        CHECK(memcmp(&got, &empty, sizeof(got)) == 0, "something is left of %.*s", STR_ARG(field));
        return;
    }
    check_part(got.user, AUTH_USER_MAX, false);
    check_part(got.password, AUTH_PASSWORD_MAX, true);
    CHECK(got.user.len > 0, "no name");
    CHECK(strlen(got.password.ptr) == got.password.len, "password is not ended by a NUL");
    len = got.user.len + 1 + got.password.len;
    memcpy(pair, got.user.ptr, got.user.len);
    pair[got.user.len] = ':';
    memcpy(pair + got.user.len + 1, got.password.ptr, got.password.len);
    len = encode(str_make(pair, len), again);
    CHECK(str_eq(str_trim(str_from(field, 5)), str_make(again, len)), "%.*s is not %.*s",
          STR_ARG(field), (int)len, again);
}

/* The name of each line that counts. */
static void check_line(const struct auth_users *users, struct str line, size_t *count)
{
    struct str name = str_head(line, str_find(line, ':'));
    const struct auth_user *user;
    char buf[256];
    struct text why = TEXT_OVER(buf);
    uint64_t cost_ns;

    if (str_ends(line, STR("\r"))) {
        line.len--;
    }
    if (str_trim(line).len == 0 || line.ptr[0] == '#') {
        return;
    }
    user = auth_users_find(users, name);
    CHECK(user, "%.*s is not there", STR_ARG(name));
    check_part(name, AUTH_USER_MAX, false);
    CHECK(user->index < auth_users_count(users), "index");
    CHECK(strlen(user->hash.ptr) == user->hash.len, "hash is not ended by a NUL");
    CHECK(auth_hash_judge(user->hash, &cost_ns, &why) == 0, "%s", user->hash.ptr);
    CHECK(memmem(line.ptr, line.len, user->hash.ptr, user->hash.len), "another's hash");
    ++*count;
}

static void check_users(struct str text)
{
    struct conf_messages messages = {0};
    struct auth_users *users = NULL;
    size_t count = 0;
    int r = auth_users_parse(text, "users", &messages, &users);

    CHECK((r == 0) == (messages.error_count == 0), "%zu errors, %d", messages.error_count, r);
    CHECK(messages.count <= 11, "%zu messages", messages.count);
    if (str_starts(text, STR("\xef\xbb\xbf"))) { /* a byte order mark */
        text = str_from(text, 3);
    }
    while (r == 0 && text.len > 0) {
        struct str line = str_head(text, str_find(text, '\n'));

        text = str_from(text, line.len + 1);
        check_line(users, line, &count);
    }
    CHECK(r != 0 || count == auth_users_count(users), "%zu users", count);
    CHECK(r != 0 || (count == 0) == !auth_users_stand_in(users, STR("x")), "stand-in");
    auth_users_unref(users);
    conf_messages_deinit(&messages);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = str_make((const char *)data, size);

    if (size <= FIELD_MAX) {
        check_field(text);
    }
    check_users(text);
    return 0;
}
