// SPDX-License-Identifier: MIT
/*
 * What is in force: how a configuration becomes what the threads go by, at
 * the start as at each reload, and how they give back what they went by.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/addr.h"
#include "base/aside.h"
#include "base/mem.h"
#include "conf/conf.h"
#include "io/mailbox.h"
#include "log/log.h"
#include "log/record.h"
#include "log/writer.h"
#include "policy/auth.h"
#include "policy/snapshot.h"
#include "proxy/tenure.h"
#include "server/crowd.h"
#include "server/limits.h"
#include "server/server_private.h"
#include "server/sockets.h"
#include "server/worker.h"

#define ADMIN_DESCRIPTORS 96 /* its connections, loop, and what explain asks with */
/* Longer than the costliest password that is taken needs (10 s), and than most clients wait. */
#define AUTH_WAIT_MS 30000

int server_settle(const struct server *s, struct snapshot *snapshot, const struct socket_plan *plan)
{
    char name[300];
    size_t own_count;
    struct addr *own = sockets_own(plan, &own_count);

    if (!own) {
        return -ENOMEM;
    }
    (void)snprintf(name, sizeof(name), "%.255s-%08x", snapshot->conf->server.name, s->via_number);
    return snapshot_settle(snapshot, name, own, own_count,
                           s->snapshot == snapshot ? NULL : s->snapshot, s->shop.worker_count);
}

/* ------------------------------------------------------------------ what all workers share */

/* Descriptors that no connection uses: log, loops, DNS, files read at run time. */
static uint64_t reserve_of(const struct server *s)
{
    uint64_t reserve = 32 + 16 * (uint64_t)s->shop.worker_count;

    for (size_t i = 0; i < s->sockets.door_count; i++) {
        reserve += s->sockets.doors[i].set->fd_count;
    }
    return reserve + (s->sockets.admin ? ADMIN_DESCRIPTORS : 0);
}

static void set_budgets(struct server *s, const struct conf *conf)
{
    uint64_t reserve = reserve_of(s);
    uint64_t usable = s->descriptors > reserve + 8 ? s->descriptors - reserve : 8;
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
                  (unsigned long long)clients, (unsigned long long)s->descriptors,
                  (unsigned long long)usable);
    }
}

/* Threads that check passwords get half the processors at most. */
static struct auth_options auth_options(const struct conf *conf)
{
    return (struct auth_options){
        .cache_ms = conf->auth.cache_ms,
        .failures = conf->auth.failures.count,
        .failures_ms = conf->auth.failures.per_ms,
        .threads = MAX(limits_cpus() / 2, 1),
        .wait_ms = AUTH_WAIT_MS,
    };
}

int server_need_auth(struct server *s, const struct snapshot *snapshot)
{
    const struct auth_options options = auth_options(snapshot->conf);

    return snapshot->users && !s->auth ? auth_new(&options, snapshot->users, &s->auth) : 0;
}

void server_apply(struct server *s, const struct snapshot *snapshot)
{
    const struct conf *conf = snapshot->conf;
    const struct auth_options options = auth_options(conf);
    bool json = conf->log.access == LOG_FORMAT_JSON;

    set_budgets(s, conf);
    crowd_set_limit(s->shop.crowd, conf->server.max_connections_per_client);
    log_writer_set_json(s->writer, json);
    log_start(s->writer, (enum log_level)conf->log.level, json);
    if (snapshot->users) { /* else no rule asks for one; what there is may be needed again */
        auth_renew(s->auth, &options, snapshot->users);
    }
}

/* ------------------------------------------------------------------ what each worker has */

/* A tenure as it comes back. */
struct spent {
    struct tenure tenure;
    struct aside_task task;
};

/* On a worker's thread, which must not free: a last reference may cost time. */
static void on_tenure_over(void *arg, struct tenure *tenure)
{
    struct server *s = arg;

    mailbox_send(s->tenures, &tenure->mail);
}

static void free_spent(struct aside_task *task)
{
    struct spent *spent = CONTAINER_OF(task, struct spent, task);

    snapshot_unref(spent->tenure.snapshot);
    mem_free(spent);
}

static void on_tenure(void *arg, struct mail *mail)
{
    const struct server *s = arg;
    struct spent *spent = CONTAINER_OF(mail, struct spent, tenure.mail);

    spent->task.run = free_spent;
    aside_do(s->aside, &spent->task);
}

int server_init_tenures(struct server *s)
{
    return mailbox_new(s->loop, on_tenure, s, &s->tenures);
}

struct worker_change *server_new_change(struct server *s, struct snapshot *snapshot,
                                        const struct socket_door *doors, size_t door_count)
{
    struct worker_change *change = mem_zalloc(sizeof(*change) + door_count * sizeof(*doors));
    struct spent *spent = mem_zalloc(sizeof(*spent));

    if (!change || !spent) {
        mem_free(change);
        mem_free(spent);
        return NULL;
    }
    spent->tenure =
        (struct tenure){.snapshot = snapshot_ref(snapshot), .over = on_tenure_over, .arg = s};
    change->tenure = tenure_take(&spent->tenure);
    change->auth = s->auth;
    change->door_count = door_count;
    memcpy(change->doors, doors, door_count * sizeof(*doors));
    return change;
}

void server_drop_change(struct worker_change *change)
{
    tenure_give(change->tenure);
    mem_free(change);
}
