// SPDX-License-Identifier: MIT
#include <criterion/criterion.h>

#include "base/attr.h"
#include "conf/args.h"

static struct args args;
static char error[256];

static int parse(int argc, const char *const *words)
{
    char *argv[16];

    for (int i = 0; i < argc; i++) {
        argv[i] = (char *)(size_t)words[i];
    }
    argv[argc] = NULL;
    return args_parse(argc, argv, &args, error, sizeof(error));
}

#define PARSE(...)                                                                                 \
    parse((int)ARRAY_LEN(((const char *[]){"viaduct", __VA_ARGS__})),                              \
          (const char *[]){"viaduct", __VA_ARGS__})

Test(args, serves_without_a_command_word)
{
    cr_assert_eq(parse(1, (const char *[]){"viaduct"}), 0);
    cr_assert_eq(args.command, ARGS_SERVE);
    cr_assert_null(args.conf_path);
    cr_assert_eq(args.override_count, 0);
    args_deinit(&args);
}

Test(args, takes_options_before_and_after_the_command)
{
    cr_assert_eq(PARSE("-o", "a.b=1", "check", "-c", "x.ini", "-oc.d=2"), 0);
    cr_assert_eq(args.command, ARGS_CHECK);
    cr_assert_str_eq(args.conf_path, "x.ini");
    cr_assert_eq(args.override_count, 2);
    cr_assert_str_eq(args.overrides[0], "a.b=1");
    cr_assert_str_eq(args.overrides[1], "c.d=2");
    args_deinit(&args);
}

Test(args, takes_an_option_that_looks_like_one_as_the_value_of_c)
{
    cr_assert_eq(PARSE("-c", "-o"), 0);
    cr_assert_str_eq(args.conf_path, "-o");
    args_deinit(&args);
}

Test(args, knows_the_commands)
{
    cr_assert_eq(PARSE("serve"), 0);
    cr_assert_eq(args.command, ARGS_SERVE);
    args_deinit(&args);
    cr_assert_eq(PARSE("--show-secrets", "config"), 0);
    cr_assert_eq(args.command, ARGS_CONFIG);
    cr_assert(args.show_secrets);
    args_deinit(&args);
    cr_assert_eq(PARSE("--", "config"), 0);
    cr_assert_eq(args.command, ARGS_CONFIG);
    args_deinit(&args);
}

Test(args, lets_help_and_version_win_over_what_follows)
{
    cr_assert_eq(PARSE("check", "-h", "--nonsense"), 0);
    cr_assert_eq(args.command, ARGS_HELP);
    args_deinit(&args);
    cr_assert_eq(PARSE("--version"), 0);
    cr_assert_eq(args.command, ARGS_VERSION);
    args_deinit(&args);
}

Test(args, refuses_wrong_usage_with_a_line)
{
    cr_assert_eq(PARSE("frobnicate"), ARGS_WRONG);
    cr_assert_str_eq(error,
                     "unknown command 'frobnicate' (viaduct --help names them; a file is named "
                     "with -c FILE)");
    cr_assert_eq(PARSE("explain"), ARGS_WRONG);
    cr_assert_eq(PARSE("check", "config"), ARGS_WRONG);
    cr_assert_eq(PARSE("-x"), ARGS_WRONG);
    cr_assert_str_eq(error, "unknown option '-x' (see viaduct --help)");
    cr_assert_eq(PARSE("-"), ARGS_WRONG);
    cr_assert_eq(PARSE(""), ARGS_WRONG);
    cr_assert_eq(PARSE("check", "-c"), ARGS_WRONG);
    cr_assert_str_eq(error, "-c wants a file");
    cr_assert_eq(PARSE("-o"), ARGS_WRONG);
    cr_assert_eq(PARSE("-c", "a", "-c", "b"), ARGS_WRONG);
    cr_assert_eq(PARSE("check", "--show-secrets"), ARGS_WRONG);
}

Test(args, explain_takes_its_options_wherever_they_stand)
{
    cr_assert_eq(PARSE("--client", "10.0.0.1", "explain", "--user=anna", "http://a.example/",
                       "--method", "PUT", "--listener=lan", "--time", "2026-01-02 03:04",
                       "--resolve=192.0.2.1,192.0.2.2", "--json", "-c", "x.ini"),
                 0);
    cr_expect_eq(args.command, ARGS_EXPLAIN);
    cr_expect_str_eq(args.explain.target, "http://a.example/");
    cr_expect_str_eq(args.explain.client, "10.0.0.1");
    cr_expect_str_eq(args.explain.user, "anna");
    cr_expect_str_eq(args.explain.method, "PUT");
    cr_expect_str_eq(args.explain.listener, "lan");
    cr_expect_str_eq(args.explain.time, "2026-01-02 03:04");
    cr_expect_str_eq(args.explain.resolve, "192.0.2.1,192.0.2.2");
    cr_expect(args.json);
    cr_expect_str_eq(args.conf_path, "x.ini");
    args_deinit(&args);
}

Test(args, explain_wants_one_target)
{
    cr_expect_eq(PARSE("explain"), ARGS_WRONG);
    cr_expect_eq(PARSE("explain", "a:1", "b:2"), ARGS_WRONG);
    cr_expect_eq(PARSE("a:1", "explain"), ARGS_WRONG);
}

Test(args, options_of_explain_belong_to_it_and_stand_once)
{
    cr_expect_eq(PARSE("check", "--json"), ARGS_WRONG);
    cr_expect_str_eq(error, "the command check has no option --json");
    cr_expect_eq(PARSE("--client=10.0.0.1"), ARGS_WRONG);
    cr_expect_str_eq(error, "the command serve has no option --client");
    cr_expect_eq(PARSE("explain", "a:1", "--user=a", "--user", "b"), ARGS_WRONG);
    cr_expect_str_eq(error, "--user stands twice");
    cr_expect_eq(PARSE("explain", "a:1", "--user"), ARGS_WRONG);
    cr_expect_str_eq(error, "--user wants a user's name");
    cr_expect_eq(PARSE("explain", "a:1", "--usera"), ARGS_WRONG);
    cr_expect_eq(PARSE("explain", "a:1", "--show-secrets"), ARGS_WRONG);
}

Test(args, commands_that_ask_the_daemon_take_its_socket)
{
    static const struct {
        const char *word;
        enum args_command command;
    } asking[] = {
        {"status", ARGS_STATUS},
        {"rules", ARGS_RULES},
        {"connections", ARGS_CONNECTIONS},
        {"reload", ARGS_RELOAD},
    };

    for (size_t i = 0; i < ARRAY_LEN(asking); i++) {
        cr_assert_eq(PARSE(asking[i].word, "-s", "/run/a.sock", "--json"), 0);
        cr_expect_eq(args.command, asking[i].command);
        cr_expect_str_eq(args.socket, "/run/a.sock");
        cr_expect(args.json);
        args_deinit(&args);
    }
    cr_assert_eq(PARSE("explain", "-s127.0.0.1:9", "a:1"), 0);
    cr_expect_str_eq(args.socket, "127.0.0.1:9");
    args_deinit(&args);
    cr_expect_eq(PARSE("status", "-s"), ARGS_WRONG);
    cr_expect_str_eq(error, "-s wants a socket: unix:/PATH or IP:PORT");
    cr_expect_eq(PARSE("status", "-s", "a", "-s", "b"), ARGS_WRONG);
    cr_expect_eq(PARSE("serve", "-s", "a"), ARGS_WRONG);
    cr_expect_eq(PARSE("status", "more"), ARGS_WRONG);
}

Test(args, a_socket_leaves_nothing_for_a_configuration_to_say)
{
    static const char *const asking[] = {"status", "rules", "connections", "reload"};

    for (size_t i = 0; i < ARRAY_LEN(asking); i++) {
        cr_expect_eq(PARSE(asking[i], "-s", "a", "-c", "b"), ARGS_WRONG);
        cr_expect_eq(PARSE("-o", "a.b=c", asking[i], "-s", "a"), ARGS_WRONG);
        cr_assert_eq(PARSE(asking[i], "-c", "a", "-o", "a.b=c"), 0);
        args_deinit(&args);
    }
    cr_expect_eq(PARSE("kill", "0-1", "-s", "a", "-c", "b"), ARGS_WRONG);
    cr_expect_eq(PARSE("explain", "-s", "a", "-c", "b", "c:1"), ARGS_WRONG);
    cr_expect_str_eq(error, "the daemon is asked (-s), or a configuration is read: -c cannot stand "
                            "beside -s");
    cr_expect_eq(PARSE("explain", "-s", "a", "-o", "access.x=deny", "c:1"), ARGS_WRONG);
    cr_expect_str_eq(error, "the daemon is asked (-s), or a configuration is read: -o cannot stand "
                            "beside -s");
}

Test(args, kill_wants_one_id)
{
    cr_assert_eq(PARSE("kill", "0-1f", "-s", "a"), 0);
    cr_expect_eq(args.command, ARGS_KILL);
    cr_expect_str_eq(args.id, "0-1f");
    args_deinit(&args);
    cr_expect_eq(PARSE("kill"), ARGS_WRONG);
    cr_expect_eq(PARSE("kill", "0-1", "0-2"), ARGS_WRONG);
}

Test(args, close_wants_would_deny)
{
    cr_assert_eq(PARSE("connections", "--would-deny", "--close"), 0);
    cr_expect(args.would_deny);
    cr_expect(args.close);
    args_deinit(&args);
    cr_expect_eq(PARSE("connections", "--close"), ARGS_WRONG);
    cr_expect_eq(PARSE("status", "--would-deny"), ARGS_WRONG);
    cr_expect_str_eq(error, "the command status has no option --would-deny");
}
