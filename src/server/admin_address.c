// SPDX-License-Identifier: MIT
#include "server/admin_address.h"

#include <stdlib.h>

#include "conf/conf.h"

static bool set_path(struct admin_address *ret, struct str dir, const char *name)
{
    struct text path = TEXT_OVER(ret->path);

    text_put(&path, dir);
    text_puts(&path, name);
    ret->is_unix = true;
    (void)text_cstr(&path);
    return !path.full && path.len > 0 && path.len < sizeof(ret->path);
}

bool admin_runtime_dir(struct str *ret)
{
    struct str directories = str_of(getenv("RUNTIME_DIRECTORY"));
    struct str first = str_cut(&directories, ':');

    if (!str_starts(first, STR("/"))) {
        return false;
    }
    *ret = first;
    return true;
}

static bool set_automatic(struct admin_address *ret)
{
    struct str dir;

    return admin_runtime_dir(&dir) && set_path(ret, dir, ADMIN_SOCKET_NAME);
}

bool admin_address_of(const struct conf *conf, struct admin_address *ret)
{
    const struct conf_bind *bind = &conf->admin.address;

    *ret = (struct admin_address){0};
    switch (bind->kind) {
    case CONF_BIND_AUTO:
        return set_automatic(ret);
    case CONF_BIND_UNIX:
        return set_path(ret, str_of(bind->path), "");
    case CONF_BIND_IP:
        ret->addr = bind->addr;
        return true;
    case CONF_BIND_OFF:
    case CONF_BIND_ANY:
    case CONF_BIND_SYSTEMD:
        break;
    }
    return false;
}

bool admin_address_parse(struct str text, struct admin_address *ret)
{
    *ret = (struct admin_address){0};
    if (str_starts(text, STR("unix:"))) {
        return set_path(ret, str_from(text, 5), "");
    }
    if (str_has(text, '/')) {
        return set_path(ret, text, "");
    }
    return addr_parse_ip_port(text, &ret->addr) && ret->addr.port != 0;
}

void admin_address_put(struct text *out, const struct admin_address *address)
{
    if (address->is_unix) {
        text_puts(out, "unix:");
        text_puts(out, address->path);
    } else {
        addr_put_port(out, &address->addr);
    }
}
