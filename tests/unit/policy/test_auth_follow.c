// SPDX-License-Identifier: MIT

/* The users file as it changes, with a clock of the test's own: what it says is due. The one reader
 * may be kept busy, so that a look waits. */

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../wait.h"
#include "auth_cases.h"
#include "base/clock.h"
#include "base/file.h"
#include "conf/conf.h"
#include "io/loop.h"
#include "io/mailbox.h"
#include "log/log.h"
#include "log/writer.h"
#include "policy/auth_follow.h"
#include "policy/auth_pool.h"
#include "policy/auth_users.h"

static struct auth_pool *pool;
static struct auth_follow *follow;
static char path[64];
static uint64_t late_ms; /* ahead of the clock */

static void on_renew(void *arg, const struct auth_users *users)
{
    (void)arg;
    (void)users;
}

/* ------------------------------------------------------------------ the file */

static void write_file(const char *name, const char *user)
{
    int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    cr_assert_geq(fd, 0);
    cr_assert_gt(dprintf(fd, "%s:%s\n", user, BCRYPT_SECRET), 0);
    cr_assert_eq(close(fd), 0);
}

static void put_there(const char *name)
{
    cr_assert_eq(rename(name, path), 0);
}

/* Another file with this user and no other. */
static void put(const char *user)
{
    char name[80];

    (void)snprintf(name, sizeof(name), "%s.new", path);
    write_file(name, user);
    put_there(name);
}

/* One that takes long to read, with this user among many. */
static void put_long(const char *user)
{
    char name[80];
    FILE *file;

    (void)snprintf(name, sizeof(name), "%s.new", path);
    write_file(name, user);
    file = fopen(name, "a");
    cr_assert_not_null(file);
    for (unsigned i = 0; i < 100000; i++) {
        (void)fprintf(file, "of-many%u:%s\n", i, BCRYPT_SECRET);
    }
    cr_assert_eq(fclose(file), 0);
    put_there(name);
}

static void await_rest(void)
{
    struct file_stamp stamp = file_look(path);

    for (unsigned ms = 0; file_stamp_is_fresh(&stamp); ms++) {
        cr_assert_lt(ms, WAIT_DEADLINE_MS);
        nap();
    }
}

/* As a reload has it: read later than all before. */
static struct auth_users *load(void)
{
    uint64_t begin_ms = clock_mono_ms();
    struct conf_messages messages = {0};
    struct auth_users *users = NULL;

    while (clock_mono_ms() == begin_ms) {
        nap();
    }
    cr_assert_eq(auth_users_load(path, (struct conf_origin){0}, &messages, &users), 0);
    conf_messages_deinit(&messages);
    return users;
}

static void set(struct auth_users *users)
{
    auth_follow_set(follow, users, false);
    auth_users_unref(users);
}

/* ------------------------------------------------------------------ following it */

static void await_look(void);

/* The file has been looked at. */
static void start(const char *user)
{
    (void)strcpy(path, "/tmp/viaduct-follow-XXXXXX");
    cr_assert_eq(close(mkstemp(path)), 0);
    put(user);
    cr_assert_eq(auth_pool_new("readers", THREAD_USUAL, 1, &pool), 0);
    cr_assert_eq(auth_follow_new(pool, on_renew, NULL, &follow), 0);
    set(load());
    (void)auth_follow_look(follow, clock_mono_ms());
    await_look();
}

static void finish(void)
{
    auth_follow_stop(follow);
    cr_assert(auth_pool_stop(pool, WAIT_DEADLINE_MS));
    auth_follow_free(follow);
    auth_pool_free(pool);
    (void)unlink(path);
}

/* Each look is due, and so waited for. */
static void look(void)
{
    late_ms += 2000;
    (void)auth_follow_look(follow, clock_mono_ms() + late_ms);
}

static bool is_reading(void)
{
    return auth_follow_look(follow, 1); /* no look is due then, if there was any */
}

static atomic_bool is_over;

static void run_last(struct auth_task *task, struct auth_hasher *hasher)
{
    (void)task;
    (void)hasher;
    atomic_store(&is_over, true);
}

static struct auth_task last = {.run = run_last};

static void await_reading(void)
{
    for (unsigned ms = 0; !is_reading(); ms++) {
        cr_assert_lt(ms, WAIT_DEADLINE_MS);
        nap();
    }
}

/* The look, and the reading if there was one. */
static void await_look(void)
{
    atomic_store(&is_over, false);
    cr_assert(auth_pool_submit(pool, &last));
    wait_for(&is_over);
}

static bool is_user(const char *user)
{
    uint64_t generation;
    struct auth_users *users = auth_follow_users(follow, &generation);
    bool is_there = auth_users_find(users, str_of(user)) != NULL;

    auth_users_unref(users);
    return is_there;
}

static void expect_user(const char *user)
{
    cr_expect(is_user(user), "%s", user);
}

static void poll_user(const char *user)
{
    for (unsigned ms = 0; !is_user(user); ms++) {
        cr_assert_lt(ms, WAIT_DEADLINE_MS);
        (void)auth_follow_look(follow, clock_mono_ms());
        nap();
    }
}

/* ------------------------------------------------------------------ a reader that is busy */

static atomic_bool may_end;

static void run_busy(struct auth_task *task, struct auth_hasher *hasher)
{
    (void)task;
    (void)hasher;
    wait_for(&may_end);
}

static struct auth_task busy = {.run = run_busy};

static void keep_busy(void)
{
    atomic_store(&may_end, false);
    cr_assert(auth_pool_submit(pool, &busy));
}

static void let_go(void)
{
    atomic_store(&may_end, true);
}

/* ------------------------------------------------------------------ tests */

Test(auth_follow, reads_a_file_that_has_changed)
{
    start("alice");
    look();
    await_look();
    cr_expect_not(is_reading());
    put("bob");
    await_rest();
    look();
    await_look();
    expect_user("bob");
    finish();
}

/* Nobody waits for a look as long as the one before it counts, and whoever asks later does: so a
 * file system that does not answer lets nobody in who may have been struck from the file. */
Test(auth_follow, what_a_look_has_found_counts_for_a_second)
{
    uint64_t begin_ms;

    start("alice");
    look();
    begin_ms = clock_mono_ms() + late_ms;
    await_look();
    keep_busy();
    cr_expect_not(auth_follow_look(follow, begin_ms + 890));
    cr_expect_not(auth_follow_look(follow, begin_ms + 910), "it begins, and is not waited for");
    put("bob");
    await_rest();
    cr_expect_not(auth_follow_look(follow, begin_ms + 990));
    cr_expect(auth_follow_look(follow, begin_ms + 1000));
    expect_user("alice");
    let_go();
    await_look();
    expect_user("bob");
    finish();
}

/* ------------------------------------------------------------------ who waits */

static struct loop *loop;
static struct mailbox *mailbox;
static unsigned mail_count;

static void on_mail(void *arg, struct mail *mail)
{
    (void)arg;
    (void)mail;
    mail_count++;
}

static void open_mailbox(void)
{
    cr_assert_eq(loop_new(&loop), 0);
    cr_assert_eq(mailbox_new(loop, on_mail, NULL, &mailbox), 0);
}

static void close_mailbox(void)
{
    mailbox_free(mailbox); /* delivers */
    loop_free(loop);
}

static bool waits(struct auth_follower *follower, uint64_t since_ms, uint64_t now_ms)
{
    follower->home = mailbox;
    return auth_follow_wait(follow, follower, since_ms, now_ms);
}

/* However slow the looks are and however many ask. */
Test(auth_follow, waits_for_one_look_or_two)
{
    struct auth_follower early = {0}, again = {0}, late = {0}, later = {0};
    uint64_t first_ms;

    open_mailbox();
    start("alice");
    keep_busy();
    first_ms = clock_mono_ms() + 2000;
    cr_expect(auth_follow_look(follow, first_ms));
    cr_expect(waits(&early, first_ms + 999, first_ms + 999));
    cr_expect(waits(&late, first_ms + 1000, first_ms + 1000));
    let_go();
    await_look();
    cr_expect_eq(auth_follow_counted_ms(follow), first_ms + 1000);
    /* Its mail is read when another look has begun, which may find what it wants. */
    keep_busy();
    cr_expect(auth_follow_look(follow, first_ms + 1500));
    cr_expect_not(waits(&again, first_ms + 999, first_ms + 1500));
    cr_expect(waits(&again, first_ms + 1000, first_ms + 1500));
    let_go();
    await_look();
    cr_expect_eq(auth_follow_counted_ms(follow), first_ms + 2500);
    /* Who asked while it was under way for so long waits for another, and begins it. */
    keep_busy();
    cr_expect(waits(&later, first_ms + 2500, first_ms + 2600));
    let_go();
    await_look();
    cr_expect_eq(auth_follow_counted_ms(follow), first_ms + 3600);
    close_mailbox();
    cr_expect_eq(mail_count, 4);
    finish();
}

/* What was found of one file tells nothing of another. */
Test(auth_follow, waits_anew_when_a_reload_comes_between)
{
    struct auth_follower before = {0}, after = {0};
    uint64_t begin_ms;

    open_mailbox();
    start("alice");
    put_long("bob");
    await_rest();
    begin_ms = clock_mono_ms() + 2000;
    cr_expect(waits(&before, begin_ms, begin_ms));
    await_reading();
    put("carl");
    set(load());
    await_look();
    cr_expect_eq(auth_follow_counted_ms(follow), 0);
    keep_busy();
    cr_expect(waits(&after, begin_ms, begin_ms));
    let_go();
    await_look();
    cr_expect_eq(auth_follow_counted_ms(follow), begin_ms + 1000);
    close_mailbox();
    cr_expect_eq(mail_count, 2);
    finish();
}

/* ------------------------------------------------------------------ a file that never rests */

static void churn(const char *user)
{
    uint64_t begin_ms = clock_mono_ms();

    while (!is_user(user)) {
        cr_assert_lt(clock_mono_ms() - begin_ms, 10000);
        put(user);
        (void)auth_follow_look(follow, clock_mono_ms());
        nap();
    }
}

Test(auth_follow, reads_a_file_that_never_rests)
{
    uint64_t begin_ms = clock_mono_ms();

    start("alice");
    churn("bob");
    cr_expect_geq(clock_mono_ms() - begin_ms, 1500, "it might have come to rest");
    /* And so the next time. */
    begin_ms = clock_mono_ms();
    churn("carl");
    cr_expect_geq(clock_mono_ms() - begin_ms, 1500);
    finish();
}

/* At rest whenever somebody looks, and another once it has been read. */
Test(auth_follow, reads_a_file_that_changes_during_each_reading)
{
    uint64_t begin_ms = clock_mono_ms();

    start("alice");
    put_long("bob");
    while (is_user("alice")) {
        cr_assert_lt(clock_mono_ms() - begin_ms, 20000);
        await_rest();
        (void)auth_follow_look(follow, clock_mono_ms());
        if (is_reading()) {
            put_long("bob");
        }
    }
    expect_user("bob");
    finish();
}

Test(auth_follow, keeps_its_users_while_half_of_a_file_is_there)
{
    uint64_t begin_ms = clock_mono_ms();

    start("alice");
    while (clock_mono_ms() - begin_ms < 4000) {
        put("half:a line, bob");
        (void)auth_follow_look(follow, clock_mono_ms());
        cr_assert(is_user("alice"));
        nap();
    }
    put("bob");
    poll_user("bob");
    finish();
}

/* ------------------------------------------------------------------ beside a reload */

Test(auth_follow, reload_that_read_an_older_file_brings_nobody_back)
{
    struct auth_users *older;

    start("zoe");
    put("alice");
    older = load();
    put("bob");
    await_rest();
    look();
    await_look();
    expect_user("bob");
    put("carl"); /* seen by nobody yet */
    set(older);
    expect_user("bob");
    finish();
}

Test(auth_follow, reload_with_an_older_file_stops_no_reading)
{
    struct auth_users *older;

    start("zoe");
    put("alice");
    older = load();
    put_long("bob");
    await_rest();
    look();
    await_reading();
    set(older);
    expect_user("alice");
    await_look();
    expect_user("bob");
    finish();
}

Test(auth_follow, reload_that_read_a_newer_file_stays)
{
    start("alice");
    put("bob");
    await_rest();
    look();
    await_look();
    expect_user("bob");
    put("carl");
    set(load());
    expect_user("carl");
    finish();
}

/* What was being read is no longer wanted, and the file that is wanted is looked at again. */
Test(auth_follow, reload_may_name_another_file)
{
    char former[64];

    start("alice");
    put_long("bob");
    await_rest();
    look();
    await_reading();
    (void)strcpy(former, path);
    (void)strcat(path, ".other");
    put("carl");
    set(load());
    put("dora");
    await_look();
    expect_user("carl");
    await_rest();
    (void)auth_follow_look(follow, 1);
    await_look();
    expect_user("dora");
    (void)unlink(former);
    finish();
}

/* ------------------------------------------------------------------ a reading that takes long */

static struct log_writer *writer;
static char log_path[80];

static size_t count_in_log(const char *text)
{
    static char log[65536];
    FILE *file = fopen(log_path, "r");
    size_t count = 0;

    cr_assert_not_null(file);
    log[fread(log, 1, sizeof(log) - 1, file)] = '\0';
    (void)fclose(file);
    for (const char *at = strstr(log, text); at; at = strstr(at + 1, text)) {
        count++;
    }
    return count;
}

Test(auth_follow, reading_that_takes_long_is_told_once)
{
    const struct log_writer_options options = {.path = log_path, .buffer_bytes = 65536};
    uint64_t begin_ms;

    start("alice");
    (void)snprintf(log_path, sizeof(log_path), "%s.log", path);
    cr_assert_eq(log_writer_new(&options, &writer), 0);
    log_start(writer, LOG_INFO, false);
    put("bob");
    await_rest();
    keep_busy();
    begin_ms = clock_mono_ms() + 2000;
    cr_expect(auth_follow_look(follow, begin_ms));
    cr_expect(auth_follow_look(follow, begin_ms + 4999));
    log_event(LOG_NOTICE, "mark", "first");
    cr_expect(auth_follow_look(follow, begin_ms + 5000));
    cr_expect(auth_follow_look(follow, begin_ms + 5001));
    let_go();
    await_look();
    log_start(NULL, LOG_INFO, false);
    log_writer_stop(writer, WAIT_DEADLINE_MS);
    cr_expect_eq(count_in_log("first\"\ntime="), 1, "not before it has taken long");
    cr_expect_eq(count_in_log("event=users level=warning"), 1);
    cr_expect_eq(count_in_log(path), 2, "the file is named, as when it has been read");
    (void)unlink(log_path);
    finish();
}
