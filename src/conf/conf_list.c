// SPDX-License-Identifier: MIT

/* The values that are addresses: what a listener and admin bind, DNS servers, who may ask. */

#include <errno.h>
#include <string.h>
#include <sys/un.h>

#include "base/mem.h"
#include "conf/conf_setting.h"
#include "conf/conf_value.h"

#define SERVERS_MAX 32
#define DNS_PORT 53

/* One item is added at the end of the array at *items; *ret is its place, zeroed. */
static int grow(void **items, size_t *count, size_t item_size, void **ret)
{
    char *grown = mem_realloc_array(*items, *count + 1, item_size);

    if (!grown) {
        return -ENOMEM;
    }
    *items = grown;
    *ret = grown + *count * item_size;
    memset(*ret, 0, item_size);
    (*count)++;
    return 0;
}

static int parse_unix_bind(const struct conf_setting *s, struct str path, struct conf_bind *bind)
{
    int error = conf_setting_path(s, path, &bind->path);

    if (error) {
        return error;
    }
    if (strlen(bind->path) >= sizeof(((struct sockaddr_un *)NULL)->sun_path)) {
        text_printf(s->why, "the path of a unix socket takes at most %zu bytes",
                    sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1);
        return CONF_VALUE_BAD;
    }
    bind->kind = CONF_BIND_UNIX;
    return 0;
}

/* An IPv4-mapped one is the IPv4 address: to a socket for IPv6 alone it cannot be bound. */
static bool parse_ip_bind(struct str text, struct conf_bind *bind)
{
    if (!addr_parse_ip_port(text, &bind->addr)) {
        return false;
    }
    bind->addr = addr_unmapped(&bind->addr);
    bind->kind = CONF_BIND_IP;
    return true;
}

static int parse_bind(const struct conf_setting *s, struct str item, struct conf_bind *bind)
{
    uint64_t port;

    if (str_eq(item, STR("systemd"))) {
        bind->kind = CONF_BIND_SYSTEMD;
        return 0;
    }
    if (str_starts(item, STR("unix:"))) {
        return parse_unix_bind(s, str_from(item, 5), bind);
    }
    if (str_starts(item, STR("*:")) && str_parse_u64(str_from(item, 2), UINT16_MAX, &port)) {
        bind->kind = CONF_BIND_ANY;
        bind->addr.port = (uint16_t)port;
        return 0;
    }
    if (parse_ip_bind(item, bind)) {
        return 0;
    }
    text_puts(s->why, "expected IP:PORT, [IP6]:PORT, *:PORT, unix:/PATH or systemd");
    return CONF_VALUE_BAD;
}

static int add_bind(const struct conf_setting *s, struct str item)
{
    struct conf_listener *listener = s->base;
    struct conf_bind bind = {.origin = s->place->origin, .is_default = !s->place->origin.file};
    void *items = listener->binds;
    void *added = NULL;
    int error = parse_bind(s, item, &bind);

    if (!error) {
        error = grow(&items, &listener->bind_count, sizeof(bind), &added);
    }
    if (!error) {
        listener->binds = items;
        *(struct conf_bind *)added = bind;
    }
    return error;
}

/* IP, IP:PORT, [IP6], [IP6]:PORT, or a bare IPv6 address. */
static bool parse_server(struct str item, struct addr *ret)
{
    bool has_port = addr_parse_ip_port(item, ret);

    if (has_port) {
        return ret->port != 0;
    }
    if (str_starts(item, STR("[")) && str_ends(item, STR("]"))) {
        item = str_make(item.ptr + 1, item.len - 2);
        if (!str_has(item, ':')) {
            return false;
        }
    }
    if (!addr_parse_ip(item, ret)) {
        return false;
    }
    ret->port = DNS_PORT;
    return true;
}

static int add_server(const struct conf_setting *s, struct str item)
{
    struct conf *conf = s->base;
    struct addr server;
    void *items = conf->dns.servers;
    void *added = NULL;
    int error;

    if (!parse_server(item, &server)) {
        text_puts(s->why, "expected IP, IP:PORT or [IP6]:PORT");
        return CONF_VALUE_BAD;
    }
    if (conf->dns.server_count == SERVERS_MAX) {
        text_printf(s->why, "more than %d servers", SERVERS_MAX);
        return CONF_VALUE_BAD;
    }
    error = grow(&items, &conf->dns.server_count, sizeof(server), &added);
    if (!error) {
        conf->dns.servers = items;
        *(struct addr *)added = server;
    }
    return error;
}

/* Calls add for each item; the good ones are kept, the first bad one is told. */
static int set_list(const struct conf_setting *s, struct str value,
                    int (*add)(const struct conf_setting *s, struct str item))
{
    struct str rest = value;
    int result = 0;

    do {
        struct str item = str_cut(&rest, ',');
        int error = CONF_VALUE_BAD;

        if (item.len == 0) {
            text_puts(s->why, "an item of the list is empty");
        } else {
            error = add(s, item);
        }
        if (error == CONF_VALUE_BAD && value.len > item.len && item.len > 0) {
            text_printf(s->why, " (not %.*s)", (int)MIN(item.len, 64), item.ptr);
        }
        result = error;
    } while (result == 0 && rest.ptr);
    return result;
}

int conf_setting_binds(const struct conf_setting *s, struct str value)
{
    return set_list(s, value, add_bind);
}

int conf_setting_servers(const struct conf_setting *s, struct str value)
{
    return set_list(s, value, add_server);
}

void conf_bind_put(const struct conf_bind *bind, struct text *out)
{
    switch (bind->kind) {
    case CONF_BIND_IP:
        addr_put_port(out, &bind->addr);
        break;
    case CONF_BIND_ANY:
        text_puts(out, "*:");
        text_u64(out, bind->addr.port);
        break;
    case CONF_BIND_UNIX:
        text_puts(out, "unix:");
        text_puts(out, bind->path);
        break;
    case CONF_BIND_SYSTEMD:
        text_puts(out, "systemd");
        break;
    case CONF_BIND_OFF:
        text_puts(out, "off");
        break;
    case CONF_BIND_AUTO:
        text_puts(out, "auto");
        break;
    }
}

int conf_setting_bind(const struct conf_setting *s, struct str value)
{
    struct conf_bind bind = {.origin = s->place->origin};
    int error = 0;

    if (str_eq(value, STR("off"))) {
        bind.kind = CONF_BIND_OFF;
    } else if (str_eq(value, STR("auto"))) {
        bind.kind = CONF_BIND_AUTO;
    } else if (str_starts(value, STR("unix:"))) {
        error = parse_unix_bind(s, str_from(value, 5), &bind);
    } else if (!parse_ip_bind(value, &bind)) {
        text_puts(s->why, "expected unix:/PATH, IP:PORT, [IP6]:PORT, auto or off");
        error = CONF_VALUE_BAD;
    }
    if (!error) {
        *(struct conf_bind *)s->field = bind;
    }
    return error;
}

/* ---- Who may ask ---- */

static const char *const class_words[] = {
    [CONF_ADDR_ANY] = "any",
    [CONF_ADDR_LOOPBACK] = "loopback",
    [CONF_ADDR_LINK_LOCAL] = "link-local",
    [CONF_ADDR_PRIVATE] = "private",
};

static bool parse_addr(struct str item, struct conf_addr *ret)
{
    bool has_host_bits = false;

    for (size_t i = CONF_ADDR_NET + 1; i < ARRAY_LEN(class_words); i++) {
        if (str_eq(item, str_of(class_words[i]))) {
            ret->class = (enum conf_addr_class)i;
            return true;
        }
    }
    ret->class = CONF_ADDR_NET;
    return addr_parse_net(item, &ret->net, &has_host_bits) && !has_host_bits;
}

static int add_addr(const struct conf_setting *s, struct str item)
{
    struct conf *conf = s->base;
    struct conf_addr addr = {0};
    void *items = conf->admin.allow;
    void *added = NULL;
    int error;

    if (!parse_addr(item, &addr)) {
        text_puts(s->why, "expected IP, CIDR (without bits behind its prefix), loopback, "
                          "link-local, private or any");
        return CONF_VALUE_BAD;
    }
    error = grow(&items, &conf->admin.allow_count, sizeof(addr), &added);
    if (!error) {
        conf->admin.allow = items;
        *(struct conf_addr *)added = addr;
    }
    return error;
}

int conf_setting_addrs(const struct conf_setting *s, struct str value)
{
    return set_list(s, value, add_addr);
}

void conf_addr_put(const struct conf_addr *addr, struct text *out)
{
    if (addr->class != CONF_ADDR_NET) {
        text_puts(out, class_words[addr->class]);
        return;
    }
    addr_put(out, &addr->net.addr);
    text_char(out, '/');
    text_u64(out, addr->net.bits);
}

static bool addr_has(const struct conf_addr *item, const struct addr *addr)
{
    switch (item->class) {
    case CONF_ADDR_NET:
        return addr_in_net(addr, &item->net);
    case CONF_ADDR_ANY:
        break;
    case CONF_ADDR_LOOPBACK:
        return addr_is_loopback(addr);
    case CONF_ADDR_LINK_LOCAL:
        return addr_is_link_local(addr);
    case CONF_ADDR_PRIVATE:
        return addr_is_private(addr);
    }
    return true;
}

bool conf_addrs_have(const struct conf_addr *addrs, size_t count, const struct addr *addr)
{
    for (size_t i = 0; i < count; i++) {
        if (addr_has(&addrs[i], addr)) {
            return true;
        }
    }
    return false;
}
