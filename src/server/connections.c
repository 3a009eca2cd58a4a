// SPDX-License-Identifier: MIT
#include "server/connections.h"

#include <errno.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "io/io.h"
#include "io/loop.h"
#include "io/mailbox.h"
#include "policy/auth.h"
#include "server/worker.h"

/* Room for the texts of one portion, and the most that one row may need of it. */
#define PORTION_TEXT_BYTES ((size_t)64 << 10)
#define ROW_TEXT_BYTES (PROXY_ID_MAX + 5 * CONNECTIONS_TEXT_MAX + CONNECTIONS_TARGET_MAX)

struct connections {
    const struct workshop *shop;         /* borrowed */
    struct mailbox *mailbox;             /* owned: questions come back to it */
    struct connections_listing *listing; /* NULL: none runs */
};

/* What goes to a worker and comes back, any number of times. */
struct question {
    struct worker_errand errand;
    struct connections *owner;
    size_t worker; /* whose turn it is */
    bool is_away;
    bool is_cancelled;
    void (*answered)(struct question *question);
};

/* Each begins with its question, and is freed by it. */
struct connections_listing {
    struct question question;
    struct connections_query query;
    const struct connections_events *events;
    void *arg;
    bool has_begun;        /* with the worker whose turn it is */
    bool is_done;          /* with that worker */
    struct auth_wait wait; /* of that worker's, for the users file */
    struct proxy *proxy;   /* whose it is; borrowed while it waits */
    size_t count;
    struct text text; /* over memory: what rows view */
    struct connections_row rows[CONNECTIONS_PORTION];
    char memory[PORTION_TEXT_BYTES];
};

struct connections_search {
    struct question question;
    void (*done)(void *arg, bool found);
    void *arg;
    enum census_found found;
    size_t at;
    size_t id_len;
    char id[PROXY_ID_MAX];
};

/* ------------------------------------------------------------------ questions */

/* On the worker's thread, or for want of a worker. */
static void send_back(struct question *q)
{
    mailbox_send(q->owner->mailbox, &q->errand.mail);
}

/* The worker whose turn it is; there may be none, or it has ended. */
static void ask(struct question *q)
{
    const struct workshop *shop = q->owner->shop;

    q->is_away = true;
    if (q->worker >= shop->worker_count || !worker_send(shop->workers[q->worker], &q->errand)) {
        send_back(q);
    }
}

static void on_back(void *arg, struct mail *mail)
{
    struct question *q = CONTAINER_OF(mail, struct question, errand.mail);

    (void)arg;
    q->is_away = false;
    if (q->is_cancelled) {
        mem_free(q);
    } else {
        q->answered(q);
    }
}

static void cancel(struct question *q)
{
    q->is_cancelled = true;
    if (!q->is_away) {
        mem_free(q);
    }
}

int connections_new(struct loop *loop, const struct workshop *shop, struct connections **ret)
{
    struct connections *connections = mem_zalloc(sizeof(*connections));
    int r;

    if (!connections) {
        return -ENOMEM;
    }
    connections->shop = shop;
    r = mailbox_new(loop, on_back, connections, &connections->mailbox);
    if (r != 0) {
        mem_free(connections);
        return r;
    }
    *ret = connections;
    return 0;
}

void connections_free(struct connections *connections)
{
    if (connections) {
        mailbox_free(connections->mailbox);
        mem_free(connections);
    }
}

/* ------------------------------------------------------------------ on the worker's thread */

static struct str keep(struct text *text, struct str s, size_t max)
{
    struct str kept = str_make(text->ptr + text->len, MIN(s.len, max));

    if (s.len > max) {
        text_put(text, str_head(s, max - 3));
        text_puts(text, "...");
    } else {
        text_put(text, s);
    }
    return kept;
}

static bool has_room(const struct connections_listing *l)
{
    return l->count < CONNECTIONS_PORTION && l->text.cap - l->text.len >= ROW_TEXT_BYTES;
}

static void add_row(struct connections_listing *l, const struct census_item *item,
                    struct str would_deny, uint64_t now_ms)
{
    struct text *text = &l->text;

    l->rows[l->count++] = (struct connections_row){
        .kind = item->kind,
        .id = keep(text, item->id, PROXY_ID_MAX),
        .client = item->client,
        .user = keep(text, item->user, CONNECTIONS_TEXT_MAX),
        .listener = keep(text, item->listener, CONNECTIONS_TEXT_MAX),
        .method = keep(text, item->method, CONNECTIONS_TEXT_MAX),
        .target = keep(text, item->target, CONNECTIONS_TARGET_MAX),
        .rule = keep(text, item->rule, CONNECTIONS_TEXT_MAX),
        .upstream = item->upstream,
        .bytes_in = item->bytes_in,
        .bytes_out = item->bytes_out,
        .age_ms = now_ms - item->since_ms,
        .generation = item->generation,
        .would_deny = keep(text, would_deny, CONNECTIONS_TEXT_MAX),
    };
}

static void take(struct connections_listing *l, struct proxy *proxy, const struct census_item *item)
{
    struct str would_deny = STR("");

    if (l->query.would_deny && !census_would_deny(proxy, item, &would_deny)) {
        return;
    }
    add_row(l, item, would_deny, loop_now_ms(proxy->io->loop));
    if (l->query.kill) {
        census_kill(proxy, item);
    }
}

/* As far as one turn goes. True when the worker has no more. */
static bool fill(struct connections_listing *l, struct proxy *proxy)
{
    struct census_item item;

    for (size_t i = 0; i < CONNECTIONS_PORTION && has_room(l); i++) {
        if (!census_next(proxy, &item)) {
            return true;
        }
        take(l, proxy, &item);
    }
    return false;
}

static void go_on(struct connections_listing *l, struct proxy *proxy)
{
    l->is_done = fill(l, proxy);
    send_back(&l->question);
}

static void begin(struct connections_listing *l, struct proxy *proxy)
{
    census_begin(proxy);
    go_on(l, proxy);
}

static void on_users(struct auth_wait *wait)
{
    struct connections_listing *l = CONTAINER_OF(wait, struct connections_listing, wait);

    begin(l, l->proxy);
}

static void run_listing(struct worker_errand *errand, struct proxy *proxy)
{
    struct connections_listing *l =
        CONTAINER_OF(errand, struct connections_listing, question.errand);

    if (l->has_begun) {
        go_on(l, proxy);
        return;
    }
    l->has_begun = true;
    l->wait.ready = on_users;
    l->proxy = proxy;
    if (!l->query.would_deny || !census_must_wait(proxy, &l->wait)) {
        begin(l, proxy);
    }
}

/* ------------------------------------------------------------------ listings */

static void fill_on(struct connections_listing *l)
{
    l->is_done = true; /* unless the worker says otherwise */
    ask(&l->question);
}

void connections_more(struct connections_listing *listing)
{
    listing->count = 0;
    listing->text = TEXT_OVER(listing->memory);
    fill_on(listing);
}

static void end_listing(struct connections_listing *l)
{
    l->question.owner->listing = NULL;
    l->events->end(l->arg);
    mem_free(l);
}

static void on_portion(struct question *q)
{
    struct connections_listing *l = CONTAINER_OF(q, struct connections_listing, question);

    if (l->is_done) {
        q->worker++;
        l->has_begun = false;
    }
    if (q->worker < q->owner->shop->worker_count && has_room(l)) {
        fill_on(l);
    } else if (l->count > 0) {
        l->events->rows(l->arg, l->rows, l->count);
    } else {
        end_listing(l);
    }
}

int connections_list(struct connections *connections, const struct connections_query *query,
                     const struct connections_events *events, void *arg,
                     struct connections_listing **ret)
{
    struct connections_listing *l;

    if (connections->listing) {
        return -EBUSY;
    }
    l = mem_zalloc(sizeof(*l));
    if (!l) {
        return -ENOMEM;
    }
    l->question =
        (struct question){.errand.run = run_listing, .owner = connections, .answered = on_portion};
    l->query = *query;
    l->events = events;
    l->arg = arg;
    connections->listing = l;
    *ret = l;
    connections_more(l);
    return 0;
}

void connections_cancel(struct connections_listing *listing)
{
    listing->question.owner->listing = NULL;
    cancel(&listing->question);
}

/* ------------------------------------------------------------------ one by its id */

static void run_search(struct worker_errand *errand, struct proxy *proxy)
{
    struct connections_search *s = CONTAINER_OF(errand, struct connections_search, question.errand);

    s->found = census_kill_id(proxy, str_make(s->id, s->id_len), &s->at, CONNECTIONS_PORTION);
    send_back(&s->question);
}

static void look_on(struct connections_search *s)
{
    s->found = CENSUS_ABSENT; /* unless the worker says otherwise */
    ask(&s->question);
}

static void on_looked(struct question *q)
{
    struct connections_search *s = CONTAINER_OF(q, struct connections_search, question);

    if (s->found == CENSUS_LOOK_ON) {
        look_on(s);
    } else {
        s->done(s->arg, s->found == CENSUS_FOUND);
        mem_free(s);
    }
}

/* Its number begins every id of a worker; SIZE_MAX: of none. */
static size_t worker_of(struct str id)
{
    uint64_t worker;

    return id.len <= PROXY_ID_MAX && str_has(id, '-') &&
                   str_parse_hex(str_head(id, str_find(id, '-')), UINT32_MAX, &worker)
               ? (size_t)worker
               : SIZE_MAX;
}

int connections_kill(struct connections *connections, struct str id,
                     void (*done)(void *arg, bool found), void *arg,
                     struct connections_search **ret)
{
    struct connections_search *s = mem_zalloc(sizeof(*s));

    if (!s) {
        return -ENOMEM;
    }
    *s = (struct connections_search){
        .question = {.errand.run = run_search,
                     .owner = connections,
                     .worker = worker_of(id),
                     .answered = on_looked},
        .done = done,
        .arg = arg,
        .at = SIZE_MAX,
        .id_len = MIN(id.len, PROXY_ID_MAX),
    };
    memcpy(s->id, id.ptr, s->id_len);
    *ret = s;
    look_on(s);
    return 0;
}

void connections_cancel_kill(struct connections_search *search)
{
    cancel(&search->question);
}
