// SPDX-License-Identifier: MIT

/* What one value alone cannot tell: values that contradict each other, or the machine. */

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"
#include "conf/conf.h"
#include "conf/conf_keys.h"
#include "conf/conf_state.h"
#include "conf/conf_value.h"

#define UNIX_MODE_DEFAULT 0660
#define ACCOUNT_BUF_BYTES 16384 /* of one entry of passwd, and of most of group */
#define ACCOUNT_MAX_BYTES (ACCOUNT_BUF_BYTES << 12)

static bool is_unspecified(const struct addr *addr)
{
    static const uint8_t zeros[16];

    return memcmp(addr->bytes, zeros, addr->kind == ADDR_IP4 ? 4 : 16) == 0;
}

/* Both would claim the same address. Port 0 is another port each time; inherited sockets are told
 * apart by the names of their listeners. */
static bool binds_clash(const struct conf_bind *a, const struct conf_bind *b, bool same_listener)
{
    bool a_ip = a->kind == CONF_BIND_IP || a->kind == CONF_BIND_ANY;
    bool b_ip = b->kind == CONF_BIND_IP || b->kind == CONF_BIND_ANY;

    if (a_ip && b_ip) {
        if (a->addr.port != b->addr.port || a->addr.port == 0) {
            return false;
        }
        if (a->kind == CONF_BIND_ANY || b->kind == CONF_BIND_ANY) {
            return true;
        }
        return a->addr.kind == b->addr.kind &&
               (is_unspecified(&a->addr) || is_unspecified(&b->addr) ||
                addr_ip_eq(&a->addr, &b->addr));
    }
    if (a->kind == CONF_BIND_UNIX && b->kind == CONF_BIND_UNIX) {
        return strcmp(a->path, b->path) == 0;
    }
    return a->kind == CONF_BIND_SYSTEMD && b->kind == CONF_BIND_SYSTEMD && same_listener;
}

static void report_clash(const struct conf_listener *listener, const struct conf_bind *bind,
                         const struct conf_listener *other, const struct conf_bind *first,
                         struct conf_messages *messages)
{
    char bind_buf[256];
    char first_buf[256];
    char origin_buf[CONF_ORIGIN_TEXT_MAX];
    struct text bind_text = TEXT_OVER(bind_buf);
    struct text first_text = TEXT_OVER(first_buf);
    struct text origin = TEXT_OVER(origin_buf);

    conf_bind_put(bind, &bind_text);
    conf_bind_put(first, &first_text);
    conf_origin_put(&origin, first->origin);
    conf_messages_add(messages, false, bind->origin,
                      "listen %s.address = %s: taken by listen %s.address = %s at %s",
                      listener->name, text_cstr(&bind_text), other->name, text_cstr(&first_text),
                      text_cstr(&origin));
}

/* Looks for an earlier bind that clashes with this one, and tells of the first. */
static void check_bind(const struct conf *conf, size_t listener, size_t bind,
                       struct conf_messages *messages)
{
    const struct conf_listener *mine = &conf->listeners[listener];

    for (size_t i = 0; i <= listener; i++) {
        const struct conf_listener *other = &conf->listeners[i];
        size_t end = i == listener ? bind : other->bind_count;

        for (size_t j = 0; j < end; j++) {
            if (binds_clash(&other->binds[j], &mine->binds[bind], i == listener)) {
                report_clash(mine, &mine->binds[bind], other, &other->binds[j], messages);
                return;
            }
        }
    }
}

/* Of one without any address something worse is told. */
static bool lacks_unix_bind(const struct conf_listener *listener)
{
    for (size_t i = 0; i < listener->bind_count; i++) {
        if (listener->binds[i].kind == CONF_BIND_UNIX) {
            return false;
        }
    }
    return listener->bind_count > 0;
}

/* Only an account database that answered "no such name" proves a mistake. */
static bool find_user(const char *name, uid_t *ret)
{
    char buf[ACCOUNT_BUF_BYTES];
    struct passwd entry;
    struct passwd *found = NULL;
    int error = name ? getpwnam_r(name, &entry, buf, sizeof(buf), &found) : EINVAL;

    *ret = error == 0 && found ? entry.pw_uid : (uid_t)-1;
    return error == 0 && !found;
}

/* True when there is none of that name. Here, once, because a database may be far away and slow:
 * whoever puts the configuration in force has others waiting. */
static bool find_group(const char *name, gid_t *ret)
{
    struct group entry;
    struct group *found = NULL;
    int error = name ? ERANGE : EINVAL;

    /* An entry has all members of its group. */
    for (size_t cap = ACCOUNT_BUF_BYTES; error == ERANGE && cap <= ACCOUNT_MAX_BYTES; cap *= 4) {
        char *buf = mem_alloc(cap);

        error = buf ? getgrnam_r(name, &entry, buf, cap, &found) : ENOMEM;
        mem_free(buf);
    }
    *ret = error == 0 && found ? entry.gr_gid : (gid_t)-1;
    return error == 0 && !found;
}

static void check_listener(struct conf *conf, const struct conf_section *section,
                           struct conf_messages *messages)
{
    struct conf_listener *listener = &conf->listeners[section->listener];
    const struct conf_slot *group =
        &section->slots[conf_key_index(conf_key_find("listen", STR("group")))];
    const struct conf_slot *mode =
        &section->slots[conf_key_index(conf_key_find("listen", STR("mode")))];

    for (size_t i = 0; i < listener->bind_count; i++) {
        check_bind(conf, section->listener, i, messages);
    }
    if (find_group(listener->group, &listener->gid)) {
        conf_messages_add(messages, false, group->origin, "listen %s.group = %s: no such group",
                          listener->name, listener->group);
    }
    if (listener->group && lacks_unix_bind(listener)) {
        conf_messages_add(messages, true, group->origin,
                          "listen %s.group means nothing without a unix: address", listener->name);
    }
    if (listener->mode != UNIX_MODE_DEFAULT && lacks_unix_bind(listener)) {
        conf_messages_add(messages, true, mode->origin,
                          "listen %s.mode means nothing without a unix: address", listener->name);
    }
}

static bool lets_others_ask(const struct conf *conf)
{
    for (size_t i = 0; i < conf->admin.allow_count; i++) {
        const struct conf_addr *addr = &conf->admin.allow[i];

        if (addr->class != CONF_ADDR_LOOPBACK &&
            !(addr->class == CONF_ADDR_NET && addr_is_loopback(&addr->net.addr))) {
            return true;
        }
    }
    return false;
}

/* At a start the second of them could not bind; a reload would have them share. */
static void check_admin_clash(const struct conf *conf, struct conf_messages *messages)
{
    for (size_t i = 0; i < conf->listener_count; i++) {
        const struct conf_listener *listener = &conf->listeners[i];

        for (size_t k = 0; k < listener->bind_count; k++) {
            if (binds_clash(&listener->binds[k], &conf->admin.address, false)) {
                conf_messages_add(messages, false, conf->admin.address.origin,
                                  "admin.address: listen %s.address takes the same address",
                                  listener->name);
                return;
            }
        }
    }
}

static void check_admin(struct conf *conf, struct conf_messages *messages)
{
    enum conf_bind_kind kind = conf->admin.address.kind;
    bool is_unix = kind == CONF_BIND_UNIX || kind == CONF_BIND_AUTO;

    if (find_group(conf->admin.group, &conf->admin.gid)) {
        conf_messages_add(messages, false, conf_origin_of(conf, "admin", "group"),
                          "admin.group = %s: no such group", conf->admin.group);
    }
    if (conf->admin.group && !is_unix) {
        conf_messages_add(messages, true, conf_origin_of(conf, "admin", "group"),
                          "admin.group means nothing without a unix: address");
    }
    if (conf->admin.write && is_unix) {
        conf_messages_add(messages, true, conf_origin_of(conf, "admin", "write"),
                          "admin.write means nothing without a TCP address: over a unix socket "
                          "all may be done");
    }
    if (conf->admin.write && kind == CONF_BIND_IP && lets_others_ask(conf)) {
        conf_messages_add(messages, true, conf_origin_of(conf, "admin", "write"),
                          "admin.write lets other machines reload, cut connections and see what "
                          "clients ask for: all in admin.allow, without a password");
    }
}

/* A value that another one makes void. Told where the user wrote one of the two. */
static void warn_void(const struct conf *conf, const char *section, const char *key,
                      const char *other_key, const char *text, struct conf_messages *messages)
{
    struct conf_origin origin = conf_origin_of(conf, section, key);

    if (!origin.file) {
        origin = conf_origin_of(conf, section, other_key);
    }
    conf_messages_add(messages, true, origin, "%s.%s is more than %s.%s: %s", section, key, section,
                      other_key, text);
}

static void check_pairs(const struct conf *conf, struct conf_messages *messages)
{
    if (conf->pool.idle_per_host > conf->pool.idle_total) {
        warn_void(conf, "pool", "idle_per_host", "idle_total", "one host will never have so many",
                  messages);
    }
    if (conf->limits.target_bytes > conf->limits.head_bytes) {
        warn_void(conf, "limits", "target_bytes", "head_bytes",
                  "a long target is refused with 431, never with 414", messages);
    }
    if (conf->server.max_connections_per_client > conf->server.max_connections) {
        warn_void(conf, "server", "max_connections_per_client", "max_connections",
                  "it will never be reached", messages);
    }
}

/* 0, or the errno with which we, as whom we now are, could not add to the file, or make it. */
static int cannot_append(const char *path)
{
    char directory[PATH_MAX];
    size_t len = (size_t)(strrchr(path, '/') - path);
    struct stat st;

    if (faccessat(AT_FDCWD, path, W_OK, AT_EACCESS) == 0) {
        return stat(path, &st) == 0 && S_ISDIR(st.st_mode) ? EISDIR : 0;
    }
    if (errno != ENOENT) {
        return errno;
    }
    if (len >= sizeof(directory)) {
        return ENAMETOOLONG;
    }
    (void)snprintf(directory, sizeof(directory), "%.*s/.", (int)len, path);
    return faccessat(AT_FDCWD, directory, W_OK | X_OK, AT_EACCESS) == 0 ? 0 : errno;
}

/* What we may not counts only if we are the one who will open it. */
static void check_log(const struct conf *conf, uid_t user, struct conf_messages *messages)
{
    int error = conf->log.path ? cannot_append(conf->log.path) : 0;

    if (error == 0 || (error == EACCES && user != geteuid())) {
        return;
    }
    conf_messages_add(messages, true, conf_origin_of(conf, "log", "destination"),
                      "log.destination = %s: it cannot be opened%s, and a start will fail: %s",
                      conf->log.path, error == EACCES ? " by server.user" : "", strerror(error));
}

/* One that names nothing at all is no mistake where nobody wrote it down. */
static void check_hosts(const struct conf *conf, struct conf_messages *messages)
{
    struct conf_origin origin = conf_origin_of(conf, "dns", "hosts");
    struct file_stamp stamp;
    int fd = -1;
    int error;

    if (!origin.file) {
        return;
    }
    conf_messages_reading(messages, conf->dns.hosts_path);
    error = file_open(conf->dns.hosts_path, &stamp, &fd);
    if (error != 0) {
        conf_messages_add(messages, true, origin, "dns.hosts = %s: %s", conf->dns.hosts_path,
                          error == FILE_NOT_REGULAR ? "not a regular file: it names no host"
                                                    : strerror(-error));
    }
    if (fd >= 0) {
        (void)close(fd);
    }
}

static void check_machine(const struct conf *conf, struct conf_messages *messages)
{
    uid_t user;

    if (find_user(conf->server.user, &user)) {
        conf_messages_add(messages, false, conf_origin_of(conf, "server", "user"),
                          "server.user = %s: no such user", conf->server.user);
    }
    check_log(conf, user, messages);
}

void conf_check(struct conf *conf, struct conf_messages *messages)
{
    for (const struct conf_section *s = conf->state->sections; s; s = s->next) {
        if (s->kind->is_named) {
            check_listener(conf, s, messages);
        }
    }
    check_admin(conf, messages);
    check_admin_clash(conf, messages);
    check_pairs(conf, messages);
    check_hosts(conf, messages);
    check_machine(conf, messages);
}
