// SPDX-License-Identifier: MIT
#include "server/remote.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "conf/args.h"
#include "conf/conf.h"
#include "server/admin_address.h"
#include "server/ask.h"
#include "server/exit_code.h"

#define TARGET_MAX 4096
#define WAIT_S 60

/* ------------------------------------------------------------------ where it is */

/* What is wrong in the configuration is no reason not to ask: of a file that was just broken the
 * admin address is mostly still right. */
static void find_configured(const struct args *args, struct admin_address *ret)
{
    const struct conf_load_options options = {args->conf_path, args->overrides,
                                              args->override_count};
    struct conf_messages messages = {0};
    struct conf *conf = NULL;

    if (conf_read(&options, &conf, &messages) != 0 || !admin_address_of(conf, ret)) {
        bool parsed = admin_address_parse(STR(ADMIN_DEFAULT_PATH), ret);

        (void)parsed;
    }
    conf_free(conf);
    conf_messages_deinit(&messages);
}

static int find_address(const struct args *args, struct admin_address *ret)
{
    if (!args->socket) {
        find_configured(args, ret);
        return EXIT_OK;
    }
    if (!admin_address_parse(str_of(args->socket), ret)) {
        (void)fprintf(stderr, "viaduct: -s %s is no socket: unix:/PATH, /PATH or IP:PORT\n",
                      args->socket);
        return EXIT_USAGE;
    }
    return EXIT_OK;
}

static const char *advice(const struct args *args, int error)
{
    switch (error) {
    case -EACCES:
    case -EPERM:
        return "admin.mode and admin.group say who may ask there";
    case -ETIMEDOUT:
    case -EPROTO:
        return "is that viaduct's admin socket?";
    default:
        return args->socket ? "is viaduct running, and is that its admin.address?"
                            : "is viaduct running, with this admin.address? -s SOCKET names "
                              "another, -c FILE its configuration";
    }
}

static int fail_to_ask(const struct args *args, const struct admin_address *address, int error)
{
    char buf[256];
    struct text name = TEXT_OVER(buf);

    admin_address_put(&name, address);
    (void)fprintf(stderr, "viaduct: %s: %s; %s\n", text_cstr(&name),
                  error == -EPROTO ? "no whole answer" : strerror(-error), advice(args, error));
    return args->command == ARGS_EXPLAIN ? EXIT_UNDECIDED : EXIT_FAILED;
}

/* ------------------------------------------------------------------ what is asked */

/* RFC 3986 2.1: whatever has no meaning of its own in a URL stands as it is. */
static void put_encoded(struct text *out, const char *value)
{
    for (; *value; value++) {
        unsigned char c = (unsigned char)*value;
        bool is_plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                        (c >= '0' && c <= '9') || strchr("-._~:/", c);

        if (is_plain) {
            text_char(out, *value);
        } else {
            text_char(out, '%');
            text_hex(out, c, 2);
        }
    }
}

static void put_param(struct text *out, const char *separator, const char *name, const char *value)
{
    if (value) {
        text_puts(out, separator);
        text_puts(out, name);
        text_char(out, '=');
        put_encoded(out, value);
    }
}

/* Who asks is another user than the daemon. */
static const char *client_of(const struct args_explain *words, char buf[32])
{
    if (!words->client || strcmp(words->client, "unix") != 0) {
        return words->client;
    }
    (void)snprintf(buf, 32, "unix:%lu", (unsigned long)getuid());
    return buf;
}

static void put_explain(struct text *out, const struct args *args)
{
    const struct args_explain *words = &args->explain;
    const char *no_color = getenv("NO_COLOR");
    bool colours = !args->json && isatty(1) && !(no_color && *no_color);
    char client[32];

    text_puts(out, "/explain");
    put_param(out, "?", "target", words->target);
    put_param(out, "&", "client", client_of(words, client));
    put_param(out, "&", "user", words->user);
    put_param(out, "&", "method", words->method);
    put_param(out, "&", "listener", words->listener);
    put_param(out, "&", "time", words->time);
    put_param(out, "&", "resolve", words->resolve);
    put_param(out, "&", "colours", colours ? "on" : NULL);
}

/* Method and target. */
static const char *put_question(struct text *out, const struct args *args)
{
    switch (args->command) {
    case ARGS_EXPLAIN:
        put_explain(out, args);
        return "GET";
    case ARGS_RULES:
        text_puts(out, "/rules");
        return "GET";
    case ARGS_RELOAD:
        text_puts(out, "/reload");
        return "POST";
    case ARGS_KILL:
        text_puts(out, "/connections/");
        put_encoded(out, args->id);
        return "DELETE";
    case ARGS_CONNECTIONS:
        text_puts(out, args->would_deny ? "/connections?would-deny" : "/connections");
        return args->close ? "DELETE" : "GET";
    case ARGS_STATUS:
    case ARGS_SERVE:
    case ARGS_CHECK:
    case ARGS_CONFIG:
    case ARGS_HELP:
    case ARGS_VERSION:
        break;
    }
    text_puts(out, "/status");
    return "GET";
}

/* ------------------------------------------------------------------ what comes of it */

static int code_of(const struct args *args, const struct ask_answer *answer)
{
    if (answer->exit_code >= 0) {
        return answer->exit_code;
    }
    switch (answer->status) {
    case 200:
        return EXIT_OK;
    case 400:
        return EXIT_USAGE;
    case 422:
        return EXIT_CONF;
    default: /* an answer that cannot be had is no denial */
        return args->command == ARGS_EXPLAIN ? EXIT_UNDECIDED : EXIT_FAILED;
    }
}

static int print(const struct args *args, const struct ask_answer *answer)
{
    bool is_answer = answer->status == 200 || args->json;
    FILE *out = is_answer ? stdout : stderr;

    if (!is_answer && answer->status != 422) {
        (void)fputs("viaduct: ", stderr);
    }
    (void)fwrite(answer->body.ptr, 1, answer->body.len, out);
    return code_of(args, answer);
}

int remote_run(const struct args *args)
{
    char buf[TARGET_MAX];
    struct text target = TEXT_OVER(buf);
    struct admin_address address;
    struct ask_question question = {.address = &address, .json = args->json};
    struct ask_answer answer;
    int code = find_address(args, &address);
    int r;

    if (code != EXIT_OK) {
        return code;
    }
    question.method = put_question(&target, args);
    question.target = text_str(&target);
    question.wait_s = args->command == ARGS_RELOAD ? 0 : WAIT_S;
    r = target.full ? -E2BIG : ask(&question, &answer);
    if (r != 0) {
        return fail_to_ask(args, &address, r);
    }
    code = print(args, &answer);
    ask_deinit(&answer);
    return code;
}
