// SPDX-License-Identifier: MIT
#include "server/server.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/addr.h"
#include "base/mem.h"
#include "base/text.h"
#include "conf/conf.h"
#include "io/loop.h"
#include "io/mailbox.h"
#include "log/log.h"
#include "log/record.h"
#include "log/writer.h"
#include "policy/auth.h"
#include "policy/snapshot.h"
#include "server/crowd.h"
#include "server/limits.h"
#include "server/privileges.h"
#include "server/sockets.h"
#include "server/worker.h"

#define LOG_STOP_MS 2000
#define MESSAGE_MAX 512

enum server_phase { SERVER_SERVING, SERVER_DELAY, SERVER_DRAINING, SERVER_CUTTING };

struct server {
    enum server_phase phase;
    struct snapshot *snapshot; /* shared ref */
    struct log_writer *writer; /* owned */
    struct sockets sockets;
    struct workshop shop;
    struct loop *loop;       /* owned: signals and deadlines of the main thread */
    struct mailbox *mailbox; /* owned: workers that ended */
    struct mail ended_mail;
    atomic_size_t running;
    char via_name[300];
    int signal_fd;
    struct loop_watch *signals; /* owned */
    struct deadline delay;      /* server.drain_delay */
    struct deadline grace;      /* server.grace */
};

/* ------------------------------------------------------------------ drain */

static void poke_all(struct server *s, unsigned requests)
{
    for (size_t i = 0; s->shop.workers && i < s->shop.worker_count; i++) {
        worker_poke(s->shop.workers[i], requests);
    }
}

static void cut(struct server *s)
{
    if (s->phase != SERVER_CUTTING) {
        s->phase = SERVER_CUTTING;
        deadline_disarm(&s->delay);
        deadline_disarm(&s->grace);
        log_event(LOG_NOTICE, "drain", "cutting what still runs");
        poke_all(s, WORKER_DRAIN | WORKER_CUT);
    }
}

static void begin_drain(struct server *s)
{
    uint64_t grace_ms = s->snapshot->conf->server.grace_ms;

    s->phase = SERVER_DRAINING;
    log_event(LOG_NOTICE, "drain", "no new clients; what runs may go on for %llu s",
              (unsigned long long)(grace_ms / 1000));
    poke_all(s, WORKER_DRAIN);
    if (grace_ms == 0) {
        cut(s);
    } else {
        deadline_arm(&s->grace, s->loop, grace_ms);
    }
}

static void on_delay(struct deadline *deadline)
{
    begin_drain(CONTAINER_OF(deadline, struct server, delay));
}

static void on_grace(struct deadline *deadline)
{
    cut(CONTAINER_OF(deadline, struct server, grace));
}

static void on_terminate(struct server *s)
{
    uint64_t delay_ms = s->snapshot->conf->server.drain_delay_ms;

    if (s->phase != SERVER_SERVING) {
        cut(s);
    } else if (delay_ms > 0) {
        s->phase = SERVER_DELAY;
        log_event(LOG_NOTICE, "drain", "still serving for server.drain_delay");
        deadline_arm(&s->delay, s->loop, delay_ms);
    } else {
        begin_drain(s);
    }
}

/* ------------------------------------------------------------------ signals */

static void on_signal(struct server *s, int number)
{
    switch (number) {
    case SIGTERM:
    case SIGINT:
        on_terminate(s);
        break;
    case SIGHUP:
        log_event(LOG_NOTICE, "reload",
                  s->phase == SERVER_SERVING
                      ? "HUP: the configuration is read at start only; nothing has changed"
                      : "HUP is ignored during the drain");
        break;
    case SIGUSR1:
        log_writer_reopen(s->writer);
        log_event(LOG_NOTICE, "log", "USR1: log file opened again");
        break;
    default:
        break;
    }
}

static void on_signal_fd(void *arg, int fd, unsigned what)
{
    struct signalfd_siginfo info;

    (void)what;
    while (read(fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        on_signal(arg, (int)info.ssi_signo);
    }
}

/* Before any thread starts, so that all inherit the mask. */
static int watch_signals(struct server *s)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    sigset_t set;

    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGINT);
    (void)sigaddset(&set, SIGHUP);
    (void)sigaddset(&set, SIGUSR1);
    (void)pthread_sigmask(SIG_BLOCK, &set, NULL);
    (void)sigaction(SIGPIPE, &ignore, NULL);
    s->signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (s->signal_fd < 0) {
        return -errno;
    }
    return loop_watch_new(s->loop, s->signal_fd, LOOP_READ, on_signal_fd, s, &s->signals);
}

/* ------------------------------------------------------------------ start */

static int fail(const char *message)
{
    log_event(LOG_ERROR, "start", "%s", message);
    return -1;
}

/* The last worker to end wakes the main thread. */
static void on_worker_ended(void *arg)
{
    struct server *s = arg;

    if (atomic_fetch_sub(&s->running, 1) == 1) {
        mailbox_send(s->mailbox, &s->ended_mail);
    }
}

static void on_all_ended(void *arg, struct mail *mail)
{
    struct server *s = arg;

    (void)mail;
    loop_stop(s->loop);
}

static void name_instance(struct server *s)
{
    uint32_t random = 0;

    if (getrandom(&random, sizeof(random), 0) != (ssize_t)sizeof(random)) {
        random = (uint32_t)getpid();
    }
    (void)snprintf(s->via_name, sizeof(s->via_name), "%.255s-%08x", s->snapshot->conf->server.name,
                   random);
    s->shop.via_name = str_of(s->via_name);
}

/* Descriptors that no connection uses: log, loops, DNS, files read at run time. */
static uint64_t reserve_of(const struct server *s)
{
    uint64_t reserve = 32 + 16 * (uint64_t)s->shop.worker_count;

    for (size_t i = 0; i < s->sockets.count; i++) {
        reserve += s->sockets.sets[i].fd_count;
    }
    return reserve;
}

static void set_budgets(struct server *s)
{
    const struct conf *conf = s->snapshot->conf;
    uint64_t descriptors = limits_raise_descriptors();
    uint64_t reserve = reserve_of(s);
    uint64_t usable = descriptors > reserve + 8 ? descriptors - reserve : 8;
    uint64_t clients = conf->server.max_connections;

    s->shop.fds.max = (int)MIN(usable, INT32_MAX);
    if (clients == CONF_AUTO) {
        clients = MIN(usable, 1000000);
    }
    s->shop.max_clients = (int64_t)clients;
    s->shop.buffers.max_bytes =
        (int64_t)(conf->limits.buffers_bytes == CONF_AUTO
                      ? limits_memory() / 8
                      : MIN(conf->limits.buffers_bytes, (uint64_t)INT64_MAX));
    if (clients > usable) {
        log_event(LOG_WARNING, "start",
                  "server.max_connections is %llu, but the descriptor limit (%llu) holds %llu",
                  (unsigned long long)clients, (unsigned long long)descriptors,
                  (unsigned long long)usable);
    }
}

static int start_log(struct server *s)
{
    const struct conf *conf = s->snapshot->conf;
    const struct log_writer_options options = {
        .path = conf->log.path,
        .buffer_bytes = (size_t)conf->log.buffer_bytes,
        .json = conf->log.access == LOG_FORMAT_JSON,
    };
    char message[MESSAGE_MAX];
    int r = log_writer_new(&options, &s->writer);

    if (r != 0) {
        (void)snprintf(message, sizeof(message), "log.destination: %s: %s",
                       conf->log.path ? conf->log.path : "stdout", strerror(-r));
        return fail(message);
    }
    s->shop.writer = s->writer;
    return 0;
}

static void announce_socket(const struct socket_set *set)
{
    char name[256];
    struct log_field fields[] = {
        LOG_TEXT("listener", str_of(set->listener->name)),
        LOG_TEXT("address", STR("")),
    };

    socket_set_name(set, name, sizeof(name));
    fields[1].text = str_of(name);
    log_fields(LOG_NOTICE, "listener", fields, ARRAY_LEN(fields),
               set->inherited ? "listening on an inherited socket" : "listening");
}

static void announce(const struct server *s, const struct conf_messages *warnings)
{
    const struct conf *conf = s->snapshot->conf;
    const struct log_field start[] = {
        LOG_TEXT("version", STR(VIADUCT_VERSION)),
        LOG_TEXT("configuration", conf->source ? str_of(conf->source) : STR("built-in")),
        LOG_NUM("workers", s->shop.worker_count),
        LOG_NUM("max_connections", (uint64_t)s->shop.max_clients),
        LOG_NUM("pid", (uint64_t)getpid()),
    };
    char line[1024];

    log_fields(LOG_NOTICE, "start", start, ARRAY_LEN(start), "viaduct serves");
    for (size_t i = 0; i < warnings->count; i++) {
        conf_message_format(&warnings->items[i], line, sizeof(line));
        log_event(LOG_WARNING, "configuration", "%s", line);
    }
    if (geteuid() == 0) {
        log_event(LOG_WARNING, "start", "running as root: set server.user");
    }
    for (size_t i = 0; i < s->sockets.count; i++) {
        announce_socket(&s->sockets.sets[i]);
    }
}

/* Threads that check passwords get half the processors at most. */
static int start_auth(struct server *s)
{
    const struct conf *conf = s->snapshot->conf;
    const struct auth_options options = {
        .cache_ms = conf->auth.cache_ms,
        .failures = conf->auth.failures.count,
        .failures_ms = conf->auth.failures.per_ms,
        .threads = MAX(limits_cpus() / 2, 1),
    };

    return s->snapshot->users ? auth_new(&options, s->snapshot->users, &s->shop.auth) : 0;
}

static int build_workers(struct server *s)
{
    s->shop.workers = mem_zalloc_or_die(s->shop.worker_count * sizeof(struct worker *));
    for (size_t i = 0; i < s->shop.worker_count; i++) {
        int r = worker_new(&s->shop, i, &s->shop.workers[i]);

        if (r != 0) {
            return fail(strerror(-r));
        }
    }
    return 0;
}

static int start_workers(struct server *s)
{
    for (size_t i = 0; i < s->shop.worker_count; i++) {
        int r = worker_start(s->shop.workers[i]);

        if (r != 0) {
            return fail(strerror(-r));
        }
        atomic_fetch_add(&s->running, 1);
    }
    return 0;
}

/* The file is followed as it changes, by the user we are now: who is struck from it must go. */
static int check_users_file(const struct conf *conf, char *error, size_t cap)
{
    if (!conf->auth.users_path || access(conf->auth.users_path, R_OK) == 0) {
        return 0;
    }
    (void)snprintf(error, cap, "auth.users: %s: cannot be read as %s: %s", conf->auth.users_path,
                   conf->server.user ? conf->server.user : "this user", strerror(errno));
    return -errno;
}

/* In the order that needs no taking back: everything that can fail comes before the first thread
 * serves. */
static int start(struct server *s, const struct conf_messages *warnings)
{
    const struct conf *conf = s->snapshot->conf;
    char message[MESSAGE_MAX] = "";

    s->shop.worker_count =
        conf->server.workers == CONF_AUTO ? limits_cpus() : (size_t)conf->server.workers;
    s->shop.snapshot = s->snapshot;
    s->shop.sockets = &s->sockets;
    s->shop.ended = on_worker_ended;
    s->shop.arg = s;
    name_instance(s);
    if (loop_new(&s->loop) != 0 || mailbox_new(s->loop, on_all_ended, s, &s->mailbox) != 0 ||
        watch_signals(s) != 0) {
        return fail("cannot set up the event loop");
    }
    deadline_init(&s->delay, on_delay);
    deadline_init(&s->grace, on_grace);
    if (sockets_open(&s->sockets, conf, s->shop.worker_count, message, sizeof(message)) != 0) {
        return fail(message);
    }
    set_budgets(s);
    if (privileges_drop(conf->server.user, message, sizeof(message)) != 0) {
        return fail(message);
    }
    if (check_users_file(conf, message, sizeof(message)) != 0) {
        return fail(message);
    }
    if (start_log(s) != 0) {
        return -1;
    }
    if (conf->server.max_connections_per_client > 0 &&
        crowd_new(conf->server.max_connections_per_client, &s->shop.crowd) != 0) {
        return fail("out of memory");
    }
    if (start_auth(s) != 0) {
        return fail("cannot set up the check of passwords");
    }
    if (build_workers(s) != 0) {
        return -1;
    }
    log_start(s->writer, (enum log_level)conf->log.level, conf->log.access == LOG_FORMAT_JSON);
    announce(s, warnings);
    return start_workers(s);
}

/* Waits for the workers' ends; their last log lines are with the writer then. */
static void join_workers(struct server *s)
{
    for (size_t i = 0; s->shop.workers && i < s->shop.worker_count; i++) {
        worker_join(s->shop.workers[i]);
    }
}

/* Of a server that has ended, or whose start failed half-way. */
static void take_apart(struct server *s)
{
    join_workers(s);
    if (s->shop.auth) {
        auth_stop(s->shop.auth);
    }
    for (size_t i = 0; s->shop.workers && i < s->shop.worker_count; i++) {
        worker_free(s->shop.workers[i]);
    }
    auth_free(s->shop.auth);
    mem_free((void *)s->shop.workers);
    log_start(NULL, LOG_INFO, false);
    log_writer_stop(s->writer, LOG_STOP_MS);
    crowd_free(s->shop.crowd);
    sockets_close(&s->sockets);
    mailbox_free(s->mailbox);
    loop_watch_free(s->signals);
    if (s->signal_fd >= 0) {
        (void)close(s->signal_fd);
    }
    loop_free(s->loop);
    snapshot_unref(s->snapshot);
    mem_free(s);
}

int server_run(struct snapshot *snapshot, const struct conf_messages *warnings)
{
    struct server *s = mem_zalloc_or_die(sizeof(*s));

    s->snapshot = snapshot;
    s->signal_fd = -1;
    if (start(s, warnings) != 0) {
        poke_all(s, WORKER_DRAIN | WORKER_CUT);
        take_apart(s);
        return 1;
    }
    if (loop_run(s->loop) != 0) {
        log_event(LOG_ERROR, "stop", "polling failed");
        poke_all(s, WORKER_DRAIN | WORKER_CUT);
    }
    join_workers(s);
    log_event(LOG_NOTICE, "stop", "viaduct ends");
    take_apart(s);
    return 0;
}
