// SPDX-License-Identifier: MIT

/* Arguments, commands, exit codes. */

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/attr.h"
#include "base/mem.h"
#include "conf/args.h"
#include "conf/conf.h"
#include "http/h1_parse.h"
#include "io/loop.h"
#include "log/journal.h"
#include "policy/auth_hash.h"
#include "policy/idn.h"
#include "policy/policy.h"
#include "policy/snapshot.h"
#include "resolve/resolver.h"
#include "server/admin_address.h"
#include "server/exit_code.h"
#include "server/explain.h"
#include "server/methods.h"
#include "server/privileges.h"
#include "server/remote.h"
#include "server/server.h"

#ifndef VIADUCT_VERSION
#define VIADUCT_VERSION "unknown"
#endif

#define USER_NAME_MAX 256

static const char usage[] =
    "viaduct is an HTTP forward proxy. It needs no file to start: without one it\n"
    "serves this machine alone, on port 8080 of the loopback addresses.\n"
    "\n"
    "  viaduct [serve] [-c FILE] [-o SECTION.KEY=VALUE]...    serve, in the foreground\n"
    "  viaduct check   [-c FILE] [-o SECTION.KEY=VALUE]...    tell what is wrong in the "
    "configuration\n"
    "  viaduct config  [-c FILE] [-o SECTION.KEY=VALUE]... [--show-secrets]\n"
    "                                                         show the effective configuration\n"
    "  viaduct explain [-s SOCKET | [-c FILE] [-o SECTION.KEY=VALUE]...] [--client ADDR]\n"
    "                  [--user NAME] [--method METHOD] [--listener NAME]\n"
    "                  [--time 'YYYY-MM-DD HH:MM'] [--resolve ADDR[,ADDR]] [--json]\n"
    "                  URL or HOST:PORT\n"
    "                                                         tell what would happen to a request\n"
    "\n"
    "Of the running daemon, each also with [-s SOCKET | [-c FILE] [-o SECTION.KEY=VALUE]...]:\n"
    "\n"
    "  viaduct status [--json]                                tell how the running daemon is\n"
    "  viaduct rules [--json]                                 its rules, and how often each "
    "decided\n"
    "  viaduct connections [--json] [--would-deny [--close]]  what runs, or what of it its rules\n"
    "                                                         would refuse now\n"
    "  viaduct kill ID [--json]                               end one of them\n"
    "  viaduct reload [--json]                                read the configuration again\n"
    "\n"
    "  viaduct --help, -h; viaduct --version, -V\n"
    "\n"
    "  -c FILE               read FILE; without it " CONF_DEFAULT_PATH ",\n"
    "                        if there is such a file\n"
    "  -s SOCKET             ask the daemon there: unix:/PATH or IP:PORT; without it where it "
    "says\n"
    "                        that it listens, else at the configuration's admin.address, else\n"
    "                        at " ADMIN_DEFAULT_PATH "\n"
    "  -o SECTION.KEY=VALUE  replace one value, as in -o 'listen lan.address=*:3128'\n"
    "\n"
    "Exit status: 0 done, 1 failed at run time, 2 wrong usage, 78 wrong configuration\n"
    "(of reload, too, where the daemon refused it);\n"
    "of explain: 0 allowed, 1 denied, 3 not decided.\n"
    "Signals: TERM and INT end it gracefully, a second one at once; HUP reads the configuration\n"
    "again; USR1 reopens the log file.\n";

/* A descriptor 0, 1 or 2 that is closed would be the next socket's, and the log would go there. */
static void open_standard_descriptors(void)
{
    for (int fd = 0; fd <= 2; fd++) {
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF && open("/dev/null", O_RDWR) != fd) {
            return; /* no /dev/null: nothing to be done, and nowhere to say so */
        }
    }
}

/* An error, in one line on stderr. */
PRINTF_LIKE(1, 2)
static void complain(const char *fmt, ...)
{
    struct str prefix = journal_prefix_on(STDERR_FILENO, LOG_ERROR);
    char line[CONF_MESSAGE_LINE_MAX];
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(line, sizeof(line), fmt, args);
    va_end(args);
    (void)fprintf(stderr, "%.*sviaduct: %s\n", STR_ARG(prefix), line);
}

/* What was printed must have arrived: a full disk is a failure too. */
static int finish_output(int code)
{
    if (fflush(stdout) != 0 || ferror(stdout)) {
        complain("standard output: %s", strerror(errno));
        return EXIT_FAILED;
    }
    return code;
}

static void print_messages(FILE *out, const struct conf_messages *messages)
{
    for (size_t i = 0; i < messages->count; i++) {
        const struct conf_message *message = &messages->items[i];
        enum log_level level = message->is_warning ? LOG_WARNING : LOG_ERROR;
        struct str prefix = out == stderr ? journal_prefix_on(STDERR_FILENO, level) : STR("");
        char line[CONF_MESSAGE_LINE_MAX];

        conf_message_format(message, line, sizeof(line));
        (void)fprintf(out, "%.*s%s\n", STR_ARG(prefix), line);
    }
}

static void print_text(void *arg, struct str text)
{
    (void)fwrite(text.ptr, 1, text.len, arg);
}

static int show_version(void)
{
    (void)printf("viaduct %s\nlibevent %s\nllhttp %s\nc-ares %s\n%s\nlibidn2 %s\nlibxcrypt %s\n",
                 VIADUCT_VERSION, loop_library_version(), h1_parser_library_version(),
                 resolver_library_version(), conf_library_version(), idn_library_version(),
                 auth_hash_library_version());
    return finish_output(EXIT_OK);
}

static int check(const struct conf *conf, const struct conf_messages *messages)
{
    print_messages(stdout, messages);
    (void)printf("%s: ok\n", conf->source ? conf->source : "built-in defaults");
    return finish_output(EXIT_OK);
}

static int show_config(const struct conf *conf, bool show_secrets,
                       const struct conf_messages *messages)
{
    const struct conf_dump_options options = {
        .show_secrets = show_secrets,
        .put = print_text,
        .put_rule = policy_put_rule,
        .arg = stdout,
    };

    print_messages(stderr, messages);
    conf_dump(conf, &options);
    return finish_output(EXIT_OK);
}

/* An answer that cannot be had is no denial. */
static int explain(const struct args *args, const struct snapshot *snapshot)
{
    const char *no_color = getenv("NO_COLOR");
    struct explain_question question;
    struct explain_answer answer;
    char error[512];
    int code;
    int r = explain_read(&args->explain, snapshot, &question, error, sizeof(error));

    if (r == EXPLAIN_WRONG) {
        complain("%s", error);
        return EXIT_USAGE;
    }
    if (r < 0) {
        complain("%s", strerror(-r));
        return EXIT_UNDECIDED;
    }
    if (explain_ask(&question, snapshot, &answer, error, sizeof(error)) != 0) {
        complain("%s", error);
        return EXIT_UNDECIDED;
    }
    if (args->json) {
        explain_show_json(&question, &answer, stdout);
    } else {
        explain_show(&question, &answer, isatty(1) && !(no_color && *no_color), stdout);
    }
    code = explain_status(&answer);
    return finish_output(code) == code ? code : EXIT_UNDECIDED;
}

static struct conf_load_options load_options(const struct args *args)
{
    return (struct conf_load_options){args->conf_path, args->overrides, args->override_count};
}

/* The commands that need a configuration. */
static int run_loaded(const struct args *args, struct snapshot *snapshot,
                      const struct conf_messages *messages)
{
    int code;

    if (args->command == ARGS_SERVE) {
        const struct conf_load_options source = load_options(args);

        return server_run(snapshot, &source, messages);
    }
    if (args->command == ARGS_EXPLAIN) {
        code = explain(args, snapshot);
    } else if (args->command == ARGS_CHECK) {
        code = check(snapshot->conf, messages);
    } else {
        code = show_config(snapshot->conf, args->show_secrets, messages);
    }
    snapshot_unref(snapshot);
    return code;
}

/* What is wrong is what `check` was asked for; to the other commands it is an error. */
static int report_wrong_conf(const struct args *args, const struct conf_messages *messages)
{
    if (args->command == ARGS_CHECK) {
        print_messages(stdout, messages);
        return finish_output(EXIT_CONF);
    }
    print_messages(stderr, messages);
    return EXIT_CONF;
}

/* As snapshot_load, for a start. What a reload will have to read as server.user is read as that
 * user at the start, too: else a file that only root may read would be followed no longer, and
 * nobody would know. Who has read is in user; empty: who we are. */
static int load_as_server_user(const struct conf_load_options *options, struct snapshot **ret,
                               struct conf_messages *messages, char user[USER_NAME_MAX])
{
    struct conf_messages first_messages = {0};
    struct conf *first = NULL;
    int error = geteuid() == 0 ? conf_read(options, &first, &first_messages) : 0;
    int lent = 0;

    user[0] = '\0';
    if (!error && first && first->server.user) {
        lent = privileges_lend(first->server.user);
        if (lent == 0) {
            (void)snprintf(user, USER_NAME_MAX, "%s", first->server.user);
        }
    }
    conf_free(first);
    conf_messages_deinit(&first_messages);
    if (!error) {
        error = snapshot_load(options, NULL, ret, messages);
    }
    if (user[0] != '\0') {
        privileges_resume();
    }
    if (!error) {
        methods_check((*ret)->policy, messages);
        privileges_check((*ret)->conf, lent, messages);
    }
    return error;
}

static int run_with_conf(const struct args *args)
{
    const struct conf_load_options options = load_options(args);
    struct conf_messages messages = {0};
    struct snapshot *snapshot = NULL;
    char user[USER_NAME_MAX] = "";
    bool is_start = args->command == ARGS_SERVE || args->command == ARGS_CHECK;
    int error;
    int code;

    if (args->command == ARGS_SERVE) {
        server_hold_signals();
    }
    error = is_start ? load_as_server_user(&options, &snapshot, &messages, user)
                     : snapshot_load(&options, NULL, &snapshot, &messages);
    if (error < 0) {
        complain("%s", strerror(-error));
        code = EXIT_FAILED;
    } else if (error > 0) {
        code = report_wrong_conf(args, &messages);
        if (user[0] != '\0') {
            complain("all this was read as server.user, %s", user);
        }
    } else {
        code = run_loaded(args, snapshot, &messages);
    }
    conf_messages_deinit(&messages);
    return code;
}

static int ask_daemon(const struct args *args)
{
    int code = remote_run(args);
    int failed = args->command == ARGS_EXPLAIN ? EXIT_UNDECIDED : EXIT_FAILED;

    return finish_output(code) == code ? code : failed;
}

static int run(const struct args *args)
{
    switch (args->command) {
    case ARGS_HELP:
        (void)fputs(usage, stdout);
        return finish_output(EXIT_OK);
    case ARGS_VERSION:
        return show_version();
    case ARGS_STATUS:
    case ARGS_RULES:
    case ARGS_CONNECTIONS:
    case ARGS_KILL:
    case ARGS_RELOAD:
        return ask_daemon(args);
    case ARGS_EXPLAIN:
        return args->socket ? ask_daemon(args) : run_with_conf(args);
    case ARGS_SERVE:
    case ARGS_CHECK:
    case ARGS_CONFIG:
        break;
    }
    return run_with_conf(args);
}

int main(int argc, char **argv)
{
    char error[512];
    struct args args;
    int result;
    int code;

    open_standard_descriptors();
    mem_give_back_large();
    result = args_parse(argc, argv, &args, error, sizeof(error));
    if (result == ARGS_WRONG) {
        complain("%s", error);
        return EXIT_USAGE;
    }
    if (result < 0) {
        complain("%s", strerror(-result));
        return EXIT_FAILED;
    }
    code = run(&args);
    args_deinit(&args);
    return code;
}
