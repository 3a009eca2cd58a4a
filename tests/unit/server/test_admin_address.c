// SPDX-License-Identifier: MIT
#include <criterion/criterion.h>
#include <stdlib.h>

#include "conf/conf.h"
#include "server/admin_address.h"

static struct admin_address address;

static const char *shown(void)
{
    static char buf[256];
    struct text text = TEXT_OVER(buf);

    admin_address_put(&text, &address);
    return text_cstr(&text);
}

static bool parse(const char *text)
{
    return admin_address_parse(str_of(text), &address);
}

static bool of(struct conf_bind bind)
{
    struct conf conf = {.admin.address = bind};

    return admin_address_of(&conf, &address);
}

Test(admin_address, reads_what_a_command_is_given)
{
    cr_assert(parse("unix:/run/a.sock"));
    cr_expect_str_eq(shown(), "unix:/run/a.sock");
    cr_assert(parse("/run/a.sock"));
    cr_expect_str_eq(shown(), "unix:/run/a.sock");
    cr_assert(parse("./a.sock"));
    cr_assert(parse("unix:a.sock"));
    cr_assert(parse("127.0.0.1:9000"));
    cr_expect_str_eq(shown(), "127.0.0.1:9000");
    cr_assert(parse("[::1]:9000"));
    cr_expect_not(address.is_unix);
    cr_expect_str_eq(shown(), "[::1]:9000");
}

Test(admin_address, refuses_what_is_no_socket)
{
    static const char *const wrong[] = {
        "", "unix:", "a.sock", "127.0.0.1", "127.0.0.1:0", "localhost:80", "::1:80", "*:80"};
    char buf[ADMIN_PATH_MAX + 2];

    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        cr_expect_not(parse(wrong[i]), "%s", wrong[i]);
    }
    memset(buf, '/', sizeof(buf));
    buf[ADMIN_PATH_MAX] = '\0';
    cr_expect_not(parse(buf));
    buf[ADMIN_PATH_MAX - 1] = '\0';
    cr_expect(parse(buf));
}

Test(admin_address, is_where_the_configuration_says)
{
    const struct addr addr = addr_ip4(127, 0, 0, 1, 9000);

    (void)unsetenv("RUNTIME_DIRECTORY");
    cr_expect_not(of((struct conf_bind){.kind = CONF_BIND_OFF}));
    cr_expect_not(of((struct conf_bind){.kind = CONF_BIND_AUTO}));
    cr_assert(of((struct conf_bind){.kind = CONF_BIND_UNIX, .path = "/a/b"}));
    cr_expect_str_eq(shown(), "unix:/a/b");
    cr_assert(of((struct conf_bind){.kind = CONF_BIND_IP, .addr = addr}));
    cr_expect_str_eq(shown(), "127.0.0.1:9000");
}

Test(admin_address, follows_the_service_manager)
{
    const struct conf_bind automatic = {.kind = CONF_BIND_AUTO};

    (void)setenv("RUNTIME_DIRECTORY", "/run/viaduct:/run/more", 1);
    cr_assert(of(automatic));
    cr_expect_str_eq(shown(), "unix:/run/viaduct/admin.sock");
    (void)setenv("RUNTIME_DIRECTORY", "", 1);
    cr_expect_not(of(automatic));
    (void)setenv("RUNTIME_DIRECTORY", "relative", 1);
    cr_expect_not(of(automatic));
}
