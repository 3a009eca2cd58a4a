// SPDX-License-Identifier: MIT
#include "conf/args.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

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

static const struct {
    const char *word;
    enum args_command command;
} commands[] = {{"serve", ARGS_SERVE}, {"check", ARGS_CHECK}, {"config", ARGS_CONFIG}};

static int wrong(struct parser *parser, const char *fmt, ...) PRINTF_LIKE(2, 3);

static int wrong(struct parser *parser, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(parser->error, parser->cap, fmt, args);
    va_end(args);
    return ARGS_WRONG;
}

static int take_command(struct parser *parser, const char *word)
{
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
                 "unknown command '%s' (there are serve, check and config; a file is named "
                 "with -c FILE)",
                 word);
}

/* -c or -o; what it names is the rest of its word, or the next word. */
static int take_valued(struct parser *parser, const char *word)
{
    struct args *args = parser->args;
    const char *value = word + 2;

    if (*value == '\0') {
        if (parser->next == parser->argc) {
            return wrong(parser, "%s wants %s", word,
                         word[1] == 'c' ? "a file" : "SECTION.KEY=VALUE");
        }
        value = parser->argv[parser->next++];
    }
    if (word[1] == 'o') {
        args->overrides[args->override_count++] = value;
        return 0;
    }
    if (args->conf_path) {
        return wrong(parser, "-c stands twice; a file can include others");
    }
    args->conf_path = value;
    return 0;
}

static int take_option(struct parser *parser, const char *word)
{
    if (strcmp(word, "--") == 0) {
        parser->only_words = true;
        return 0;
    }
    if (strcmp(word, "--show-secrets") == 0) {
        parser->args->show_secrets = true;
        return 0;
    }
    if (word[1] == 'c' || word[1] == 'o') {
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
    if (parser->args->show_secrets && parser->args->command != ARGS_CONFIG) {
        return wrong(parser, "--show-secrets belongs to the command config");
    }
    return 0;
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
