// SPDX-License-Identifier: MIT

/*
 * A request target and an authority: "METHOD TARGET", or the target alone, which is then tried as
 * host, authority and URL too. What is accepted survives being written and read again, and nothing
 * that passes as a name can be read as an address by the C library.
 */

#include "http/target.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <string.h>

#include "base/arena.h"
#include "base/url.h"
#include "fuzz.h"

/* The C library's reading, which is what the next program in the row uses. */
static void check_name(const struct host *host)
{
    const struct addrinfo hints = {.ai_flags = AI_NUMERICHOST};
    struct addrinfo *found = NULL;
    struct in_addr in4;
    const char *last;
    size_t label = 0;

    CHECK(host->name_len > 0 && strlen(host->name) == host->name_len, "length");
    for (size_t i = 0; i < host->name_len; i++) {
        char c = host->name[i];

        CHECK((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.',
              "character 0x%02x in %s", (unsigned char)c, host->name);
        label = c == '.' ? 0 : label + 1;
        CHECK(label <= 63, "label of %s", host->name);
    }
    CHECK(host->name[host->name_len - 1] != '.' && host->name[0] != '.' &&
              !strstr(host->name, ".."),
          "dots of %s", host->name);
    /* What a browser would take for an address (WHATWG URL, "ends in a number"). */
    last = strrchr(host->name, '.');
    last = last ? last + 1 : host->name;
    CHECK(last[strspn(last, "0123456789")] != '\0', "a number ends %s", host->name);
    CHECK(strncmp(last, "0x", 2) != 0 || last[2 + strspn(last + 2, "0123456789abcdef")] != '\0',
          "a number ends %s", host->name);
    CHECK(inet_aton(host->name, &in4) == 0, "inet_aton reads %s", host->name);
    if (getaddrinfo(host->name, NULL, &hints, &found) == 0) {
        freeaddrinfo(found);
        CHECK(false, "getaddrinfo reads %s", host->name);
    }
}

static void check_host(const struct host *host)
{
    char buf[HOST_NAME_MAX_BYTES + ADDR_TEXT_MAX];
    struct text text = TEXT_OVER(buf);
    struct host again;

    host_put(&text, host);
    CHECK(!text.full && text.len > 0, "host_put");
    CHECK(host_parse(text_str(&text), &again) == 0, "own spelling %.*s", (int)text.len, text.ptr);
    CHECK(host_eq(host, &again), "own spelling %.*s", (int)text.len, text.ptr);
    if (!host->is_literal) {
        check_name(host);
    }
}

/* An IPv4 literal is the address that the C library reads. */
static void check_literal(struct str text, const struct host *host)
{
    char name[300];
    struct in_addr in4;

    if (!host->is_literal || host->addr.kind != ADDR_IP4 || text.len >= sizeof(name)) {
        return;
    }
    memcpy(name, text.ptr, text.len);
    name[text.len] = '\0';
    if (text.len > 0 && name[text.len - 1] == '.') {
        name[text.len - 1] = '\0';
    }
    CHECK(inet_aton(name, &in4) != 0, "inet_aton does not read %s", name);
    CHECK(memcmp(&in4, host->addr.bytes, 4) == 0, "another address than %s", name);
}

static void try_host(struct str text)
{
    struct host host;
    struct host other;
    uint16_t port;
    int error = 0;

    if (host_parse(text, &host) == 0) {
        check_host(&host);
        check_literal(text, &host);
        CHECK(url_parse_host_port(text, &other, &port, &error) == 0 && port == 0 &&
                  host_eq(&host, &other),
              "a host is a Host");
    }
    if (host_parse_bare(text, &host) == 0) {
        check_host(&host);
    }
    if (url_parse_authority(text, &host, &port, &error) == 0) {
        CHECK(port > 0, "port 0");
        check_host(&host);
        CHECK(url_parse_host_port(text, &other, &port, &error) == 0 && host_eq(&host, &other),
              "an authority is a Host");
    }
}

static void try_url(struct str text)
{
    struct url url;
    int error = 0;

    if (url_parse(text, &url, &error) != 0) {
        return;
    }
    check_host(&url.host);
    CHECK(url.rest.len == 0 || (url.rest.ptr + url.rest.len == text.ptr + text.len &&
                                strchr("/?#", url.rest.ptr[0])),
          "the rest");
}

/* Nothing of it can end a request line, or begin another part of it. */
static void check_origin_form(struct str method, const struct target *target)
{
    struct str form = target->origin_form;

    if (target->form == TARGET_AUTHORITY) {
        CHECK(form.len == 0, "CONNECT with a path");
        return;
    }
    CHECK(form.len > 0, "empty");
    CHECK(form.ptr[0] == '/' ||
              (form.len == 1 && form.ptr[0] == '*' && str_eq(method, STR("OPTIONS"))),
          "origin form %.*s", STR_ARG(form));
    for (size_t i = 0; i < form.len; i++) {
        CHECK(form.ptr[i] > ' ' && form.ptr[i] < 0x7f && form.ptr[i] != '#', "byte %zu", i);
    }
}

static void try_target(struct str method, struct str text)
{
    struct arena_pool pool;
    struct arena arena;
    struct target target;
    int error;

    arena_pool_init(&pool, NULL, NULL);
    arena_init(&arena, &pool);
    error = target_parse(method, text, &arena, &target);
    if (error != 0) {
        CHECK(error > 0 && target_error_text(error)[0], "error %d", error);
    } else {
        CHECK(target.port > 0, "port 0");
        CHECK((target.form == TARGET_AUTHORITY) == str_eq(method, STR("CONNECT")), "form");
        check_host(&target.host);
        check_origin_form(method, &target);
    }
    arena_reset(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str in = str_make((const char *)data, size);
    const char *blank = size > 0 ? memchr(data, ' ', size) : NULL;
    struct str method = STR("GET");
    struct str text = in;

    if (blank) {
        method = str_make(in.ptr, (size_t)(blank - in.ptr));
        text = str_make(blank + 1, in.len - method.len - 1);
    }
    try_target(method, text);
    try_target(STR("CONNECT"), text);
    try_target(STR("OPTIONS"), text);
    try_host(text);
    try_url(text);
    return 0;
}
