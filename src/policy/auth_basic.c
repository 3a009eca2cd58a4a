// SPDX-License-Identifier: MIT
#include "policy/auth_basic.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/secret.h"

/* A quantum of base64: four characters for three bytes. */
#define QUANTUM_CHARS 4
#define QUANTUM_BYTES 3

/* The six bits of a character; 64 and more: it is none of base64's. */
static unsigned sextet(char c)
{
    if (c >= 'A' && c <= 'Z') {
        return (unsigned)(c - 'A');
    }
    if (c >= 'a' && c <= 'z') {
        return (unsigned)(c - 'a') + 26;
    }
    if (c >= '0' && c <= '9') {
        return (unsigned)(c - '0') + 52;
    }
    return c == '+' ? 62 : c == '/' ? 63 : 64;
}

/* The bytes of one quantum, of which chars characters (2 to 4) are no padding; false when it has
 * a foreign character, or bits set that stand for nothing. */
static bool decode_quantum(const char *quantum, size_t chars, char *ret)
{
    uint32_t bits = 0;

    for (size_t i = 0; i < QUANTUM_CHARS; i++) {
        unsigned six = i < chars ? sextet(quantum[i]) : 0;

        if (six > 63) {
            return false;
        }
        bits = bits << 6 | six;
    }
    for (size_t i = 0; i + 1 < chars; i++) {
        ret[i] = (char)(unsigned char)(bits >> (16 - 8 * i));
    }
    return (bits & ((1U << (8 * (QUANTUM_CHARS - chars))) - 1)) == 0;
}

/* RFC 4648 4 and 3.5: padded, and nothing but what an encoder writes. */
static bool decode_base64(struct str text, char *dst, size_t cap, size_t *ret_len)
{
    size_t len = 0;

    if (text.len == 0 || text.len % QUANTUM_CHARS != 0 ||
        text.len / QUANTUM_CHARS * QUANTUM_BYTES > cap) {
        return false;
    }
    for (size_t at = 0; at < text.len; at += QUANTUM_CHARS) {
        const char *quantum = text.ptr + at;
        bool is_last = at + QUANTUM_CHARS == text.len;
        size_t chars = QUANTUM_CHARS;

        if (is_last && quantum[3] == '=') {
            chars = quantum[2] == '=' ? 2 : 3;
        }
        if (!decode_quantum(quantum, chars, dst + len)) {
            return false;
        }
        len += chars - 1;
    }
    *ret_len = len;
    return true;
}

/* RFC 7617 2: neither part may contain any. */
static bool has_control(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];

        if (c < ' ' || c == 0x7f) {
            return true;
        }
    }
    return false;
}

/* The first colon ends the name, which can hold none. */
static bool split(struct auth_credentials *credentials, size_t len)
{
    struct str pair = str_make(credentials->bytes, len);
    size_t colon = str_find(pair, ':');

    if (colon == 0 || colon == len || colon > AUTH_USER_MAX ||
        len - colon - 1 > AUTH_PASSWORD_MAX || has_control(pair)) {
        return false;
    }
    credentials->bytes[len] = '\0';
    credentials->user = str_head(pair, colon);
    credentials->password = str_from(pair, colon + 1);
    return true;
}

int auth_basic_parse(struct str field, struct auth_credentials *ret)
{
    struct str scheme = STR("Basic ");
    size_t len;

    if (!str_istarts(field, scheme)) {
        return AUTH_BASIC_OTHER;
    }
    field = str_trim(str_from(field, scheme.len));
    if (!decode_base64(field, ret->bytes, sizeof(ret->bytes) - 1, &len) || !split(ret, len)) {
        auth_credentials_wipe(ret);
        return AUTH_BASIC_MALFORMED;
    }
    return 0;
}

void auth_credentials_wipe(struct auth_credentials *credentials)
{
    secret_wipe(credentials, sizeof(*credentials));
}
