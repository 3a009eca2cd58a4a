// SPDX-License-Identifier: MIT
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "conf/conf_keys.h"

Test(conf_keys, every_key_stands_in_a_known_section_and_only_once)
{
    for (size_t i = 0; i < conf_key_count; i++) {
        const struct conf_key *key = &conf_keys[i];

        cr_assert_not_null(conf_section_kind_find(str_of(key->section)), "%s", key->section);
        cr_assert_eq(conf_key_find(key->section, str_of(key->name)), key, "%s.%s", key->section,
                     key->name);
        cr_assert(key->help && *key->help, "%s.%s", key->section, key->name);
    }
}

Test(conf_keys, suggests_the_nearest_key_of_the_section)
{
    cr_assert_str_eq(conf_key_suggest("server", STR("worker")), "workers");
    cr_assert_str_eq(conf_key_suggest("server", STR("max-connections")), "max_connections");
    cr_assert_str_eq(conf_key_suggest("timeouts", STR("Header")), "header");
    cr_assert_str_eq(conf_key_suggest("timeouts", STR("keepalive")), "keep_alive");
    cr_assert_str_eq(conf_key_suggest("listen", STR("adress")), "address");
}

Test(conf_keys, suggests_nothing_far_fetched)
{
    cr_assert_null(conf_key_suggest("server", STR("colour")));
    cr_assert_null(conf_key_suggest("server", STR("")));
    cr_assert_null(conf_key_suggest("server", STR("headers")));
    cr_assert_null(conf_section_suggest(STR("cache")));
}

Test(conf_keys, suggests_sections_and_finds_a_key_elsewhere)
{
    cr_assert_str_eq(conf_section_suggest(STR("timeout")), "timeouts");
    cr_assert_str_eq(conf_section_suggest(STR("Server")), "server");
    cr_assert_str_eq(conf_key_other_section(STR("tunnel_idle")), "timeouts");
    cr_assert_null(conf_key_other_section(STR("colour")));
}

/* The next line of the example, without its LF; NULL at the end. */
static const char *example_line(FILE *file)
{
    static char line[256];

    if (!fgets(line, sizeof(line), file)) {
        return NULL;
    }
    line[strcspn(line, "\n")] = '\0';
    return line;
}

static void expect_line_ahead(FILE *file, const char *want)
{
    const char *line;

    do {
        line = example_line(file);
        cr_assert_not_null(line, "not in the example, or not in the table's order: %s", want);
    } while (strcmp(line, want) != 0);
}

/* Beside its include, the example has no commented "key = value" that is not in the table, before
 * its rules. */
static size_t count_commented_keys(FILE *file)
{
    const char *line;
    size_t count = 0;

    while ((line = example_line(file)) != NULL && strcmp(line, ";[access]") != 0) {
        count += line[0] == ';' && line[1] != '[';
    }
    return count - 1;
}

Test(conf_keys, example_file_shows_every_key_at_its_default)
{
    char path[512];
    const char *section = "";
    FILE *file;

    (void)snprintf(path, sizeof(path), "%.*sconf/viaduct.ini",
                   (int)(strlen(__FILE__) - strlen("tests/unit/conf/test_conf_keys.c")), __FILE__);
    file = fopen(path, "r");
    cr_assert_not_null(file, "%s", path);
    for (size_t i = 0; i < conf_key_count; i++) {
        const struct conf_key *key = &conf_keys[i];
        char want[256];

        if (strcmp(section, key->section) != 0) {
            section = key->section;
            (void)snprintf(want, sizeof(want),
                           strcmp(section, "listen") == 0 ? ";[%s local]" : "[%s]", section);
            expect_line_ahead(file, want);
        }
        (void)snprintf(want, sizeof(want), "# %s%s", key->help,
                       key->reload == CONF_RESTART ? " (restart to change)" : "");
        expect_line_ahead(file, want);
        (void)snprintf(want, sizeof(want), ";%s =%s%s", key->name, *key->default_text ? " " : "",
                       key->default_text);
        cr_assert_str_eq(example_line(file), want);
    }
    rewind(file);
    cr_assert_eq(count_commented_keys(file), conf_key_count);
    (void)fclose(file);
}
