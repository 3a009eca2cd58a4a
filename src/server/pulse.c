// SPDX-License-Identifier: MIT
#include "server/pulse.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "log/log.h"
#include "policy/snapshot.h"
#include "proxy/tally.h"
#include "server/server_private.h"

/* What the end takes beside the grace: the log's last lines. */
#define END_MS 5000
/* Until a manager whose queue was full is told again that all is ready. */
#define RETRY_MS 500

/* ------------------------------------------------------------------ what it has to do */

static const char *plural(uint64_t count)
{
    return count == 1 ? "" : "s";
}

/* STATUS=..., with '\n'; nothing where that was told last. */
static void put_status(struct server *s, struct text *out)
{
    struct pulse *p = &s->pulse;
    uint64_t now_ms = loop_now_ms(s->loop);
    uint64_t elapsed_ms = MAX(now_ms - p->told_ms, 1);
    uint64_t clients = (uint64_t)MAX(atomic_load(&s->shop.clients), 0);
    uint64_t served = 0;
    uint64_t tunnels = 0;
    char bytes[PULSE_STATUS_MAX];
    struct text text = TEXT_OVER(bytes);

    for (size_t i = 0; i < s->shop.worker_count; i++) {
        const struct tally *tally = worker_tally(s->shop.workers[i]);

        served += tally_get(&tally->requests);
        tunnels += tally_get(&tally->tunnels);
    }
    text_printf(&text,
                "STATUS=%s%" PRIu64 " connection%s, %" PRIu64 " tunnel%s, %" PRIu64
                " request%s served, %" PRIu64 "/s\n",
                s->phase == SERVER_SERVING ? "" : "Draining: ", clients, plural(clients), tunnels,
                plural(tunnels), served, plural(served), (served - p->served) * 1000 / elapsed_ms);
    p->served = served;
    p->told_ms = now_ms;
    if (strcmp(text_cstr(&text), p->status) != 0) {
        (void)snprintf(p->status, sizeof(p->status), "%s", text_cstr(&text));
        text_put(out, text_str(&text));
    }
}

/* 0, or negative errno of notify_send. */
static int tell(struct server *s, struct text *message)
{
    int r;

    put_status(s, message);
    if (message->len == 0) {
        return 0;
    }
    r = notify_send(&s->pulse.notify, text_cstr(message));
    if (r != 0) {
        s->pulse.status[0] = '\0';
        log_event(LOG_WARNING, "notify", "the service manager cannot be told: %s", strerror(-r));
    }
    return r;
}

/* ------------------------------------------------------------------ rounds */

struct ping {
    struct worker_errand errand;
    struct pulse *pulse; /* borrowed */
};

/* The last one tells the main thread. */
static void answer(struct pulse *p)
{
    if (atomic_fetch_sub(&p->missing, 1) == 1) {
        mailbox_send(p->mailbox, &p->answered);
    }
}

static void on_ping(struct worker_errand *errand, struct proxy *proxy)
{
    (void)proxy;
    answer(CONTAINER_OF(errand, struct ping, errand)->pulse);
}

/* A worker that has ended is well if that is what it was told to do. */
static void ask_all(struct server *s)
{
    struct pulse *p = &s->pulse;

    if (p->asking) {
        return; /* somebody has not answered yet */
    }
    p->asking = true;
    atomic_store(&p->missing, s->shop.worker_count);
    for (size_t i = 0; i < s->shop.worker_count; i++) {
        p->pings[i] = (struct ping){.errand.run = on_ping, .pulse = p};
        if (!worker_send(s->shop.workers[i], &p->pings[i].errand) && s->phase != SERVER_SERVING) {
            answer(p);
        }
    }
}

static void on_answered(void *arg, struct mail *mail)
{
    struct server *s = arg;
    struct pulse *p = &s->pulse;
    char bytes[PULSE_STATUS_MAX + 64];
    struct text message = TEXT_OVER(bytes);

    (void)mail;
    if (!notify_is_on(&p->notify)) {
        return; /* the end: there are no workers any more */
    }
    p->asking = false;
    if (!p->ready && s->phase == SERVER_SERVING) {
        text_puts(&message, "READY=1\n");
    }
    if (p->notify.watchdog_ms > 0) {
        text_puts(&message, "WATCHDOG=1\n");
    }
    if (tell(s, &message) != -EAGAIN) {
        p->ready = true;
    } else if (!p->ready) {
        deadline_arm(&p->tick, s->loop,
                     RETRY_MS); /* it would wait for that until its patience ends */
    }
}

static void on_tick(struct deadline *deadline)
{
    struct server *s = CONTAINER_OF(deadline, struct server, pulse.tick);

    if (s->pulse.notify.watchdog_ms > 0) {
        deadline_arm(deadline, s->loop, MAX(s->pulse.notify.watchdog_ms / 2, 1));
    }
    ask_all(s);
}

void pulse_begin(struct server *s)
{
    struct pulse *p = &s->pulse;

    if (!p->mailbox) {
        return;
    }
    p->pings = mem_zalloc_or_die(s->shop.worker_count * sizeof(struct ping));
    p->told_ms = loop_now_ms(s->loop);
    if (p->notify.watchdog_ms > 0) {
        deadline_arm(&p->tick, s->loop, MAX(p->notify.watchdog_ms / 2, 1));
    }
    ask_all(s);
}

void pulse_stop(struct server *s)
{
    const struct conf *conf = s->snapshot->conf;
    uint64_t wait_ms = conf->server.drain_delay_ms + conf->server.grace_ms + END_MS;
    char bytes[PULSE_STATUS_MAX + 64];
    struct text message = TEXT_OVER(bytes);

    if (s->pulse.mailbox) {
        text_printf(&message, "STOPPING=1\nEXTEND_TIMEOUT_USEC=%" PRIu64 "\n", wait_ms * 1000);
        (void)tell(s, &message);
    }
}

int pulse_init(struct server *s)
{
    struct pulse *p = &s->pulse;
    int r = notify_init(&p->notify);

    deadline_init(&p->tick, on_tick);
    if (r != 0) {
        s->pulse.status[0] = '\0';
        log_event(LOG_WARNING, "notify", "NOTIFY_SOCKET cannot be used: %s", strerror(-r));
    }
    return notify_is_on(&p->notify) ? mailbox_new(s->loop, on_answered, s, &p->mailbox) : 0;
}

void pulse_deinit(struct server *s)
{
    notify_deinit(&s->pulse.notify);
    mailbox_free(s->pulse.mailbox); /* the last answer may be there: nobody is told any more */
    mem_free(s->pulse.pings);
}
