// SPDX-License-Identifier: MIT

/* Every case of tests/data/policy.txt, which says how it is written. */

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/text.h"
#include "base/url.h"
#include "conf/conf.h"
#include "policy/machine.h"
#include "policy/policy.h"

#define TABLE_MAX 16384
#define EXPECTED_MAX 64
#define ADDRS_MAX 8

static const char head[] = "[listen local]\naddress = 127.0.0.1:8080, [::1]:8080\n"
                           "[listen lan]\naddress = 192.0.2.10:3128\n"
                           "[listen sock]\naddress = unix:sock\n";
static const char *const machine_texts[] = {"127.0.0.1", "::1", "192.0.2.10", "52.9.9.9",
                                            "2a00:77::1"};
static const char *const own_texts[] = {"127.0.0.1:8080", "[::1]:8080", "192.0.2.10:3128"};

static char dir[] = "/tmp/test_policy_table.XXXXXX";

static struct {
    unsigned line; /* of the file that is read */
    /* The table that stands, and what `check` must say about it. */
    char text[TABLE_MAX];
    struct text table;
    bool is_open; /* lines are still added */
    bool has_section, has_users;
    char *expected[EXPECTED_MAX];
    size_t expected_count;
    bool is_loaded;
    struct conf *conf;
    struct policy *policy;
    struct conf_messages messages;
    struct machine_addrs *machine;
    struct addr own[ARRAY_LEN(own_texts)];
    unsigned cases, failures;
} t;

#define COMPLAIN(...)                                                                              \
    do {                                                                                           \
        t.failures++;                                                                              \
        (void)fprintf(stderr, "policy.txt:%u: ", t.line);                                          \
        (void)fprintf(stderr, __VA_ARGS__);                                                        \
        (void)fprintf(stderr, "\n");                                                               \
    } while (0)

/* ---- Words ---- */

static struct str take(struct str *rest)
{
    struct str word = str_cut(rest, ' ');

    while (word.len == 0 && rest->ptr) {
        word = str_cut(rest, ' ');
    }
    return word;
}

/* Splits at the first separator; what stands behind it is empty when there is none. */
static struct str split(struct str text, const char *separator, struct str *ret_rest)
{
    size_t len = strlen(separator);

    for (size_t i = 0; i + len <= text.len; i++) {
        if (memcmp(text.ptr + i, separator, len) == 0) {
            *ret_rest = str_trim(str_from(text, i + len));
            return str_trim(str_head(text, i));
        }
    }
    *ret_rest = str_make(NULL, 0);
    return text;
}

static struct addr read_client(struct str word)
{
    struct addr addr = {0};
    uint64_t uid = 0;

    if (str_starts(word, STR("unix:"))) {
        cr_assert(str_parse_u64(str_from(word, 5), UINT32_MAX, &uid));
        return (struct addr){.kind = ADDR_UNIX, .uid = (uint32_t)uid};
    }
    if (!str_eq(word, STR("-"))) {
        cr_assert(addr_parse_ip(word, &addr), "policy.txt:%u: %.*s", t.line, STR_ARG(word));
    }
    return addr;
}

/* tue/12:00 */
static struct local_time read_time(struct str word)
{
    static const char days[] = "sunmontuewedthufrisat";
    struct local_time time = {.known = true};
    uint64_t hours = 0;
    uint64_t minutes = 0;

    if (str_eq(word, STR("?"))) {
        return (struct local_time){0};
    }
    cr_assert(word.len == 9 && str_parse_u64(str_head(str_from(word, 4), 2), 23, &hours) &&
                  str_parse_u64(str_from(word, 7), 59, &minutes),
              "policy.txt:%u: %.*s", t.line, STR_ARG(word));
    while (memcmp(days + 3 * (size_t)time.weekday, word.ptr, 3) != 0) {
        time.weekday++;
        cr_assert(time.weekday < 7, "policy.txt:%u", t.line);
    }
    time.minute = (unsigned short)(hours * 60 + minutes);
    return time;
}

static void read_option(struct str word, struct policy_facts *facts)
{
    struct str value = word;
    struct str key = str_cut(&value, '=');

    if (str_eq(key, STR("user"))) {
        facts->user = value;
    } else if (str_eq(key, STR("listener"))) {
        facts->listener = value;
    } else if (str_eq(key, STR("time"))) {
        facts->time = read_time(value);
    } else if (str_eq(key, STR("via"))) {
        facts->own_via = true;
    } else {
        cr_assert_fail("policy.txt:%u: what is %.*s?", t.line, STR_ARG(word));
    }
}

/* ---- Tables ---- */

static void write_file(const char *name, struct str text)
{
    FILE *file = fopen(name, "w");

    cr_assert_not_null(file, "%s", name);
    (void)fwrite(text.ptr, 1, text.len, file);
    cr_assert_eq(fclose(file), 0);
}

static void unload(void)
{
    policy_free(t.policy);
    conf_free(t.conf);
    conf_messages_deinit(&t.messages);
    t.policy = NULL;
    t.conf = NULL;
}

static void check_messages(void)
{
    for (size_t i = 0; i < MAX(t.messages.count, t.expected_count); i++) {
        const struct conf_message *message = &t.messages.items[i];
        const char *said = i < t.messages.count ? message->text : "nothing";
        const char *wanted = i < t.expected_count ? t.expected[i] : "nothing";
        bool is_kind = i < t.messages.count && i < t.expected_count &&
                       message->is_warning == (wanted[0] == '?');

        if (!is_kind || !strstr(said, wanted + 2)) {
            COMPLAIN("of the table above, check says: %s; wanted: %s", said, wanted);
        }
    }
}

static void load(void)
{
    const struct conf_load_options options = {.path = "v.ini"};
    char ini_buf[TABLE_MAX + 1024];
    struct text ini = TEXT_OVER(ini_buf);

    unload();
    text_puts(&ini, head);
    text_puts(&ini, t.has_users ? "[auth]\nusers = users\n" : "");
    text_puts(&ini, t.has_section ? "[access]\n" : "");
    text_put(&ini, text_str(&t.table));
    cr_assert(!ini.full && !t.table.full, "policy.txt:%u: too long a table", t.line);
    write_file("v.ini", text_str(&ini));
    cr_assert_eq(conf_read(&options, &t.conf, &t.messages), 0);
    cr_assert_eq(policy_new(t.conf, NULL, &t.messages, &t.policy), 0);
    if (t.expected_count > 0) {
        check_messages();
    } else if (t.messages.error_count > 0) {
        COMPLAIN("the table above is refused: %s", t.messages.items[0].text);
    }
    t.is_loaded = true;
}

static void end_table(void)
{
    if (!t.is_loaded) {
        load();
    }
}

static void begin_table(void)
{
    end_table();
    for (size_t i = 0; i < t.expected_count; i++) {
        free(t.expected[i]);
    }
    t.expected_count = 0;
    t.table = TEXT_OVER(t.text);
    t.has_section = true;
    t.has_users = true;
    t.is_open = true;
    t.is_loaded = false;
}

static void add_rule(struct str line)
{
    if (!t.is_open) {
        begin_table();
    }
    if (str_eq(line, STR("(none)"))) {
        t.has_section = false;
    } else if (!str_eq(line, STR("(empty)"))) {
        text_put(&t.table, line);
        text_char(&t.table, '\n');
    }
}

/* @ list FILE NAME..., @ without users */
static void prepare(struct str line)
{
    char buf[1024];
    struct text names = TEXT_OVER(buf);
    char name[64];
    struct text file = TEXT_OVER(name);
    struct str verb = take(&line);

    if (!t.is_open) {
        begin_table();
    }
    if (str_eq(verb, STR("without"))) {
        t.has_users = false;
        return;
    }
    cr_assert(str_eq(verb, STR("list")), "policy.txt:%u", t.line);
    text_put(&file, take(&line));
    while (line.ptr) {
        text_put(&names, take(&line));
        text_char(&names, '\n');
    }
    write_file(text_cstr(&file), text_str(&names));
}

static void expect_message(struct str line)
{
    cr_assert(t.expected_count < EXPECTED_MAX && line.len > 2);
    t.expected[t.expected_count] = strndup(line.ptr, line.len);
    cr_assert_not_null(t.expected[t.expected_count++]);
    t.is_open = false;
}

/* ---- Cases ---- */

static const char *outcome_word(const struct policy_verdict *verdict,
                                const struct policy_facts *facts)
{
    switch (verdict->action) {
    case POLICY_DENY:
        return "deny";
    case POLICY_CHALLENGE:
        return "ask";
    case POLICY_OPEN:
        return facts->stage == POLICY_REQUEST && (verdict->needs & POLICY_NEEDS_ADDRESS) != 0
                   ? "resolve"
                   : "open";
    case POLICY_ALLOW:
        return "allow";
    }
    return "?";
}

static void put_would(const struct policy_verdict *verdict, struct text *out)
{
    for (size_t i = 0; i < verdict->would_deny_count; i++) {
        text_puts(out, i > 0 ? "," : "");
        text_put(out, verdict->would_deny[i]);
    }
}

/* The details may be a part, all else has to be the same. */
static void compare(struct str wanted, const struct policy_verdict *verdict,
                    const struct policy_facts *facts)
{
    struct str details;
    struct str rest = split(wanted, "\"", &details);
    struct str outcome = take(&rest);
    struct str rule = STR("");
    struct str would = STR("");
    char buf[512];
    struct text got = TEXT_OVER(buf);
    char would_buf[256];
    struct text would_got = TEXT_OVER(would_buf);
    struct str told = verdict->details;
    bool is_told = details.len == 0;

    while (rest.ptr) {
        struct str word = take(&rest);

        if (str_starts(word, STR("would="))) {
            would = str_from(word, 6);
        } else {
            rule = word;
        }
    }
    put_would(verdict, &would_got);
    details.len -= details.len > 0;
    for (size_t i = 0; details.len > 0 && i + details.len <= told.len; i++) {
        is_told = is_told || memcmp(told.ptr + i, details.ptr, details.len) == 0;
    }
    text_printf(&got, "%s %.*s would=%.*s \"%.*s\"", outcome_word(verdict, facts),
                STR_ARG(verdict->rule), STR_ARG(text_str(&would_got)), STR_ARG(told));
    if (!str_eq(outcome, str_of(outcome_word(verdict, facts))) || !str_eq(rule, verdict->rule) ||
        !str_eq(would, text_str(&would_got)) || !is_told) {
        COMPLAIN("wanted %.*s; got %s", STR_ARG(wanted), text_cstr(&got));
    }
}

/* A verdict names a place if a line made it. */
static void check_origin(const struct policy_verdict *verdict)
{
    bool is_line = verdict->rule.len > 0 && !str_starts(verdict->rule, STR("builtin:"));

    if (is_line && t.has_section && (!verdict->origin.file || verdict->origin.line == 0)) {
        COMPLAIN("the verdict does not say where rule %.*s stands", STR_ARG(verdict->rule));
    }
    if (!is_line && verdict->origin.file) {
        COMPLAIN("the verdict says where %.*s stands", STR_ARG(verdict->rule));
    }
}

static void decide(const struct policy_facts *facts, struct policy_verdict *ret)
{
    memset(ret, 0xff, sizeof(*ret)); /* nothing of it may be left */
    policy_decide(t.policy, facts, ret);
    check_origin(ret);
}

static void decide_addresses(struct policy_facts *facts, const struct addr *addrs, size_t count,
                             struct policy_verdict *ret)
{
    facts->stage = POLICY_ADDRESS;
    for (size_t i = 0; i < count; i++) {
        struct policy_verdict next;

        facts->address = addrs[i];
        facts->address.port = facts->port;
        decide(facts, &next);
        if (i == 0) {
            *ret = next;
        } else {
            policy_sum_up(ret, &next);
        }
    }
}

static size_t read_addresses(struct str words, struct addr addrs[ADDRS_MAX])
{
    size_t count = 0;

    while (words.ptr && words.len > 0) {
        struct str word = take(&words);

        cr_assert(count < ADDRS_MAX && addr_parse_ip(word, &addrs[count]), "policy.txt:%u: %.*s",
                  t.line, STR_ARG(word));
        count++;
    }
    return count;
}

static void read_target(struct str word, struct host *host, struct policy_facts *facts)
{
    int error = 0;

    cr_assert_eq(url_parse_authority(word, host, &facts->port, &error), 0, "policy.txt:%u: %.*s",
                 t.line, STR_ARG(word));
    facts->host = host;
}

static void run_case(struct str line)
{
    struct str wanted;
    struct str addresses;
    struct str request = split(split(line, " : ", &wanted), " -> ", &addresses);
    struct addr addrs[ADDRS_MAX];
    struct host host;
    struct policy_verdict verdict;
    struct policy_facts facts = {
        .stage = POLICY_REQUEST,
        .client = read_client(take(&request)),
        .listener = STR("lan"),
        .time = read_time(STR("tue/12:00")),
        .machine = t.machine,
        .own_addresses = t.own,
        .own_address_count = ARRAY_LEN(own_texts),
    };
    size_t count = read_addresses(addresses, addrs);

    cr_assert(wanted.len > 0, "policy.txt:%u: what is to come of it?", t.line);
    facts.method = take(&request);
    if (str_eq(facts.method, STR("connects"))) {
        facts.stage = POLICY_CONNECTION;
    } else {
        read_target(take(&request), &host, &facts);
    }
    while (request.ptr) {
        read_option(take(&request), &facts);
    }
    decide(&facts, &verdict);
    if (verdict.action == POLICY_ALLOW) {
        COMPLAIN("allowed before there is an address");
    }
    if (count == 0 && facts.host && host.is_literal && verdict.action == POLICY_OPEN) {
        addrs[count++] = host.addr;
    }
    if (count > 0) {
        if (verdict.action != POLICY_OPEN) {
            COMPLAIN("the first walk ended already: %s %.*s", outcome_word(&verdict, &facts),
                     STR_ARG(verdict.rule));
        }
        decide_addresses(&facts, addrs, count, &verdict);
    }
    compare(wanted, &verdict, &facts);
    t.cases++;
}

/* ---- The file ---- */

static void read_line(struct str line)
{
    char first = line.len > 0 ? line.ptr[0] : '#';

    if (first == '#' || first == '>') {
        end_table();
    } else if (first == '@') {
        prepare(str_trim(str_from(line, 1)));
    } else if (first == ' ') {
        add_rule(str_trim(line));
    } else if (first == '!' || first == '?') {
        expect_message(line);
    } else {
        end_table();
        run_case(line);
    }
    if (first != '@' && first != ' ') {
        t.is_open = false;
    }
}

static void read_table_file(void)
{
    char path[512];
    char *line = NULL;
    size_t cap = 0;
    FILE *file;

    (void)snprintf(path, sizeof(path), "%.*sdata/policy.txt",
                   (int)(strlen(__FILE__) - strlen("unit/policy/test_policy_table.c")), __FILE__);
    file = fopen(path, "r");
    cr_assert_not_null(file, "%s", path);
    cr_assert_not_null(mkdtemp(dir));
    cr_assert_eq(chdir(dir), 0);
    while (getline(&line, &cap, file) > 0) {
        struct str text = str_of(line);

        t.line++;
        text.len -= str_ends(text, STR("\n"));
        read_line(text);
    }
    end_table();
    free(line);
    (void)fclose(file);
}

static void tear_down(void)
{
    char command[64];

    for (size_t i = 0; i < t.expected_count; i++) {
        free(t.expected[i]);
    }
    machine_addrs_free(t.machine);
    unload();
    (void)snprintf(command, sizeof(command), "rm -rf %s", dir);
    cr_assert_eq(system(command), 0);
}

static void set_up(void)
{
    struct addr_net nets[ARRAY_LEN(machine_texts)] = {0};
    bool host_bits;

    t.is_loaded = true;
    for (size_t i = 0; i < ARRAY_LEN(machine_texts); i++) {
        cr_assert(addr_parse_net(str_of(machine_texts[i]), &nets[i], &host_bits));
    }
    for (size_t i = 0; i < ARRAY_LEN(own_texts); i++) {
        cr_assert(addr_parse_ip_port(str_of(own_texts[i]), &t.own[i]));
    }
    cr_assert_eq(machine_addrs_new(nets, ARRAY_LEN(nets), &t.machine), 0);
}

TestSuite(policy_table, .init = set_up, .fini = tear_down);

Test(policy_table, decides_every_case_as_written)
{
    read_table_file();
    cr_expect_eq(t.failures, 0, "%u of %u cases", t.failures, t.cases);
    cr_expect(t.cases > 450, "only %u cases were found", t.cases);
}
