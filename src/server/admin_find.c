// SPDX-License-Identifier: MIT
#include "server/admin_find.h"

#include <stdio.h>

#include "base/text.h"
#include "conf/args.h"
#include "conf/conf.h"
#include "server/admin_record.h"
#include "server/exit_code.h"

/* ------------------------------------------------------------------ by the daemon's own word */

/* Within the service it is that of the service. Else it is that of the service which is installed,
 * of which the installed configuration tells, and no other. */
static enum admin_recorded find_recorded(const struct args *args, struct admin_place *ret)
{
    struct str dir = STR(ADMIN_DEFAULT_DIR);
    char path[ADMIN_RECORD_PATH_MAX];
    enum admin_recorded recorded;

    if (!admin_runtime_dir(&dir) && (args->conf_path || args->override_count > 0)) {
        return ADMIN_RECORD_NONE;
    }
    recorded = admin_record_read(dir, &ret->address, path);
    (void)snprintf(ret->why, sizeof(ret->why), "%s says that the daemon listens there", path);
    if (recorded == ADMIN_RECORD_OFF) {
        (void)fprintf(
            stderr, "viaduct: the running daemon has no admin socket, says %s; HUP has it reload\n",
            path);
    }
    return recorded;
}

/* ------------------------------------------------------------------ by the configuration */

/* What kept admin.address from being read, as far as it can be told. */
static void put_error(char *dst, size_t cap, const struct conf_messages *messages)
{
    const struct conf_message *found = NULL;

    for (size_t i = 0; i < messages->count; i++) {
        const struct conf_message *message = &messages->items[i];

        if (!message->is_warning &&
            (!found || str_starts(str_of(message->text), STR("admin.address")))) {
            found = message;
        }
    }
    if (found) {
        conf_message_format(found, dst, cap);
    } else {
        (void)snprintf(dst, cap, "the configuration cannot be read");
    }
}

static void put_reason(char *dst, size_t cap, const struct conf_bind *bind)
{
    struct text why = text_over(dst, cap);
    struct str dir;

    if (bind->kind == CONF_BIND_AUTO && admin_runtime_dir(&dir)) {
        text_puts(&why, "admin.address is auto, and RUNTIME_DIRECTORY names the directory");
    } else if (bind->kind == CONF_BIND_AUTO || bind->kind == CONF_BIND_OFF) {
        text_puts(&why, "the configuration names no place, and that is the usual one");
    } else {
        conf_origin_put(&why, bind->origin);
        text_puts(&why, " says so");
    }
    (void)text_cstr(&why);
}

static void use_default(struct admin_place *ret)
{
    bool parsed = admin_address_parse(STR(ADMIN_DEFAULT_PATH), &ret->address);

    (void)parsed;
}

static void say_guess(const struct admin_place *place)
{
    char buf[256];
    struct text name = TEXT_OVER(buf);

    admin_address_put(&name, &place->address);
    (void)fprintf(stderr, "viaduct: %s; asking at %s\n", place->why, text_cstr(&name));
}

/* What is wrong in the configuration is no reason not to ask: of a file that was just broken the
 * admin address is mostly still right. */
static void find_configured(const struct args *args, struct admin_place *ret)
{
    const struct conf_load_options options = {args->conf_path, args->overrides,
                                              args->override_count};
    struct conf_messages messages = {0};
    struct conf *conf = NULL;
    bool is_read = conf_read(&options, &conf, &messages) == 0;

    if (!is_read || !admin_address_of(conf, &ret->address)) {
        use_default(ret);
    }
    if (is_read && (messages.error_count == 0 || conf->admin.address.origin.file)) {
        put_reason(ret->why, sizeof(ret->why), &conf->admin.address);
    } else {
        put_error(ret->why, sizeof(ret->why), &messages);
        say_guess(ret);
    }
    conf_free(conf);
    conf_messages_deinit(&messages);
}

int admin_find(const struct args *args, struct admin_place *ret)
{
    *ret = (struct admin_place){0};
    if (args->socket) {
        if (admin_address_parse(str_of(args->socket), &ret->address)) {
            return EXIT_OK;
        }
        (void)fprintf(stderr, "viaduct: -s %s is no socket: unix:/PATH, /PATH or IP:PORT\n",
                      args->socket);
        return EXIT_USAGE;
    }
    switch (find_recorded(args, ret)) {
    case ADMIN_RECORD_AT:
        return EXIT_OK;
    case ADMIN_RECORD_OFF:
        return EXIT_FAILED;
    case ADMIN_RECORD_NONE:
        break;
    }
    find_configured(args, ret);
    return EXIT_OK;
}
