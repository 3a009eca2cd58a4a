// SPDX-License-Identifier: MIT
#include "server/remote.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "conf/args.h"
#include "log/escape.h"
#include "server/admin_find.h"
#include "server/ask.h"
#include "server/exit_code.h"

#define TARGET_MAX 4096
#define WAIT_S 60
/* Of a reload nothing may come for as long as its files take. So now and then the daemon is asked
 * how far it is. */
#define RELOAD_SILENCE_S 5
#define RELOAD_SIGHT_S 10 /* a daemon that lives tells at once */

/* ------------------------------------------------------------------ nobody answers */

static const char *advice(const struct args *args, const struct admin_place *place, int error)
{
    switch (error) {
    case -EACCES:
    case -EPERM:
        return "admin.mode and admin.group say who may ask there";
    case -ETIMEDOUT:
        return args->command == ARGS_RELOAD
                   ? "the daemon is stopped, or busy beyond measure; what was asked may still be "
                     "done: viaduct status tells"
                   : "the daemon is stopped, or busy beyond measure";
    case -EPROTO:
        return "is that viaduct's admin socket?";
    case -E2BIG:
        return "leave out the path of the URL: no rule looks at it";
    default:
        return *place->why ? "is viaduct running? -s SOCKET names another place, -c FILE the "
                             "configuration that does"
                           : "is viaduct running, and is that its admin.address?";
    }
}

static const char *error_text(int error)
{
    return error == -EPROTO      ? "no whole answer"
           : error == -E2BIG     ? "the question is too long to be asked there"
           : error == -ETIMEDOUT ? "nobody has answered in time"
                                 : strerror(-error);
}

static int fail_to_ask(const struct args *args, const struct admin_place *place, int error)
{
    char buf[256];
    struct text name = TEXT_OVER(buf);

    admin_address_put(&name, &place->address);
    (void)text_cstr(&name);
    escape_blank(buf); /* the daemon's word, which may be another user's */
    (void)fprintf(stderr, "viaduct: %s: %s; ", buf, error_text(error));
    if (*place->why) {
        (void)fprintf(stderr, "asked there because %s; ", place->why);
    }
    (void)fprintf(stderr, "%s\n", advice(args, place, error));
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

/* ------------------------------------------------------------------ waiting for a reload */

struct vigil {
    const struct admin_address *address;
    bool has_told;
    bool was_away; /* nobody took the last question */
};

/* Between two reloads none is under way. */
static void tell_progress(struct vigil *vigil, struct str progress)
{
    if (!vigil->has_told && !str_starts(progress, STR("idle"))) {
        (void)fprintf(stderr,
                      "viaduct: the reload takes long: %.*s; waiting as long as the daemon answers "
                      "(viaduct status tells more, and the reload goes on without this command)\n",
                      STR_ARG(str_head(progress, str_find(progress, '\n'))));
        vigil->has_told = true;
    }
}

/* The daemon lives if it answers, whatever it says. One that listens elsewhere is about to answer
 * the question itself: that is what it has loaded. */
static int on_silence(void *arg)
{
    struct vigil *vigil = arg;
    const struct ask_question question = {.address = vigil->address,
                                          .method = "GET",
                                          .target = STR("/reload"),
                                          .wait_s = RELOAD_SIGHT_S};
    struct ask_answer answer;
    int r = ask(&question, &answer);

    if (r == 0) {
        vigil->was_away = false;
        if (answer.status == 200) {
            tell_progress(vigil, answer.body);
        }
        ask_deinit(&answer);
    } else if (r != -ETIMEDOUT && !vigil->was_away) {
        vigil->was_away = true;
        r = 0;
    }
    return r;
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
    struct admin_place place;
    struct vigil vigil = {.address = &place.address};
    struct ask_question question = {
        .address = &place.address, .json = args->json, .wait_s = WAIT_S};
    struct ask_answer answer;
    int code = admin_find(args, &place);
    int r;

    if (code != EXIT_OK) {
        return code;
    }
    question.method = put_question(&target, args);
    question.target = text_str(&target);
    if (args->command == ARGS_RELOAD) {
        question.wait_s = RELOAD_SILENCE_S;
        question.silent = on_silence;
        question.arg = &vigil;
    }
    r = target.full ? -E2BIG : ask(&question, &answer);
    if (r != 0) {
        return fail_to_ask(args, &place, r);
    }
    code = print(args, &answer);
    ask_deinit(&answer);
    return code;
}
