// SPDX-License-Identifier: MIT
#include "server/worker.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/thread.h"
#include "io/loop.h"
#include "io/mailbox.h"
#include "log/log.h"
#include "policy/auth.h"
#include "policy/machine.h"
#include "proxy/proxy.h"
#include "proxy/roll.h"
#include "proxy/tenure.h"
#include "resolve/resolver.h"
#include "server/worker_private.h"

/* How long memory that nobody needs is kept for who comes next; when all is quiet, how often it
 * goes back at once. */
#define TRIM_MS 100
#define TRIM_QUIET_MS 20

static void end_if_empty(struct worker *w)
{
    if (w->draining && proxy_is_empty(&w->proxy)) {
        loop_stop(w->io.loop);
    }
}

static void on_settle(struct task *task)
{
    struct worker *w = CONTAINER_OF(task, struct worker, settle);

    worker_resume_accepting(w);
    end_if_empty(w);
}

/* ------------------------------------------------------------------ memory */

static void on_trim(struct deadline *deadline)
{
    struct worker *w = CONTAINER_OF(deadline, struct worker, trim);

    slabs_trim(&w->io.slabs, proxy_is_quiet(&w->proxy));
}

/* Now and then what was not needed lately goes back to the system, and all when the last exchange
 * of a burst has ended. Nothing wakes a worker that has given back what it can. */
static void on_turn_end(void *arg)
{
    struct worker *w = arg;

    if (!slabs_are_spare(&w->io.slabs)) {
        return;
    }
    if (proxy_is_quiet(&w->proxy) && loop_now_ms(w->io.loop) - w->emptied_ms >= TRIM_QUIET_MS) {
        w->emptied_ms = loop_now_ms(w->io.loop);
        slabs_trim(&w->io.slabs, true);
    } else if (!deadline_armed(&w->trim)) {
        deadline_arm(&w->trim, w->io.loop, TRIM_MS);
    }
}

/* ------------------------------------------------------------------ the end */

/* Clients in the queue are served one request; whoever is idle goes at once. */
static void drain(struct worker *w)
{
    if (w->draining) {
        return;
    }
    w->draining = true;
    proxy_drain(&w->proxy);
    worker_resume_accepting(w);
    worker_drain_doors(w);
    if (atomic_fetch_add(&w->shop->drained, 1) + 1 == w->shop->worker_count) {
        w->shop->all_drained(w->shop->arg);
    }
}

static void on_poke(struct worker *w)
{
    unsigned requests;

    atomic_store(&w->poked, false);
    requests = atomic_exchange(&w->requests, 0);
    if (requests & WORKER_PREPARE) {
        worker_on_prepare(w);
    }
    if (requests & (WORKER_COMMIT | WORKER_ABANDON)) {
        worker_on_decide(w, requests & WORKER_COMMIT);
    }
    if (requests & WORKER_SHED) {
        (void)worker_shed_for_client(w);
    }
    if (requests & WORKER_ROOM) {
        worker_resume_accepting(w);
    }
    if (requests & (WORKER_DRAIN | WORKER_CUT)) {
        drain(w);
    }
    if (requests & WORKER_CUT) {
        proxy_cut(&w->proxy);
    }
    end_if_empty(w);
}

static void on_mail(void *arg, struct mail *mail)
{
    struct worker *w = arg;

    if (mail == &w->poke) {
        on_poke(w);
    } else {
        struct worker_errand *errand = CONTAINER_OF(mail, struct worker_errand, mail);

        errand->run(errand, &w->proxy);
    }
}

bool worker_send(struct worker *worker, struct worker_errand *errand)
{
    return worker && worker->started && mailbox_offer(worker->mailbox, &errand->mail);
}

void worker_poke(struct worker *worker, unsigned requests)
{
    if (!worker || !worker->started) {
        return;
    }
    atomic_fetch_or(&worker->requests, requests);
    if (!atomic_exchange(&worker->poked, true)) {
        mailbox_send(worker->mailbox, &worker->poke);
    }
}

static void *run(void *arg)
{
    struct worker *w = arg;
    char name[16];

    (void)snprintf(name, sizeof(name), "viaduct-%zu", w->index % 1000);
    thread_begin(name, THREAD_PROMPT);
    if (loop_run(w->io.loop) != 0) {
        log_event(LOG_ERROR, "worker", "polling failed: worker %zu stops", w->index);
    }
    mailbox_close(w->mailbox);
    if (w->auth) {
        auth_desk_end_waits(w->auth); /* errands among them, which go home */
    }
    w->shop->ended(w->shop->arg);
    return NULL;
}

int worker_start(struct worker *worker)
{
    int r = pthread_create(&worker->thread, NULL, run, worker);

    worker->started = r == 0;
    return -r;
}

const struct tally *worker_tally(const struct worker *worker)
{
    return &worker->proxy.tally;
}

/* ------------------------------------------------------------------ building */

static int build_proxy(struct worker *w)
{
    struct proxy *proxy = &w->proxy;
    int r;

    *proxy = (struct proxy){
        .io = &w->io,
        .machine = w->machine,
        .worker = (unsigned)w->index,
        .client_gone = worker_on_client_gone,
        .arg = w,
    };
    proxy_init_lists(proxy);
    proxy->origin = (struct origin_net_options){.io = &w->io, .pool = &proxy->pool};
    r = access_log_init(&proxy->access, w->io.loop, w->shop->writer);
    return r == 0 ? upstream_pool_init(&proxy->pool, &w->io) : r;
}

static int build(struct worker *w)
{
    int r = io_init(&w->io, &w->shop->buffers, &w->shop->fds);

    if (r != 0) {
        return r;
    }
    worker_init_accepting(w);
    deadline_init(&w->trim, on_trim);
    loop_on_turn_end(w->io.loop, on_turn_end, w);
    task_init(&w->settle, on_settle);
    r = mailbox_new(w->io.loop, on_mail, w, &w->mailbox);
    if (r == 0) {
        r = machine_new(w->io.loop, &w->machine);
    }
    if (r == 0) {
        r = build_proxy(w);
    }
    return r;
}

int worker_new(struct workshop *shop, size_t index, struct worker_change *change,
               struct worker **ret)
{
    struct worker *w = mem_zalloc(sizeof(*w));
    int r;

    if (!w) {
        tenure_give(change->tenure);
        mem_free(change);
        return -ENOMEM;
    }
    w->shop = shop;
    w->index = index;
    list_init(&w->doors);
    list_init(&w->new_doors);
    list_init(&w->retired_resolvers);
    *ret = w;
    r = build(w);
    if (r != 0) {
        tenure_give(change->tenure);
        mem_free(change);
        return r;
    }
    r = worker_prepare_change(w, change);
    if (r == 0) {
        worker_commit_change(w);
    }
    return r;
}

void worker_join(struct worker *worker)
{
    if (worker && worker->started) {
        (void)pthread_join(worker->thread, NULL);
        worker->started = false;
        access_log_deinit(&worker->proxy.access);
    }
}

void worker_free(struct worker *worker)
{
    if (!worker) {
        return;
    }
    worker_close_doors(worker);
    worker_abandon_change(worker);
    if (worker->given) {
        tenure_give(worker->given->tenure);
        mem_free(worker->given);
        worker->given = NULL;
    }
    if (worker->proxy.tenure) {
        tenure_give(worker->proxy.tenure);
    }
    if (worker->proxy.pool.io) {
        upstream_pool_deinit(&worker->proxy.pool);
    }
    resolver_free(worker->resolver);
    resolver_free_retired(&worker->retired_resolvers);
    machine_free(worker->machine);
    auth_desk_free(worker->auth);
    if (worker->proxy.access.writer) {
        access_log_deinit(&worker->proxy.access);
    }
    mailbox_free(worker->mailbox);
    roll_deinit(&worker->proxy.roll);
    if (worker->io.loop) {
        io_deinit(&worker->io);
    }
    mem_free(worker);
}
