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

#include "base/aside.h"
#include "base/mem.h"
#include "base/text.h"
#include "conf/conf.h"
#include "io/loop.h"
#include "io/mailbox.h"
#include "log/log.h"
#include "log/record.h"
#include "log/writer.h"
#include "policy/auth.h"
#include "policy/machine.h"
#include "policy/snapshot.h"
#include "server/crowd.h"
#include "server/limits.h"
#include "server/privileges.h"
#include "server/pulse.h"
#include "server/reload.h"
#include "server/server_private.h"
#include "server/sockets.h"
#include "server/worker.h"

#define LOG_STOP_MS 2000

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
    char buf[32];
    struct text grace = TEXT_OVER(buf);

    s->phase = SERVER_DRAINING;
    conf_time_put(grace_ms, &grace);
    log_event(LOG_NOTICE, "drain", "no new clients; what runs may go on for %s", text_cstr(&grace));
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

    if (s->admin) {
        admin_drain(s->admin);
    }
    if (s->phase != SERVER_SERVING) {
        cut(s);
        return;
    }
    if (delay_ms > 0) {
        s->phase = SERVER_DELAY;
        log_event(LOG_NOTICE, "drain", "still serving for server.drain_delay");
        deadline_arm(&s->delay, s->loop, delay_ms);
    } else {
        begin_drain(s);
    }
    pulse_stop(s);
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
        if (s->phase == SERVER_SERVING) {
            reload_ask(s, "HUP", NULL);
        } else {
            log_event(LOG_NOTICE, "reload", "HUP is ignored during the drain");
        }
        break;
    case SIGUSR1:
        log_event(LOG_NOTICE, "log", "%s",
                  log_writer_reopen(s->writer)
                      ? "USR1: opening the log file again"
                      : "USR1: nothing to open again, the log goes to standard output");
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

void server_hold_signals(void)
{
    sigset_t set;

    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGHUP);
    (void)sigaddset(&set, SIGUSR1);
    (void)pthread_sigmask(SIG_BLOCK, &set, NULL);
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

static void on_all_drained(void *arg)
{
    struct server *s = arg;

    mailbox_send(s->mailbox, &s->drained_mail);
}

/* Sockets are the main thread's alone: a reload may just be sweeping up. */
static void on_mail(void *arg, struct mail *mail)
{
    struct server *s = arg;

    if (mail == &s->drained_mail) {
        sockets_stop(&s->sockets);
    } else {
        loop_stop(s->loop);
    }
}

static uint32_t draw_number(void)
{
    uint32_t random = 0;

    return getrandom(&random, sizeof(random), 0) == (ssize_t)sizeof(random) ? random
                                                                            : (uint32_t)getpid();
}

static int start_log(struct server *s)
{
    const struct conf *conf = s->snapshot->conf;
    const struct log_writer_options options = {
        .path = conf->log.path,
        .buffer_bytes = (size_t)conf->log.buffer_bytes,
        .json = conf->log.access == LOG_FORMAT_JSON,
    };
    char message[SERVER_MESSAGE_MAX];
    int r = log_writer_new(&options, &s->writer);

    if (r != 0) {
        (void)snprintf(message, sizeof(message), "log.destination: %s: %s",
                       conf->log.path ? conf->log.path : "stdout", strerror(-r));
        return fail(message);
    }
    s->shop.writer = s->writer;
    return 0;
}

void server_announce_door(const struct socket_door *door)
{
    char name[256];
    struct log_field fields[] = {
        LOG_TEXT("listener", str_of(door->listener)),
        LOG_TEXT("address", STR("")),
        LOG_TEXT("socket", str_of(door->set->name)),
    };

    socket_set_name(door->set, name, sizeof(name));
    fields[1].text = str_of(name);
    log_fields(LOG_NOTICE, "listener", fields, door->set->name ? 3 : 2,
               door->set->inherited ? "listening on an inherited socket" : "listening");
}

void server_announce_admin(const struct socket_set *set)
{
    char name[256];
    struct log_field field = LOG_TEXT("address", STR(""));

    socket_set_name(set, name, sizeof(name));
    field.text = str_of(name);
    log_fields(LOG_NOTICE, "admin", &field, 1, "listening");
}

static void announce(const struct server *s, const struct conf_messages *warnings)
{
    const struct conf *conf = s->snapshot->conf;
    const struct log_field start[] = {
        LOG_TEXT("version", STR(VIADUCT_VERSION)),
        LOG_TEXT("configuration", conf->source ? str_of(conf->source) : STR("built-in")),
        LOG_NUM("workers", s->shop.worker_count),
        LOG_NUM("max_connections", (uint64_t)atomic_load(&s->shop.max_clients)),
        LOG_NUM("pid", (uint64_t)getpid()),
    };
    char line[CONF_MESSAGE_LINE_MAX];

    log_fields(LOG_NOTICE, "start", start, ARRAY_LEN(start), "viaduct serves");
    for (size_t i = 0; i < warnings->count; i++) {
        conf_message_format(&warnings->items[i], line, sizeof(line));
        log_event(LOG_WARNING, "configuration", "%s", line);
    }
    if (geteuid() == 0) {
        log_event(LOG_WARNING, "start", "running as root: set server.user");
    }
    if (s->sockets.give_error != 0) {
        log_event(LOG_WARNING, "start",
                  "the sockets stay root's (%s): a reload cannot change permissions of a unix "
                  "socket, nor one address of a port to all of it or back",
                  strerror(-s->sockets.give_error));
    }
    for (size_t i = 0; i < s->sockets.door_count; i++) {
        server_announce_door(&s->sockets.doors[i]);
    }
}

/* Each worker reads them for itself; what stands in the way of that is told here once. */
static int check_machine(void)
{
    struct machine_addrs *addrs = NULL;
    int r = machine_addrs_read(&addrs);
    char message[SERVER_MESSAGE_MAX];

    machine_addrs_free(addrs);
    if (r != 0) {
        machine_describe_error(r, message, sizeof(message));
        return fail(message);
    }
    return 0;
}

static int build_workers(struct server *s)
{
    s->shop.workers = mem_zalloc_or_die(s->shop.worker_count * sizeof(struct worker *));
    for (size_t i = 0; i < s->shop.worker_count; i++) {
        struct worker_change *change =
            server_new_change(s, s->snapshot, s->sockets.doors, s->sockets.door_count);
        int r = change ? worker_new(&s->shop, i, change, &s->shop.workers[i]) : -ENOMEM;

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

int server_start_admin(struct server *s, const struct socket_set *set)
{
    struct admin_view *view = admin_view_new(s->snapshot, s->sockets.doors, s->sockets.door_count);

    return view ? admin_new(s, view, set, &s->admin) : -ENOMEM;
}

static int start_admin(struct server *s)
{
    int r = s->sockets.admin ? server_start_admin(s, s->sockets.admin) : 0;

    if (r != 0) {
        return fail(strerror(-r));
    }
    if (s->admin) {
        server_announce_admin(s->sockets.admin);
    }
    admin_record_write(&s->admin_record, s->sockets.admin);
    return 0;
}

static int open_sockets(struct server *s)
{
    char message[SERVER_MESSAGE_MAX] = "";
    struct socket_plan plan;

    if (sockets_init(&s->sockets, s->shop.worker_count, message, sizeof(message)) != 0 ||
        sockets_plan(&s->sockets, s->snapshot->conf, &plan, message, sizeof(message)) != 0) {
        return fail(message);
    }
    if (server_settle(s, s->snapshot, &plan) != 0) {
        sockets_give_up(&s->sockets, &plan);
        return fail("out of memory");
    }
    sockets_commit(&s->sockets, &plan, s->snapshot->conf);
    admin_record_open(&s->admin_record);
    return 0;
}

/* Becomes server.user, who has the sockets from then on. */
static int drop_privileges(struct server *s)
{
    const char *user = s->snapshot->conf->server.user;
    char message[SERVER_MESSAGE_MAX] = "";
    uid_t uid;

    if (geteuid() == 0 && user && privileges_find(user, &uid) == 0) {
        sockets_give_to(&s->sockets, uid);
    }
    return privileges_drop(user, message, sizeof(message)) == 0 ? 0 : fail(message);
}

/* In the order that needs no taking back: everything that can fail comes before the first thread
 * serves. */
static int start(struct server *s, const struct conf_messages *warnings)
{
    const struct conf *conf = s->snapshot->conf;

    s->shop.worker_count =
        conf->server.workers == CONF_AUTO ? limits_cpus() : (size_t)conf->server.workers;
    s->shop.ended = on_worker_ended;
    s->shop.all_drained = on_all_drained;
    s->shop.changed = reload_worker_changed;
    s->shop.arg = s;
    s->via_number = draw_number();
    s->descriptors = limits_raise_descriptors();
    if (loop_new(&s->loop) != 0 || mailbox_new(s->loop, on_mail, s, &s->mailbox) != 0 ||
        server_init_tenures(s) != 0 || aside_new("viaduct-reload", &s->aside) != 0 ||
        reload_init(s) != 0 || pulse_init(s) != 0 || watch_signals(s) != 0) {
        return fail("cannot set up the event loop");
    }
    deadline_init(&s->delay, on_delay);
    deadline_init(&s->grace, on_grace);
    if (open_sockets(s) != 0 || drop_privileges(s) != 0 || start_log(s) != 0) {
        return -1;
    }
    if (crowd_new(&s->shop.crowd) != 0) {
        return fail("out of memory");
    }
    if (server_need_auth(s, s->snapshot) != 0) {
        return fail("cannot set up the check of passwords");
    }
    if (check_machine() != 0 || build_workers(s) != 0) {
        return -1;
    }
    server_apply(s, s->snapshot);
    announce(s, warnings);
    if (start_workers(s) != 0 || start_admin(s) != 0) {
        return -1;
    }
    pulse_begin(s);
    return 0;
}

/* Waits for the workers' ends; their last log lines are with the writer then. */
static void join_workers(struct server *s)
{
    for (size_t i = 0; s->shop.workers && i < s->shop.worker_count; i++) {
        worker_join(s->shop.workers[i]);
    }
}

/* All of the end that others see. False: a thread still uses what there is. */
static bool close_down(struct server *s)
{
    bool is_over;

    join_workers(s);
    is_over = reload_deinit(s);
    admin_free(s->admin);
    if (s->auth) {
        auth_stop(s->auth);
    }
    for (size_t i = 0; s->shop.workers && i < s->shop.worker_count; i++) {
        worker_free(s->shop.workers[i]);
    }
    auth_free(s->auth);
    mem_free((void *)s->shop.workers);
    log_start(NULL, LOG_INFO, false);
    log_writer_stop(s->writer, LOG_STOP_MS);
    crowd_free(s->shop.crowd);
    admin_record_close(&s->admin_record);
    sockets_close(&s->sockets);
    return is_over;
}

/* Of a server that has ended, or whose start failed half-way. */
static void take_apart(struct server *s, int status)
{
    if (!close_down(s)) {
        _exit(status);
    }
    mailbox_free(s->reload.mailbox);
    reload_progress_deinit(&s->reload.progress);
    pulse_deinit(s);
    mailbox_free(s->tenures);
    aside_free(s->aside);
    mailbox_free(s->mailbox);
    loop_watch_free(s->signals);
    if (s->signal_fd >= 0) {
        (void)close(s->signal_fd);
    }
    loop_free(s->loop);
    snapshot_unref(s->snapshot);
    conf_free(s->started);
    mem_free(s);
}

int server_run(struct snapshot *snapshot, const struct conf_load_options *source,
               const struct conf_messages *warnings)
{
    struct server *s = mem_zalloc_or_die(sizeof(*s));

    s->snapshot = snapshot;
    s->started = conf_share(snapshot->conf);
    s->source = source;
    s->signal_fd = -1;
    s->pulse.notify.fd = -1;
    s->admin_record.fd = -1;
    if (start(s, warnings) != 0) {
        poke_all(s, WORKER_DRAIN | WORKER_CUT);
        take_apart(s, 1);
        return 1;
    }
    if (loop_run(s->loop) != 0) {
        log_event(LOG_ERROR, "stop", "polling failed");
        poke_all(s, WORKER_DRAIN | WORKER_CUT);
    }
    join_workers(s);
    log_event(LOG_NOTICE, "stop", "viaduct ends");
    take_apart(s, 0);
    return 0;
}
