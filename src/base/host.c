// SPDX-License-Identifier: MIT
#include "base/host.h"

#include <arpa/inet.h>
#include <string.h>

#define HOST_LABEL_MAX_BYTES 63 /* RFC 1035 2.3.4 */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* What may stand in a name, in lower case; 0 for every other byte. */
static char name_char(char c)
{
    static const char table[256] = {
        ['-'] = '-', ['.'] = '.', ['0'] = '0', ['1'] = '1', ['2'] = '2', ['3'] = '3', ['4'] = '4',
        ['5'] = '5', ['6'] = '6', ['7'] = '7', ['8'] = '8', ['9'] = '9', ['A'] = 'a', ['B'] = 'b',
        ['C'] = 'c', ['D'] = 'd', ['E'] = 'e', ['F'] = 'f', ['G'] = 'g', ['H'] = 'h', ['I'] = 'i',
        ['J'] = 'j', ['K'] = 'k', ['L'] = 'l', ['M'] = 'm', ['N'] = 'n', ['O'] = 'o', ['P'] = 'p',
        ['Q'] = 'q', ['R'] = 'r', ['S'] = 's', ['T'] = 't', ['U'] = 'u', ['V'] = 'v', ['W'] = 'w',
        ['X'] = 'x', ['Y'] = 'y', ['Z'] = 'z', ['_'] = '_', ['a'] = 'a', ['b'] = 'b', ['c'] = 'c',
        ['d'] = 'd', ['e'] = 'e', ['f'] = 'f', ['g'] = 'g', ['h'] = 'h', ['i'] = 'i', ['j'] = 'j',
        ['k'] = 'k', ['l'] = 'l', ['m'] = 'm', ['n'] = 'n', ['o'] = 'o', ['p'] = 'p', ['q'] = 'q',
        ['r'] = 'r', ['s'] = 's', ['t'] = 't', ['u'] = 'u', ['v'] = 'v', ['w'] = 'w', ['x'] = 'x',
        ['y'] = 'y', ['z'] = 'z',
    };

    return table[(unsigned char)c];
}

static int label_error(size_t len)
{
    if (len == 0) {
        return HOST_BAD_LABEL;
    }
    return len > HOST_LABEL_MAX_BYTES ? HOST_TOO_LONG : 0;
}

/* The first len bytes of text in lower case; false when one of them can stand in no name. */
static bool read_chars(const char *text, size_t len, char *dst)
{
    for (size_t i = 0; i < len; i++) {
        dst[i] = name_char(text[i]);
        if (dst[i] == 0) {
            return false;
        }
    }
    return true;
}

/* 0, or the error of the first label that is wrong; and where the last one begins. */
static int check_labels(struct str name, size_t *ret_last)
{
    size_t last = 0;
    int error = 0;

    for (;;) {
        size_t len = str_find(str_from(name, last), '.');

        error = error != 0 ? error : label_error(len);
        if (last + len == name.len) {
            break;
        }
        last += len + 1;
    }
    *ret_last = last;
    return error;
}

/* A name without trailing dot, in lower case, and where its last label begins. 0, or the error of
 * the first thing that is wrong with it. */
static int read_name(struct str text, char dst[HOST_NAME_MAX_BYTES + 1], size_t *ret_last)
{
    size_t len = MIN(text.len, HOST_NAME_MAX_BYTES);

    if (!read_chars(text.ptr, len, dst)) {
        return HOST_BAD_CHAR;
    }
    dst[len] = '\0';
    for (size_t i = len; i < text.len; i++) {
        if (name_char(text.ptr[i]) == 0) {
            return HOST_BAD_CHAR;
        }
    }
    return len < text.len ? HOST_TOO_LONG : check_labels(str_make(dst, len), ret_last);
}

/* Whether a reader of numbers could take label (lower case) for one: digits, or 0x and hex digits.
 */
static bool is_numeric_label(struct str label)
{
    bool hex = str_starts(label, STR("0x"));

    for (size_t i = hex ? 2 : 0; i < label.len; i++) {
        char c = label.ptr[i];

        if (!is_digit(c) && !(hex && c >= 'a' && c <= 'f')) {
            return false;
        }
    }
    return true;
}

static int parse_bracketed(struct str text, struct host *ret)
{
    struct addr addr;

    if (!str_ends(text, STR("]")) ||
        !addr_parse_ip(str_from(str_head(text, text.len - 1), 1), &addr) || addr.kind != ADDR_IP6) {
        return HOST_BAD_LITERAL;
    }
    *ret = (struct host){.is_literal = true, .addr = addr};
    return 0;
}

/* The usual form of an IPv4 address, four decimal numbers without leading zeros, which every reader
 * takes for the same. */
static bool read_dotted_quad(struct str text, uint8_t ret[4])
{
    size_t at = 0;

    for (int i = 0; i < 4; i++) {
        size_t begin = at;
        unsigned value = 0;

        for (; at < text.len && is_digit(text.ptr[at]) && value < 100; at++) {
            value = value * 10 + (unsigned)(text.ptr[at] - '0');
        }
        if (at == begin || value > 255 || (text.ptr[begin] == '0' && at > begin + 1) ||
            (i < 3 && (at == text.len || text.ptr[at++] != '.'))) {
            return false;
        }
        ret[i] = (uint8_t)value;
    }
    return at == text.len;
}

static int set_ip4(struct host *ret, const uint8_t bytes[4])
{
    *ret = (struct host){.is_literal = true, .addr = {.kind = ADDR_IP4}};
    memcpy(ret->addr.bytes, bytes, 4);
    return 0;
}

/* inet_aton itself reads IPv4, so that no resolver of this machine can read it otherwise. */
static int parse_name_or_ip4(struct str text, struct host *ret)
{
    char name[HOST_NAME_MAX_BYTES + 1];
    size_t last = 0;
    uint8_t quad[4];
    struct in_addr ip4;
    int r;

    if (read_dotted_quad(text, quad)) {
        return set_ip4(ret, quad);
    }
    r = read_name(text, name, &last);
    if (r != 0) {
        return r;
    }
    if (is_digit(name[last])) {
        if (inet_aton(name, &ip4) != 0) {
            memcpy(quad, &ip4, sizeof(quad));
            return set_ip4(ret, quad);
        }
        if (is_numeric_label(str_make(name + last, text.len - last))) {
            return HOST_BAD_LITERAL;
        }
    }
    *ret = (struct host){.name_len = (unsigned char)text.len};
    memcpy(ret->name, name, text.len + 1);
    return 0;
}

int host_parse(struct str text, struct host *ret)
{
    if (str_starts(text, STR("["))) {
        return parse_bracketed(text, ret);
    }
    if (str_ends(text, STR("."))) {
        text = str_head(text, text.len - 1);
    }
    if (text.len == 0) {
        return HOST_EMPTY;
    }
    return parse_name_or_ip4(text, ret);
}

int host_parse_bare(struct str text, struct host *ret)
{
    struct addr addr;

    if (str_has(text, '[')) {
        return HOST_BAD_CHAR;
    }
    if (!str_has(text, ':')) {
        return host_parse(text, ret);
    }
    if (!addr_parse_ip(text, &addr)) {
        return HOST_BAD_LITERAL;
    }
    *ret = (struct host){.is_literal = true, .addr = addr};
    return 0;
}

const char *host_error_text(int error)
{
    switch ((enum host_error)error) {
    case HOST_EMPTY:
        return "it is empty";
    case HOST_TOO_LONG:
        return "it is longer than 253 bytes, or a part of it longer than 63";
    case HOST_BAD_CHAR:
        return "it holds a character other than letters, digits, '-', '_' and '.'";
    case HOST_BAD_LABEL:
        return "two dots follow each other, or one stands in front";
    case HOST_BAD_LITERAL:
        return "it looks like an address and is none";
    }
    return "it is not valid";
}

struct str host_name(const struct host *host)
{
    return host->is_literal ? str_make(NULL, 0) : str_make(host->name, host->name_len);
}

bool host_eq(const struct host *a, const struct host *b)
{
    if (a->is_literal || b->is_literal) {
        return a->is_literal && b->is_literal && addr_ip_eq(&a->addr, &b->addr);
    }
    return str_eq(host_name(a), host_name(b));
}

bool host_is_localhost(const struct host *host)
{
    struct str name = host_name(host);

    return str_eq(name, STR("localhost")) || str_ends(name, STR(".localhost"));
}

void host_put(struct text *out, const struct host *host)
{
    bool brackets = host->is_literal && host->addr.kind == ADDR_IP6;

    if (!host->is_literal) {
        text_put(out, host_name(host));
        return;
    }
    if (brackets) {
        text_char(out, '[');
    }
    addr_put(out, &host->addr);
    if (brackets) {
        text_char(out, ']');
    }
}
