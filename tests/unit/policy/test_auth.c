// SPDX-License-Identifier: MIT

/* The front with all that is behind it, from the threads of workers as in the daemon. */

#include <criterion/criterion.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../faults.h"
#include "../wait.h"
#include "auth_cases.h"
#include "base/clock.h"
#include "base/file.h"
#include "conf/conf.h"
#include "io/loop.h"
#include "io/mailbox.h"
#include "log/log.h"
#include "log/writer.h"
#include "policy/auth.h"
#include "policy/auth_checks.h"
#include "policy/auth_users.h"

/* ------------------------------------------------------------------ workers */

struct worker {
    struct loop *loop;
    struct mailbox *orders;
    struct auth_desk *desk;
    pthread_t thread;
};

enum order_kind { ORDER_ASK, ORDER_CANCEL, ORDER_HANG, ORDER_STOP };

/* What the test wants done on a worker's thread. */
struct order {
    struct mail mail;
    enum order_kind kind;
    struct worker *worker;
    const char *field;
    struct addr client;
    struct auth_query *query;
    struct auth_answer answer;
    char user[300];
    bool was_pending;
    atomic_bool may_end;     /* ORDER_HANG: until then the worker does nothing else */
    atomic_bool is_done;     /* the order; an answer may still be to come */
    atomic_bool is_answered; /* for good */
};

static struct auth *auth;
static struct auth_users *users;
static struct worker workers[4];
static char path[64];

static void take_answer(struct order *order, const struct auth_answer *answer)
{
    order->answer = *answer;
    (void)snprintf(order->user, sizeof(order->user), "%.*s", STR_ARG(answer->user));
    order->query = NULL;
    atomic_store(&order->is_answered, true);
}

static void on_checked(void *arg, const struct auth_answer *answer)
{
    take_answer(arg, answer);
}

static const struct auth_events events = {.checked = on_checked};

static void ask_now(struct order *order)
{
    struct auth_answer answer;
    enum auth_outcome outcome = auth_ask(order->worker->desk, &order->client, str_of(order->field),
                                         &events, order, &answer, &order->query);

    order->was_pending = outcome == AUTH_PENDING;
    if (!order->was_pending) {
        take_answer(order, &answer);
    }
}

static void on_order(void *arg, struct mail *mail)
{
    struct order *order = CONTAINER_OF(mail, struct order, mail);
    struct worker *worker = arg;

    switch (order->kind) {
    case ORDER_ASK:
        ask_now(order);
        break;
    case ORDER_CANCEL:
        auth_cancel(order->query);
        break;
    case ORDER_HANG:
        wait_for(&order->may_end);
        break;
    case ORDER_STOP:
        loop_stop(worker->loop);
        break;
    }
    atomic_store(&order->is_done, true);
}

static void *run_worker(void *arg)
{
    struct worker *worker = arg;

    cr_assert_eq(loop_run(worker->loop), 0);
    return NULL;
}

static void start_worker(struct worker *worker)
{
    cr_assert_eq(loop_new(&worker->loop), 0);
    cr_assert_eq(mailbox_new(worker->loop, on_order, worker, &worker->orders), 0);
    cr_assert_eq(auth_desk_new(auth, worker->loop, &worker->desk), 0);
    cr_assert_eq(pthread_create(&worker->thread, NULL, run_worker, worker), 0);
}

static void give(struct order *order)
{
    atomic_store(&order->is_done, false);
    mailbox_send(order->worker->orders, &order->mail);
}

static void stop_worker(struct worker *worker)
{
    struct order order = {.kind = ORDER_STOP, .worker = worker};

    give(&order);
    (void)pthread_join(worker->thread, NULL);
}

static void free_worker(struct worker *worker)
{
    auth_desk_free(worker->desk);
    mailbox_free(worker->orders);
    loop_free(worker->loop);
}

/* ------------------------------------------------------------------ the users file */

static void put_file(const char *text)
{
    char name[80];
    int fd;

    (void)snprintf(name, sizeof(name), "%s.new", path);
    fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    cr_assert_eq(close(fd), 0);
    cr_assert_eq(rename(name, path), 0);
}

/* alice and bob have the password secret, carl has another. */
#define FILE_TEXT "alice:" BCRYPT_SECRET "\nbob:" SHA512_SECRET "\ncarl:" BCRYPT_OTHER "\n"

static const struct auth_options usual = {
    .cache_ms = 300000, .failures = 10, .failures_ms = 60000, .threads = 1, .wait_ms = 60000};

static void start(const char *text, const struct auth_options *options)
{
    const struct conf_origin origin = {0};
    struct conf_messages messages = {0};

    (void)strcpy(path, "/tmp/viaduct-auth-XXXXXX");
    cr_assert_eq(close(mkstemp(path)), 0);
    put_file(text);
    cr_assert_eq(auth_users_load(path, origin, &messages, &users), 0);
    conf_messages_deinit(&messages);
    cr_assert_eq(auth_new(options, users, &auth), 0);
    auth_users_unref(users);
    for (size_t i = 0; i < ARRAY_LEN(workers); i++) {
        start_worker(&workers[i]);
    }
}

static void finish(void)
{
    for (size_t i = 0; i < ARRAY_LEN(workers); i++) {
        stop_worker(&workers[i]);
    }
    auth_stop(auth);
    for (size_t i = 0; i < ARRAY_LEN(workers); i++) {
        free_worker(&workers[i]);
    }
    auth_free(auth);
    (void)unlink(path);
}

/* ------------------------------------------------------------------ credentials */

#define ALICE_SECRET "Basic YWxpY2U6c2VjcmV0"
#define ALICE_WRONG "Basic YWxpY2U6d3Jvbmc="
#define BOB_SECRET "Basic Ym9iOnNlY3JldA=="
#define BOB_WRONG "Basic Ym9iOndyb25n"
#define NOBODY_SECRET "Basic bm9ib2R5OnNlY3JldA=="
#define DORA_SECRET "Basic ZG9yYTpzZWNyZXQ="

/* alice with the wrong password NUMBER, below 1000. */
static const char *guess(unsigned number, char field[64])
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char pair[10] = "alice:";
    char *at = field + sizeof("Basic ") - 1;

    (void)strcpy(field, "Basic ");
    for (size_t i = 0; i < 3; i++, number /= 10) {
        pair[8 - i] = (char)('0' + number % 10);
    }
    for (size_t i = 0; i < 9; i += 3) {
        unsigned bits = (unsigned)(pair[i] << 16 | pair[i + 1] << 8 | pair[i + 2]);

        *at++ = alphabet[bits >> 18 & 63];
        *at++ = alphabet[bits >> 12 & 63];
        *at++ = alphabet[bits >> 6 & 63];
        *at++ = alphabet[bits & 63];
    }
    *at = '\0';
    return field;
}

static void ask(struct order *order, size_t worker, const char *client, const char *field)
{
    *order = (struct order){.kind = ORDER_ASK, .worker = &workers[worker], .field = field};
    cr_assert(addr_parse_ip(str_of(client), &order->client));
    give(order);
}

static struct auth_answer settle(struct order *order)
{
    wait_for(&order->is_done);
    wait_for(&order->is_answered);
    return order->answer;
}

static enum auth_outcome outcome(size_t worker, const char *client, const char *field)
{
    struct order order;

    ask(&order, worker, client, field);
    return settle(&order).outcome;
}

static void cancel(struct order *order)
{
    order->kind = ORDER_CANCEL;
    give(order);
    wait_for(&order->is_done);
}

#define CLIENT "192.0.2.1"
#define OTHER_CLIENT "192.0.2.2"

/* ------------------------------------------------------------------ tests */

Test(auth, tells_who_a_client_is)
{
    struct order order;

    start(FILE_TEXT, &usual);
    ask(&order, 0, CLIENT, ALICE_SECRET);
    cr_expect_eq(settle(&order).outcome, AUTH_VALID);
    cr_expect_str_eq(order.user, "alice");
    cr_expect(order.was_pending);
    ask(&order, 0, CLIENT, BOB_SECRET);
    cr_expect_eq(settle(&order).outcome, AUTH_VALID);
    cr_expect_str_eq(order.user, "bob");
    finish();
}

Test(auth, wrong_credentials_name_nobody)
{
    struct order order;

    start(FILE_TEXT, &usual);
    ask(&order, 0, CLIENT, ALICE_WRONG);
    cr_expect_eq(settle(&order).outcome, AUTH_WRONG);
    cr_expect_str_eq(order.user, "");
    cr_expect_eq(outcome(0, CLIENT, NOBODY_SECRET), AUTH_WRONG);
    finish();
}

Test(auth, none_is_neither_wrong_nor_counted)
{
    start(FILE_TEXT, &usual);
    for (unsigned i = 0; i < 30; i++) {
        cr_expect_eq(outcome(0, CLIENT, ""), AUTH_NONE);
        cr_expect_eq(outcome(0, CLIENT, "Bearer abcdef"), AUTH_NONE);
        cr_expect_eq(outcome(0, CLIENT, "Basic !!!!"), AUTH_NONE);
    }
    cr_expect_eq(outcome(0, CLIENT, ALICE_SECRET), AUTH_VALID);
    finish();
}

Test(auth, what_was_checked_is_known_at_once_to_all_workers)
{
    struct order order;

    start(FILE_TEXT, &usual);
    cr_expect_eq(outcome(0, CLIENT, ALICE_SECRET), AUTH_VALID);
    cr_expect_eq(outcome(0, CLIENT, BOB_WRONG), AUTH_WRONG);
    cr_expect_eq(outcome(0, CLIENT, NOBODY_SECRET), AUTH_WRONG);
    for (size_t i = 0; i < ARRAY_LEN(workers); i++) {
        ask(&order, i, OTHER_CLIENT, ALICE_SECRET);
        cr_expect_eq(settle(&order).outcome, AUTH_VALID);
        cr_expect_not(order.was_pending, "worker %zu", i);
        ask(&order, i, OTHER_CLIENT, BOB_WRONG);
        cr_expect_eq(settle(&order).outcome, AUTH_WRONG);
        cr_expect_not(order.was_pending, "worker %zu", i);
        ask(&order, i, OTHER_CLIENT, NOBODY_SECRET);
        cr_expect_eq(settle(&order).outcome, AUTH_WRONG);
        cr_expect_not(order.was_pending, "worker %zu", i);
    }
    finish();
}

/* The time it takes must not tell who exists: both are hashed, and the second time neither is. */
Test(auth, unknown_user_is_checked_like_a_known_one)
{
    struct order order;

    start(FILE_TEXT, &usual);
    for (unsigned i = 0; i < 2; i++) {
        ask(&order, 0, CLIENT, ALICE_WRONG);
        cr_expect_eq(settle(&order).outcome, AUTH_WRONG);
        cr_expect_eq(order.was_pending, i == 0);
        ask(&order, 0, CLIENT, NOBODY_SECRET);
        cr_expect_eq(settle(&order).outcome, AUTH_WRONG);
        cr_expect_eq(order.was_pending, i == 0);
    }
    finish();
}

/* A password that is right for the hash that stands in for an unknown user's is none. */
Test(auth, unknown_user_never_gets_in)
{
    start("alice:" BCRYPT_SECRET "\n", &usual);
    cr_expect_eq(outcome(0, CLIENT, NOBODY_SECRET), AUTH_WRONG);
    cr_expect_eq(outcome(0, CLIENT, NOBODY_SECRET), AUTH_WRONG);
    cr_expect_eq(outcome(1, CLIENT, NOBODY_SECRET), AUTH_WRONG);
    finish();
}

Test(auth, empty_file_lets_nobody_in)
{
    struct order order;

    start("# nobody\n", &usual);
    cr_expect_eq(outcome(0, CLIENT, ALICE_SECRET), AUTH_WRONG); /* and the file was looked at */
    ask(&order, 0, CLIENT, ALICE_SECRET);
    cr_expect_eq(settle(&order).outcome, AUTH_WRONG);
    cr_expect_not(order.was_pending);
    finish();
}

Test(auth, without_a_cache_every_time_is_checked)
{
    struct auth_options options = usual;
    struct order order;

    options.cache_ms = 0;
    start(FILE_TEXT, &options);
    for (unsigned i = 0; i < 3; i++) {
        ask(&order, 0, CLIENT, ALICE_SECRET);
        cr_expect_eq(settle(&order).outcome, AUTH_VALID);
        cr_expect(order.was_pending);
    }
    finish();
}

Test(auth, cached_passwords_end)
{
    struct auth_options options = usual;
    struct order order;

    options.cache_ms = 1;
    start(FILE_TEXT, &options);
    cr_expect_eq(outcome(0, CLIENT, ALICE_SECRET), AUTH_VALID);
    nap();
    nap();
    ask(&order, 0, CLIENT, ALICE_SECRET);
    cr_expect_eq(settle(&order).outcome, AUTH_VALID);
    cr_expect(order.was_pending);
    finish();
}

/* ------------------------------------------------------------------ failures */

Test(auth, too_many_wrong_ones_shut_a_client_out)
{
    char field[64];
    struct order order;

    start(FILE_TEXT, &usual);
    for (unsigned i = 0; i < 10; i++) {
        cr_expect_eq(outcome(i % 2, CLIENT, guess(i, field)), AUTH_WRONG);
    }
    ask(&order, 0, CLIENT, guess(99, field));
    cr_expect_eq(settle(&order).outcome, AUTH_TOO_MANY);
    cr_expect_gt(order.answer.retry_after_ms, 50000);
    cr_expect_leq(order.answer.retry_after_ms, 60000);
    cr_expect_eq(outcome(0, CLIENT, ALICE_SECRET), AUTH_TOO_MANY, "with the right one, too");
    cr_expect_eq(outcome(1, CLIENT, ALICE_SECRET), AUTH_TOO_MANY);
    cr_expect_eq(outcome(1, CLIENT, ""), AUTH_NONE);
    cr_expect_eq(outcome(0, OTHER_CLIENT, ALICE_SECRET), AUTH_VALID);
    cr_expect_eq(outcome(0, CLIENT, ALICE_SECRET), AUTH_TOO_MANY, "what is cached is no way round");
    finish();
}

Test(auth, the_same_wrong_password_counts_each_time)
{
    struct order order;

    start(FILE_TEXT, &usual);
    for (unsigned i = 0; i < 10; i++) {
        ask(&order, 0, CLIENT, ALICE_WRONG);
        cr_expect_eq(settle(&order).outcome, AUTH_WRONG);
        cr_expect_eq(order.was_pending, i == 0, "it is hashed once");
    }
    cr_expect_eq(outcome(0, CLIENT, ALICE_WRONG), AUTH_TOO_MANY);
    finish();
}

Test(auth, shut_out_client_may_again_when_its_time_is_over)
{
    struct auth_options options = usual;

    options.failures = 1;
    options.failures_ms = 50;
    start(FILE_TEXT, &options);
    cr_expect_eq(outcome(0, CLIENT, ALICE_WRONG), AUTH_WRONG);
    for (unsigned ms = 0; outcome(0, CLIENT, ALICE_SECRET) != AUTH_VALID; ms++) {
        cr_assert_lt(ms, WAIT_DEADLINE_MS);
        nap();
    }
    finish();
}

#define GUESSES 100

/* Many at a time get no more guesses than one after the other. */
Test(auth, guesses_made_at_once_are_counted_as_they_are_checked)
{
    static struct order orders[GUESSES];
    static char fields[GUESSES][64];
    static struct order right;
    unsigned counts[AUTH_PENDING] = {0};

    start("alice:" BCRYPT_10_SECRET "\n", &usual);
    for (unsigned i = 0; i < GUESSES; i++) {
        ask(&orders[i], 0, CLIENT, guess(i, fields[i]));
    }
    ask(&right, 0, CLIENT, ALICE_SECRET);
    wait_for(&right.is_done);
    cr_expect(right.was_pending, "it is in the queue before its client is shut out");
    cr_expect_eq(settle(&right).outcome, AUTH_TOO_MANY, "the right one after too many wrong ones");
    for (unsigned i = 0; i < GUESSES; i++) {
        counts[settle(&orders[i]).outcome]++;
    }
    cr_expect_eq(counts[AUTH_WRONG], 10, "one thread: not one more, %u", counts[AUTH_WRONG]);
    cr_expect_eq(counts[AUTH_TOO_MANY], GUESSES - 10);
    finish();
}

/* ------------------------------------------------------------------ the queue */

/* A thousand clients of one account are one check: the queue holds 256. */
Test(auth, same_credentials_are_checked_once)
{
    static struct order orders[1000];

    start("alice:" BCRYPT_10_SECRET "\n", &usual);
    for (unsigned i = 0; i < ARRAY_LEN(orders); i++) {
        ask(&orders[i], i % ARRAY_LEN(workers), CLIENT, ALICE_SECRET);
    }
    for (unsigned i = 0; i < ARRAY_LEN(orders); i++) {
        cr_expect_eq(settle(&orders[i]).outcome, AUTH_VALID);
    }
    finish();
}

Test(auth, same_wrong_credentials_count_for_each_that_shows_them)
{
    static struct order orders[30];
    unsigned wrong = 0;

    start("alice:" BCRYPT_10_SECRET "\n", &usual);
    for (unsigned i = 0; i < ARRAY_LEN(orders); i++) {
        ask(&orders[i], i % ARRAY_LEN(workers), CLIENT, ALICE_WRONG);
    }
    for (unsigned i = 0; i < ARRAY_LEN(orders); i++) {
        wrong += settle(&orders[i]).outcome == AUTH_WRONG;
    }
    cr_expect_eq(wrong, 10);
    cr_expect_eq(outcome(0, CLIENT, ALICE_WRONG), AUTH_TOO_MANY);
    cr_expect_eq(outcome(0, OTHER_CLIENT, ALICE_WRONG), AUTH_WRONG);
    finish();
}

Test(auth, full_queue_is_busy)
{
    static struct order orders[AUTH_CHECKS_MAX + 40];
    static char fields[AUTH_CHECKS_MAX + 40][64];
    unsigned counts[AUTH_PENDING] = {0};
    struct auth_options options = usual;

    options.failures = 100000;
    start("alice:" BCRYPT_10_SECRET "\n", &options);
    cr_expect_eq(outcome(0, CLIENT, NOBODY_SECRET), AUTH_WRONG); /* and the file was looked at */
    for (unsigned i = 0; i < ARRAY_LEN(orders); i++) {
        ask(&orders[i], 0, CLIENT, guess(i, fields[i]));
    }
    for (unsigned i = 0; i < ARRAY_LEN(orders); i++) {
        wait_for(&orders[i].is_done);
        counts[AUTH_BUSY] +=
            atomic_load(&orders[i].is_answered) && orders[i].answer.outcome == AUTH_BUSY;
    }
    cr_expect_geq(counts[AUTH_BUSY], 1);
    cr_expect_leq(counts[AUTH_BUSY], 40);
    /* And a client that leaves makes room. */
    for (unsigned i = 0; i < ARRAY_LEN(orders); i++) {
        cancel(&orders[i]);
    }
    cr_expect_eq(outcome(0, CLIENT, ALICE_SECRET), AUTH_VALID);
    finish();
}

/* One after the other they take longer than one may wait; what was checked after all is known. */
Test(auth, who_waits_too_long_is_told_so)
{
    static struct order orders[20];
    static char fields[ARRAY_LEN(orders)][64];
    struct auth_options options = usual;
    unsigned busy = 0;

    options.failures = 100000;
    options.wait_ms = 100;
    start("alice:" BCRYPT_10_SECRET "\n", &options);
    for (unsigned i = 0; i < ARRAY_LEN(orders); i++) {
        ask(&orders[i], 0, CLIENT, guess(i, fields[i]));
    }
    for (unsigned i = 0; i < ARRAY_LEN(orders); i++) {
        enum auth_outcome told = settle(&orders[i]).outcome;

        cr_expect(told == AUTH_WRONG || told == AUTH_BUSY);
        busy += told == AUTH_BUSY;
    }
    cr_expect_geq(busy, 5);
    for (unsigned ms = 0; outcome(0, CLIENT, ALICE_SECRET) != AUTH_VALID; ms++) {
        cr_assert_lt(ms, 100);
    }
    finish();
}

Test(auth, nobody_is_told_what_was_cancelled)
{
    static struct order running;
    static struct order waiting;

    start("alice:" BCRYPT_10_SECRET "\n", &usual);
    ask(&running, 0, CLIENT, ALICE_WRONG);
    ask(&waiting, 0, CLIENT, NOBODY_SECRET);
    wait_for(&waiting.is_done);
    cancel(&running);
    cancel(&waiting);
    cr_expect_eq(outcome(0, CLIENT, ALICE_SECRET), AUTH_VALID);
    cr_expect_not(atomic_load(&running.is_answered));
    cr_expect_not(atomic_load(&waiting.is_answered));
    finish();
}

/* Whoever leaves while the guess is checked has guessed all the same. One that had not begun counts
 * for nothing: the client stays longer each time, until it leaves in between. */
Test(auth, leaving_does_not_undo_a_guess)
{
    struct auth_options options = usual;
    static struct order order;
    char field[64];
    char bystander[32];

    options.failures = 1;
    start("alice:" BCRYPT_10_SECRET "\n", &options);
    cr_expect_eq(outcome(0, OTHER_CLIENT, ALICE_SECRET), AUTH_VALID);
    for (unsigned stay_ms = 0; outcome(0, CLIENT, ALICE_SECRET) != AUTH_TOO_MANY; stay_ms++) {
        cr_assert_lt(stay_ms, 100);
        ask(&order, 0, CLIENT, guess(stay_ms, field));
        wait_for(&order.is_done);
        for (unsigned ms = 0; ms < stay_ms; ms++) {
            nap();
        }
        cancel(&order);
        cr_assert_not(atomic_load(&order.is_answered));
        /* Who comes behind it is answered when it has been checked. */
        (void)snprintf(bystander, sizeof(bystander), "198.51.100.%u", stay_ms);
        cr_expect_eq(outcome(0, bystander, guess(500 + stay_ms, field)), AUTH_WRONG);
    }
    finish();
}

Test(auth, ends_while_checks_wait_and_run)
{
    static struct order orders[50];
    static char fields[50][64];

    start("alice:" BCRYPT_10_SECRET "\n", &usual);
    for (unsigned i = 0; i < ARRAY_LEN(orders); i++) {
        ask(&orders[i], i % ARRAY_LEN(workers), CLIENT, guess(i, fields[i]));
    }
    finish();
}

Test(auth, several_threads_check_at_once)
{
    static struct order orders[200];
    static char fields[200][64];
    struct auth_options options = usual;

    options.threads = 4;
    options.failures = 1000;
    start(FILE_TEXT, &options);
    for (unsigned i = 0; i < ARRAY_LEN(orders); i++) {
        ask(&orders[i], i % ARRAY_LEN(workers), CLIENT,
            i % 3 == 0   ? ALICE_SECRET
            : i % 3 == 1 ? BOB_SECRET
                         : guess(i, fields[i]));
    }
    for (unsigned i = 0; i < ARRAY_LEN(orders); i++) {
        cr_expect_eq(settle(&orders[i]).outcome, i % 3 == 2 ? AUTH_WRONG : AUTH_VALID);
    }
    finish();
}

/* ------------------------------------------------------------------ another file */

static void poll_outcome(size_t worker, const char *field, enum auth_outcome expected)
{
    for (unsigned ms = 0; outcome(worker, CLIENT, field) != expected; ms++) {
        cr_assert_lt(ms, WAIT_DEADLINE_MS);
        nap();
    }
}

static struct log_writer *writer;
static char log_path[80];

static void start_log(void)
{
    const struct log_writer_options options = {.path = log_path, .buffer_bytes = 65536};

    (void)snprintf(log_path, sizeof(log_path), "%s.log", path);
    cr_assert_eq(log_writer_new(&options, &writer), 0);
    log_start(writer, LOG_INFO, false);
}

static void stop_log(void)
{
    log_start(NULL, LOG_INFO, false);
    log_writer_stop(writer, WAIT_DEADLINE_MS);
    (void)unlink(log_path);
}

/* Until the log says it; somebody asks meanwhile, for else nobody looks at the file. */
static void poll_log(const char *text)
{
    static char log[65536];

    for (unsigned ms = 0;; ms++) {
        FILE *file = fopen(log_path, "r");
        size_t len;

        cr_assert_not_null(file);
        len = fread(log, 1, sizeof(log) - 1, file);
        (void)fclose(file);
        log[len] = '\0';
        if (strstr(log, text)) {
            return;
        }
        cr_assert_lt(ms, WAIT_DEADLINE_MS, "no \"%s\" in %s", text, log);
        (void)outcome(0, CLIENT, ALICE_SECRET);
        nap();
    }
}

Test(auth, follows_the_users_file)
{
    struct auth_options options = usual;

    options.failures = 100000;
    start(FILE_TEXT, &options);
    cr_expect_eq(outcome(0, CLIENT, ALICE_SECRET), AUTH_VALID);
    cr_expect_eq(outcome(1, CLIENT, ALICE_SECRET), AUTH_VALID);
    cr_expect_eq(outcome(0, CLIENT, DORA_SECRET), AUTH_WRONG);
    put_file("dora:" BCRYPT_SECRET "\nalice:" BCRYPT_OTHER "\n");
    poll_outcome(0, DORA_SECRET, AUTH_VALID);
    cr_expect_eq(outcome(0, CLIENT, ALICE_SECRET), AUTH_WRONG, "what was cached is void");
    cr_expect_eq(outcome(1, CLIENT, ALICE_SECRET), AUTH_WRONG);
    cr_expect_eq(outcome(1, CLIENT, BOB_SECRET), AUTH_WRONG);
    /* Of the same length. */
    put_file("dora:" BCRYPT_OTHER "\nalice:" BCRYPT_SECRET "\n");
    poll_outcome(1, ALICE_SECRET, AUTH_VALID);
    cr_expect_eq(outcome(0, CLIENT, DORA_SECRET), AUTH_WRONG);
    finish();
}

/* A file that takes long to read: others, and then FIRST. */
static void put_large_file(const char *first)
{
    static const char other[] = "user%07u:" BCRYPT_OTHER "\n";
    const size_t line_len = strlen("user0000000:" BCRYPT_OTHER "\n");
    const unsigned count = 200000;
    char *text = malloc(count * line_len + strlen(first) + 1);
    char *end = text;

    cr_assert_not_null(text);
    for (unsigned i = 0; i < count; i++) {
        end += sprintf(end, other, i);
    }
    (void)strcpy(end, first);
    put_file(text);
    free(text);
}

/* At rest, and to be looked at. */
static void await_look(void)
{
    uint64_t begin_ms = clock_mono_ms();

    while (clock_mono_ms() - begin_ms < 1200) {
        nap();
    }
}

/* Seconds of them, for the one thread. */
static struct order hashes[100];

static void run_hashes(void)
{
    static char fields[ARRAY_LEN(hashes)][64];

    for (unsigned i = 0; i < ARRAY_LEN(hashes); i++) {
        ask(&hashes[i], 0, OTHER_CLIENT, guess(i, fields[i]));
    }
    wait_for(&hashes[ARRAY_LEN(hashes) - 1].is_done);
}

/* From then on whoever asks waits for it. */
static void change_file(const char *first)
{
    put_large_file(first);
    await_look();
}

#define SLOW_TEXT "alice:" BCRYPT_10_SECRET "\nbob:" BCRYPT_SECRET "\n"

static void start_slow(const struct auth_options *options)
{
    start(SLOW_TEXT, options);
    for (size_t i = 0; i < ARRAY_LEN(workers); i++) {
        cr_assert_eq(outcome(i, CLIENT, BOB_SECRET), AUTH_VALID);
    }
}

Test(auth, who_asks_while_the_file_is_read_waits_for_it)
{
    struct auth_options options = usual;
    static struct order orders[20];

    options.failures = 100000;
    start_slow(&options);
    change_file("");
    for (unsigned i = 0; i < ARRAY_LEN(orders); i++) {
        ask(&orders[i], i % ARRAY_LEN(workers), CLIENT, BOB_SECRET);
    }
    for (unsigned i = 0; i < ARRAY_LEN(orders); i++) {
        cr_expect_eq(settle(&orders[i]).outcome, AUTH_WRONG, "struck, and what was cached is void");
    }
    cr_expect(orders[0].was_pending);
    finish();
}

Test(auth, file_is_read_before_the_passwords_that_wait)
{
    struct auth_options options = usual;
    unsigned unchecked = 0;

    options.failures = 100000;
    start_slow(&options);
    run_hashes();
    put_file("# nobody\n");
    poll_outcome(0, BOB_SECRET, AUTH_WRONG);
    for (unsigned i = 0; i < ARRAY_LEN(hashes); i++) {
        unchecked += !atomic_load(&hashes[i].is_answered);
    }
    cr_expect_geq(unchecked, 1);
    finish();
}

Test(auth, who_waits_for_the_file_may_leave)
{
    struct auth_options options = usual;
    static struct order leaving;
    static struct order staying;

    options.failures = 100000;
    start_slow(&options);
    change_file("");
    ask(&leaving, 0, CLIENT, BOB_SECRET);
    ask(&staying, 0, CLIENT, BOB_WRONG);
    wait_for(&staying.is_done);
    cancel(&leaving);
    cr_expect_eq(settle(&staying).outcome, AUTH_WRONG);
    cr_expect_not(atomic_load(&leaving.is_answered));
    finish();
}

/* Its password was right when it asked; nobody else asks, so that nobody looks at the file. */
Test(auth, who_is_struck_during_the_check_is_not_let_in)
{
    struct auth_options options = usual;
    static struct order order;

    options.failures = 100000;
    start_slow(&options);
    run_hashes();
    ask(&order, 0, CLIENT, ALICE_SECRET);
    wait_for(&order.is_done);
    put_file("# nobody\n");
    cr_expect_eq(settle(&order).outcome, AUTH_WRONG);
    cr_expect(order.was_pending);
    finish();
}

/* A worker that hangs is told of a reading when the next one is under way. */
Test(auth, who_waits_for_a_reading_is_not_told_of_the_one_before)
{
    static struct order early;
    static struct order late;
    static struct order other;
    struct order hang = {.kind = ORDER_HANG, .worker = &workers[0]};

    start("alice:" BCRYPT_SECRET "\nbob:" BCRYPT_SECRET "\n", &usual);
    change_file("bob:" BCRYPT_SECRET "\n");
    ask(&early, 0, CLIENT, BOB_SECRET);
    give(&hang);
    cr_assert_eq(outcome(1, CLIENT, BOB_SECRET), AUTH_VALID, "it has been read");
    cr_assert(early.was_pending);
    change_file("");
    ask(&other, 1, CLIENT, BOB_SECRET);
    wait_for(&other.is_done);
    ask(&late, 0, CLIENT, BOB_SECRET);
    atomic_store(&hang.may_end, true);
    cr_expect_eq(settle(&late).outcome, AUTH_WRONG);
    (void)settle(&early); /* either counts for it */
    cr_expect_eq(settle(&other).outcome, AUTH_WRONG);
    cr_expect(other.was_pending);
    cr_expect(late.was_pending);
    finish();
}

Test(auth, ends_while_the_file_is_to_be_read)
{
    struct auth_options options = usual;
    static struct order orders[ARRAY_LEN(workers)];

    options.failures = 100000;
    start_slow(&options);
    change_file("");
    for (size_t i = 0; i < ARRAY_LEN(workers); i++) {
        ask(&orders[i], i, CLIENT, BOB_SECRET);
    }
    finish();
}

/* As an editor does it: emptied, then written piece by piece. */
static void write_in_place(const char *text, size_t len)
{
    int fd = open(path, O_WRONLY | O_TRUNC);

    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, text, len), (ssize_t)len);
    cr_assert_eq(close(fd), 0);
}

/* bob is missing whenever somebody asks. Where this process stood still meanwhile, the file was at
 * rest as long, and may be believed. */
Test(auth, does_not_believe_a_file_that_is_being_written)
{
    struct auth_options options = usual;
    uint64_t begin_ms = clock_mono_ms();

    options.failures = 100000;
    start(FILE_TEXT, &options);
    cr_expect_eq(outcome(0, CLIENT, BOB_SECRET), AUTH_VALID);
    while (clock_mono_ms() - begin_ms < 2500) {
        uint64_t written_ms = clock_mono_ms();
        enum auth_outcome told;

        write_in_place(FILE_TEXT, strlen("alice:" BCRYPT_SECRET "\n"));
        told = outcome(0, CLIENT, BOB_SECRET);
        if (clock_mono_ms() - written_ms < FILE_FRESH_MS / 2) {
            cr_assert_eq(told, AUTH_VALID);
        } else if (told != AUTH_VALID) {
            write_in_place(FILE_TEXT, strlen(FILE_TEXT));
            poll_outcome(0, BOB_SECRET, AUTH_VALID);
        }
        nap();
    }
    write_in_place("dora:" BCRYPT_SECRET "\n", strlen("dora:" BCRYPT_SECRET "\n"));
    poll_outcome(0, DORA_SECRET, AUTH_VALID);
    finish();
}

Test(auth, remembers_users_that_came_later)
{
    struct auth_options options = usual;
    struct order order;

    options.failures = 100000;
    start("alice:" BCRYPT_SECRET "\n", &options);
    cr_expect_eq(outcome(0, CLIENT, ALICE_SECRET), AUTH_VALID);
    put_file("a:" BCRYPT_OTHER "\nb:" BCRYPT_OTHER "\nc:" BCRYPT_OTHER "\ndora:" BCRYPT_SECRET
             "\n");
    poll_outcome(0, DORA_SECRET, AUTH_VALID);
    ask(&order, 0, CLIENT, DORA_SECRET);
    cr_expect_eq(settle(&order).outcome, AUTH_VALID);
    cr_expect_not(order.was_pending);
    finish();
}

Test(auth, keeps_its_users_while_the_file_is_bad)
{
    struct auth_options options = usual;

    options.failures = 100000;
    start(FILE_TEXT, &options);
    start_log();
    put_file("dora:" BCRYPT_SECRET "\nbob:hunter2\n");
    poll_log("event=users level=warning msg=\"");
    poll_log(":2: user bob: plain text is too weak");
    poll_log("has changed and cannot be used: the users read before stay");
    cr_expect_eq(outcome(0, CLIENT, DORA_SECRET), AUTH_WRONG);
    cr_expect_eq(outcome(0, CLIENT, BOB_SECRET), AUTH_VALID);
    cr_assert_eq(unlink(path), 0);
    poll_log("No such file or directory");
    cr_expect_eq(outcome(0, CLIENT, ALICE_SECRET), AUTH_VALID);
    put_file("dora:" BCRYPT_SECRET "\n");
    poll_outcome(0, DORA_SECRET, AUTH_VALID);
    poll_log("event=users level=notice");
    stop_log();
    finish();
}

Test(auth, tells_the_log_who_failed)
{
    struct auth_options options = usual;

    options.failures = 2;
    start(FILE_TEXT, &options);
    start_log();
    cr_expect_eq(outcome(0, CLIENT, ALICE_WRONG), AUTH_WRONG);
    poll_log("event=auth level=warning client=192.0.2.1 user=alice msg=\"wrong password\"\n");
    cr_expect_eq(outcome(0, CLIENT, "Basic bm8gb25lIjpodW50ZXIy"), AUTH_WRONG);
    poll_log(
        "event=auth level=warning client=192.0.2.1 user=\"no one\\\"\" msg=\"no such user; too "
        "many from this client, which may try again in ");
    stop_log();
    finish();
}

Test(auth, takes_others_after_a_reload)
{
    struct conf_messages messages = {0};
    struct auth_users *others = NULL;
    struct auth_options options = usual;

    start(FILE_TEXT, &usual);
    cr_expect_eq(outcome(0, CLIENT, ALICE_SECRET), AUTH_VALID);
    put_file("dora:" BCRYPT_SECRET "\n");
    cr_assert_eq(auth_users_load(path, (struct conf_origin){0}, &messages, &others), 0);
    options.failures = 1;
    auth_renew(auth, &options, others);
    auth_users_unref(others);
    cr_expect_eq(outcome(0, CLIENT, DORA_SECRET), AUTH_VALID);
    cr_expect_eq(outcome(0, CLIENT, ALICE_SECRET), AUTH_WRONG);
    cr_expect_eq(outcome(0, CLIENT, DORA_SECRET), AUTH_TOO_MANY);
    conf_messages_deinit(&messages);
    finish();
}

/* Until the file is old enough to be read as it stands. */
static void await_belief(void)
{
    struct file_stamp stamp = file_look(path);

    for (unsigned ms = 0; file_stamp_is_fresh(&stamp); ms++) {
        cr_assert_lt(ms, WAIT_DEADLINE_MS);
        nap();
    }
}

/* The file is looked at again at once, not when the next look is due. */
Test(auth, a_reload_that_read_an_older_file_does_not_bring_its_users_back)
{
    struct conf_messages messages = {0};
    struct auth_users *older = NULL;
    struct auth_options options = usual;

    start("dora:" BCRYPT_SECRET "\n", &usual);
    cr_expect_eq(outcome(0, CLIENT, DORA_SECRET), AUTH_VALID);
    cr_assert_eq(auth_users_load(path, (struct conf_origin){0}, &messages, &older), 0);
    put_file(FILE_TEXT);
    await_belief();
    options.cache_ms = 1000;
    auth_renew(auth, &options, older);
    auth_users_unref(older);
    cr_expect_eq(outcome(0, CLIENT, DORA_SECRET), AUTH_WRONG);
    conf_messages_deinit(&messages);
    finish();
}

/* ------------------------------------------------------------------ memory */

#ifdef MEM_FAULTS
static struct order fault_order;

static int try_new(void)
{
    struct auth *other = NULL;
    int r = auth_new(&usual, users, &other);

    if (r == 0) {
        auth_stop(other);
        auth_free(other);
    }
    return r;
}
#endif

Test(auth, says_when_memory_is_out)
{
#ifdef MEM_FAULTS
    struct conf_messages messages = {0};

    cr_assert_eq(auth_users_parse(STR(FILE_TEXT), "users", &messages, &users), 0);
    /* The last one is the shared cache, without which all goes on. */
    for (unsigned n = 1; n <= 7; n++) {
        mem_fail(n, n);
        cr_expect_eq(try_new(), -ENOMEM, "allocation %u", n);
        cr_expect_eq(mem_failed(), 1);
    }
    mem_fail(0, 0);
    cr_expect_eq(try_new(), 0);
    auth_users_unref(users);
    users = NULL;
#endif
}

/* Each allocation of a first request fails in turn: the cache and the look do without, the others
 * fail; the next request is served. */
Test(auth, fails_without_memory)
{
#ifdef MEM_FAULTS
    for (unsigned n = 1;; n++) {
        enum auth_outcome first;

        start(FILE_TEXT, &usual);
        mem_fail(n, n);
        ask(&fault_order, 0, CLIENT, ALICE_SECRET);
        first = settle(&fault_order).outcome;
        if (mem_failed() == 0) {
            mem_fail(0, 0);
            cr_expect_eq(first, AUTH_VALID);
            cr_expect_geq(n, 5);
            finish();
            break;
        }
        mem_fail(0, 0);
        cr_expect(first == AUTH_FAILED || first == AUTH_VALID, "allocation %u: %d", n, (int)first);
        cr_expect_eq(outcome(0, CLIENT, ALICE_SECRET), AUTH_VALID);
        finish();
    }
#endif
}
