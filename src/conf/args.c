// SPDX-License-Identifier: MIT
#include "conf/args.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"

struct parser {
    char *const *argv;
    int argc;
    int next; /* the word to look at */
    bool has_command;
    bool only_words; /* "--" was seen */
    struct args *args;
    char *error; /* borrowed */
    size_t cap;
};

/* What a command takes beside -c and -o; bits. */
enum {
    TAKES_SECRETS = 1 << 0,
    TAKES_QUESTION = 1 << 1, /* the options of explain_options */
    TAKES_JSON = 1 << 2,
    TAKES_SOCKET = 1 << 3,
    TAKES_WOULD_DENY = 1 << 4, /* and --close */
};

static const struct {
    const char *word;
    enum args_command command;
    unsigned takes;
} commands[] = {
    {"serve", ARGS_SERVE, 0},
    {"check", ARGS_CHECK, 0},
    {"config", ARGS_CONFIG, TAKES_SECRETS},
    {"explain", ARGS_EXPLAIN, TAKES_QUESTION | TAKES_JSON | TAKES_SOCKET},
    {"status", ARGS_STATUS, TAKES_JSON | TAKES_SOCKET},
    {"rules", ARGS_RULES, TAKES_JSON | TAKES_SOCKET},
    {"connections", ARGS_CONNECTIONS, TAKES_JSON | TAKES_SOCKET | TAKES_WOULD_DENY},
    {"kill", ARGS_KILL, TAKES_JSON | TAKES_SOCKET},
    {"reload", ARGS_RELOAD, TAKES_JSON | TAKES_SOCKET},
};

/* Options of `explain` with a value. */
static const struct {
    const char *word;
    size_t field; /* offset in struct args_explain */
    const char *wanted;
} explain_options[] = {
    {"--client", offsetof(struct args_explain, client), "an address"},
    {"--user", offsetof(struct args_explain, user), "a user's name"},
    {"--method", offsetof(struct args_explain, method), "a method"},
    {"--listener", offsetof(struct args_explain, listener), "a listener's name"},
    {"--time", offsetof(struct args_explain, time), "'YYYY-MM-DD HH:MM'"},
    {"--resolve", offsetof(struct args_explain, resolve), "ADDR[,ADDR]"},
};

static int wrong(struct parser *parser, const char *fmt, ...) PRINTF_LIKE(2, 3);

static int wrong(struct parser *parser, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(parser->error, parser->cap, fmt, args);
    va_end(args);
    return ARGS_WRONG;
}

/* What a command is about: the target of explain, the ID of kill. False: it takes none, or has it.
 */
static bool take_operand(struct parser *parser, const char *word)
{
    struct args *args = parser->args;
    const char **operand = NULL;

    if (parser->has_command && args->command == ARGS_EXPLAIN) {
        operand = &args->explain.target;
    } else if (parser->has_command && args->command == ARGS_KILL) {
        operand = &args->id;
    }
    if (!operand || *operand) {
        return false;
    }
    *operand = word;
    return true;
}

static int take_command(struct parser *parser, const char *word)
{
    if (take_operand(parser, word)) {
        return 0;
    }
    if (parser->has_command) {
        return wrong(parser, "one command at a time: '%s' is one too many", word);
    }
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        if (strcmp(word, commands[i].word) == 0) {
            parser->args->command = commands[i].command;
            parser->has_command = true;
            return 0;
        }
    }
    return wrong(parser,
                 "unknown command '%s' (viaduct --help names them; a file is named with -c FILE)",
                 word);
}

static int set_once(struct parser *parser, const char **field, const char *value,
                    const char *complaint)
{
    if (*field) {
        return wrong(parser, "%s", complaint);
    }
    *field = value;
    return 0;
}

/* -c, -o or -s; what it names is the rest of its word, or the next word. */
static int take_valued(struct parser *parser, const char *word)
{
    struct args *args = parser->args;
    const char *value = word + 2;

    if (*value == '\0') {
        if (parser->next == parser->argc) {
            return wrong(parser, "%s wants %s", word,
                         word[1] == 'c'   ? "a file"
                         : word[1] == 's' ? "a socket: unix:/PATH or IP:PORT"
                                          : "SECTION.KEY=VALUE");
        }
        value = parser->argv[parser->next++];
    }
    switch (word[1]) {
    case 'o':
        args->overrides[args->override_count++] = value;
        return 0;
    case 's':
        return set_once(parser, &args->socket, value, "-s stands twice");
    default:
        return set_once(parser, &args->conf_path, value,
                        "-c stands twice; a file can include others");
    }
}

/* One of explain_options: what it sets is behind its '=', or the next word. False: word is none of
 * them. */
static bool take_explain_option(struct parser *parser, const char *word, int *ret_error)
{
    for (size_t i = 0; i < ARRAY_LEN(explain_options); i++) {
        struct str name = str_of(explain_options[i].word);
        const char **field =
            (const char **)(void *)((char *)&parser->args->explain + explain_options[i].field);
        const char *value = word + name.len;

        if (!str_starts(str_of(word), name) || (*value != '\0' && *value != '=')) {
            continue;
        }
        if (*value == '\0' && parser->next == parser->argc) {
            *ret_error = wrong(parser, "%s wants %s", word, explain_options[i].wanted);
        } else if (*field) {
            *ret_error = wrong(parser, "%s stands twice", explain_options[i].word);
        } else {
            *field = *value == '=' ? value + 1 : parser->argv[parser->next++];
        }
        return true;
    }
    return false;
}

/* Options without a value. */
static bool take_flag(struct parser *parser, const char *word)
{
    struct args *args = parser->args;
    const struct {
        const char *word;
        bool *flag;
    } flags[] = {
        {"--", &parser->only_words},
        {"--json", &args->json},
        {"--show-secrets", &args->show_secrets},
        {"--would-deny", &args->would_deny},
        {"--close", &args->close},
    };

    for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
        if (strcmp(word, flags[i].word) == 0) {
            *flags[i].flag = true;
            return true;
        }
    }
    return false;
}

static int take_option(struct parser *parser, const char *word)
{
    int error = 0;

    if (take_explain_option(parser, word, &error)) {
        return error;
    }
    if (take_flag(parser, word)) {
        return 0;
    }
    if (word[1] == 'c' || word[1] == 'o' || word[1] == 's') {
        return take_valued(parser, word);
    }
    return wrong(parser, "unknown option '%s' (see viaduct --help)", word);
}

/* --help and --version end the reading. */
static bool take_last(struct parser *parser, const char *word)
{
    if (strcmp(word, "-h") == 0 || strcmp(word, "--help") == 0) {
        parser->args->command = ARGS_HELP;
        return true;
    }
    if (strcmp(word, "-V") == 0 || strcmp(word, "--version") == 0) {
        parser->args->command = ARGS_VERSION;
        return true;
    }
    return false;
}

/* The first option of `explain` that was given, or NULL. */
static const char *given_explain_option(const struct args_explain *explain)
{
    for (size_t i = 0; i < ARRAY_LEN(explain_options); i++) {
        const char *value;

        memcpy(&value, (const char *)explain + explain_options[i].field, sizeof(value));
        if (value) {
            return explain_options[i].word;
        }
    }
    return NULL;
}

static int check_options(struct parser *parser)
{
    const struct args *args = parser->args;
    const struct {
        const char *word; /* NULL: was not given */
        unsigned takes;
    } given[] = {
        {args->show_secrets ? "--show-secrets" : NULL, TAKES_SECRETS},
        {given_explain_option(&args->explain), TAKES_QUESTION},
        {args->json ? "--json" : NULL, TAKES_JSON},
        {args->socket ? "-s" : NULL, TAKES_SOCKET},
        {args->would_deny ? "--would-deny" : NULL, TAKES_WOULD_DENY},
        {args->close ? "--close" : NULL, TAKES_WOULD_DENY},
    };

    for (size_t i = 0; i < ARRAY_LEN(given); i++) {
        for (size_t k = 0; given[i].word && k < ARRAY_LEN(commands); k++) {
            if (commands[k].command == args->command && !(commands[k].takes & given[i].takes)) {
                return wrong(parser, "the command %s has no option %s", commands[k].word,
                             given[i].word);
            }
        }
    }
    return 0;
}

/* What no word alone tells. */
static int check_words(struct parser *parser)
{
    const struct args *args = parser->args;
    int error = check_options(parser);

    if (error) {
        return error;
    }
    if (args->command == ARGS_EXPLAIN && !args->explain.target) {
        return wrong(parser, "explain wants a URL or HOST:PORT");
    }
    if (args->socket && (args->conf_path || args->override_count > 0)) {
        return wrong(parser,
                     "the daemon is asked (-s), or a configuration is read: %s cannot stand beside "
                     "-s",
                     args->conf_path ? "-c" : "-o");
    }
    if (args->command == ARGS_KILL && !args->id) {
        return wrong(parser, "kill wants the ID that 'viaduct connections' or the log tells");
    }
    if (args->close && !args->would_deny) {
        return wrong(parser, "--close ends what --would-deny lists, and wants it");
    }
    return 0;
}

static int read_words(struct parser *parser)
{
    while (parser->next < parser->argc) {
        const char *word = parser->argv[parser->next++];
        bool is_option = !parser->only_words && word[0] == '-' && word[1] != '\0';
        int error;

        if (is_option && take_last(parser, word)) {
            return 0;
        }
        error = is_option ? take_option(parser, word) : take_command(parser, word);
        if (error) {
            return error;
        }
    }
    return check_words(parser);
}

int args_parse(int argc, char *const *argv, struct args *ret, char *error, size_t cap)
{
    struct args args = {.command = ARGS_SERVE};
    struct parser parser = {.argv = argv, .argc = argc, .next = 1, .error = error, .cap = cap};
    int result;

    args.overrides = mem_zalloc(((size_t)argc + 1) * sizeof(*args.overrides));
    if (!args.overrides) {
        return -ENOMEM;
    }
    parser.args = &args;
    result = read_words(&parser);
    if (result) {
        args_deinit(&args);
        return result;
    }
    *ret = args;
    return 0;
}

void args_deinit(struct args *args)
{
    mem_free(args->overrides);
    *args = (struct args){0};
}
