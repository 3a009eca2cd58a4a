// SPDX-License-Identifier: MIT
#include "resolve/dns_cares.h"

#include <ares.h>
#include <errno.h>
#include <string.h>

#include "base/err.h"
#include "base/list.h"
#include "base/mem.h"
#include "io/loop.h"
#include "log/log.h"
#include "resolve/dns_channel.h"
#include "resolve/dns_reply.h"
#include "resolve/resolv_conf.h"
#include "resolve/watched_file.h"

#define TICK_MS 50 /* how often the library may look at its clock while questions are open */

enum question_state {
    QUESTION_OPEN,
    QUESTION_FINISHED,   /* has its answer; the library may still work on it */
    QUESTION_HANDED_OUT, /* only the library has it */
};

struct dns_question {
    enum question_state state;
    struct list node;            /* in its channel's questions, then in dns_cares.finished */
    struct dns_channel *channel; /* NULL once the library has done with it */
    enum dns_family family;
    dns_answer_fn *answer; /* NULL: dropped */
    void *arg;
    struct dns_answer result;
    char name[];
};

struct dns_cares {
    struct loop *loop;
    struct list channels;
    struct dns_channel
        *current; /* new questions go here; those that are neither of these two end */
    /* Version 1.18 asks the next server after SERVFAIL or REFUSED, as it should, but when all have
     * said so it tells the same as when none could be reached. Such a question is asked once more
     * here, where the first server's word counts. With a single server the same as current. */
    struct dns_channel *last_word;
    size_t in_flight;
    struct list finished; /* questions whose answer is not handed out yet */
    struct task hand_out;
    struct deadline tick;
    uint64_t timeout_ms;
    bool follows; /* resolv.conf */
    struct watched_file file;
    struct resolv_conf resolv_conf;
};

const char *dns_cares_version(void)
{
    return ares_version(NULL);
}

/* ------------------------------------------------------------------ channels */

static void on_processed(struct dns_channel *channel);

static int add_channel(struct dns_cares *dns, const struct addr *servers, size_t count,
                       bool asks_next, struct dns_channel **ret)
{
    const struct dns_channel_options options = {
        .loop = dns->loop,
        .servers = servers,
        .server_count = count,
        .timeout_ms = dns->timeout_ms,
        .asks_next = asks_next,
        .processed = on_processed,
    };
    int r = dns_channel_new(&options, ret);

    if (r == 0) {
        (*ret)->dns = dns;
        list_push_back(&dns->channels, &(*ret)->node);
    }
    return r;
}

/* All or nothing. The channels that were in use until now are left to reap_channels. */
static int use_servers(struct dns_cares *dns, const struct addr *servers, size_t count)
{
    struct dns_channel *current = NULL;
    struct dns_channel *last_word = NULL;
    int r = add_channel(dns, servers, count, count > 1, &current);

    if (r < 0) {
        return r;
    }
    last_word = current;
    if (count > 1) {
        r = add_channel(dns, servers, count, false, &last_word);
    }
    if (r < 0) {
        dns_channel_free(current);
        return r;
    }
    dns->current = current;
    dns->last_word = last_word;
    return 0;
}

static void reap_channels(struct dns_cares *dns)
{
    LIST_FOR_EACH (node, tmp, &dns->channels) {
        struct dns_channel *channel = LIST_ITEM(node, struct dns_channel, node);

        if (channel != dns->current && channel != dns->last_word && channel->in_flight == 0) {
            dns_channel_free(channel);
        }
    }
}

/* ------------------------------------------------------------------ answers */

static void on_answer(void *arg, int status, int timeouts, unsigned char *reply, int len);

static void send_question(struct dns_question *question, struct dns_channel *channel)
{
    question->channel = channel;
    channel->in_flight++;
    channel->awaited++;
    list_push_back(&channel->questions, &question->node);
    dns_channel_ask(channel, question->name, question->family, on_answer, question);
}

/* It leaves its channel's questions. */
static void take_out(struct dns_question *question, struct dns_channel *channel)
{
    list_remove(&question->node);
    channel->awaited -= question->answer ? 1 : 0;
}

static void finish(struct dns_question *question, struct dns_channel *channel, int status)
{
    struct dns_cares *dns = channel->dns;
    struct dns_answer *result = &question->result;

    result->status = dns_reply_status(status);
    if (result->status == RESOLVE_OK && result->addr_count == 0) {
        result->status = RESOLVE_NODATA;
    }
    question->state = QUESTION_FINISHED;
    take_out(question, channel);
    list_push_back(&dns->finished, &question->node);
    loop_defer(dns->loop, &dns->hand_out);
}

/* No server could be reached. The questions that share the socket fail too: the kernel tells of a
 * closed port once, to whoever uses the socket next, and 1.18 lets the others wait for their
 * timeouts. */
static void finish_all(struct dns_channel *channel)
{
    while (!list_empty(&channel->questions)) {
        finish(LIST_FIRST(&channel->questions, struct dns_question, node), channel,
               ARES_ECONNREFUSED);
    }
}

static void unreachable(struct dns_channel *channel)
{
    struct dns_cares *dns = channel->dns;

    finish_all(channel);
    if (channel == dns->last_word) {
        finish_all(dns->current);
    }
}

/* An answer to an open question. */
static void on_open_answer(struct dns_question *question, struct dns_channel *channel, int status,
                           const unsigned char *reply, int len)
{
    struct dns_cares *dns = channel->dns;

    if (status == ARES_ECONNREFUSED && channel->asks_next && question->answer) {
        take_out(question, channel);
        send_question(question, dns->last_word);
        return;
    }
    if (status == ARES_SUCCESS) {
        status = dns_reply_read(question->family, reply, len, &question->result);
    }
    dns->in_flight--;
    finish(question, channel, status);
    if (status == ARES_ECONNREFUSED) {
        unreachable(channel);
    }
}

/* From inside the library: the answer is only written down. */
static void on_answer(void *arg, int status, int timeouts, unsigned char *reply, int len)
{
    struct dns_question *question = arg;
    struct dns_channel *channel = question->channel;

    (void)timeouts;
    channel->in_flight--;
    question->channel = NULL;
    if (question->state == QUESTION_OPEN && status != ARES_EDESTRUCTION) {
        on_open_answer(question, channel, status, reply, len);
        return;
    }
    channel->dns->in_flight--;
    if (question->state == QUESTION_OPEN) {
        take_out(question, channel);
    }
    if (question->state != QUESTION_FINISHED) {
        mem_free(question);
    }
}

static void arm_tick(struct dns_cares *dns)
{
    if (dns->in_flight > 0 && !deadline_armed(&dns->tick)) {
        deadline_arm(&dns->tick, dns->loop, TICK_MS);
    }
}

/* The question is gone, or the library's, before anybody hears of it. */
static void hand_out(struct dns_question *question)
{
    struct dns_answer result = question->result;
    dns_answer_fn *answer = question->answer;
    void *arg = question->arg;

    list_remove(&question->node);
    if (question->channel) {
        question->state = QUESTION_HANDED_OUT;
    } else {
        mem_free(question);
    }
    if (answer) {
        answer(arg, &result);
    }
}

/* Where nobody waits for an answer the library tries no more: left alone, 1.34 goes on for many
 * times the time it was given, and has a TCP connection when all is over. */
static void calm_channels(struct dns_cares *dns)
{
    LIST_FOR_EACH (node, tmp, &dns->channels) {
        struct dns_channel *channel = LIST_ITEM(node, struct dns_channel, node);

        if (channel->awaited == 0 && channel->in_flight > 0) {
            dns_channel_renew(channel);
        }
    }
}

/* Never on the library's stack, so that callbacks may ask and old channels may go. */
static void hand_out_answers(struct dns_cares *dns)
{
    while (!list_empty(&dns->finished)) {
        hand_out(LIST_FIRST(&dns->finished, struct dns_question, node));
    }
    calm_channels(dns);
    reap_channels(dns);
    arm_tick(dns);
}

static void on_hand_out(struct task *task)
{
    hand_out_answers(CONTAINER_OF(task, struct dns_cares, hand_out));
}

static void on_processed(struct dns_channel *channel)
{
    hand_out_answers(channel->dns);
}

static void on_tick(struct deadline *deadline)
{
    struct dns_cares *dns = CONTAINER_OF(deadline, struct dns_cares, tick);

    LIST_FOR_EACH (node, tmp, &dns->channels) {
        dns_channel_tick(LIST_ITEM(node, struct dns_channel, node));
    }
    hand_out_answers(dns);
}

/* ------------------------------------------------------------------ resolv.conf */

/* When the new servers cannot be used the old ones stay. */
static void follow_resolv_conf(struct dns_cares *dns)
{
    struct resolv_conf conf;
    int r;

    if (!dns->follows || !watched_file_changed(&dns->file, loop_now_ms(dns->loop))) {
        return;
    }
    r = resolv_conf_read(&dns->file, &conf);
    if (r == 0 && resolv_conf_eq(&conf, &dns->resolv_conf)) {
        return;
    }
    if (r == 0) {
        r = use_servers(dns, conf.servers, conf.count);
    }
    if (r < 0) {
        watched_file_failed(&dns->file);
        log_event(LOG_DEBUG, "dns", "%s: errno %d, the old servers stay", dns->file.path, -r);
        return;
    }
    log_event(LOG_DEBUG, "dns", "%s: %zu servers", dns->file.path, conf.count);
    dns->resolv_conf = conf;
    loop_defer(dns->loop, &dns->hand_out); /* reaps the old ones if they are idle */
}

static int first_channel(struct dns_cares *dns, const struct dns_cares_options *options)
{
    if (options->server_count > 0) {
        return use_servers(dns, options->servers, options->server_count);
    }
    dns->follows = true;
    watched_file_init(&dns->file, options->resolv_conf_path);
    (void)watched_file_changed(&dns->file, loop_now_ms(dns->loop));
    if (resolv_conf_read(&dns->file, &dns->resolv_conf) < 0) {
        watched_file_failed(&dns->file);
        resolv_conf_parse(STR(""), &dns->resolv_conf);
    }
    return use_servers(dns, dns->resolv_conf.servers, dns->resolv_conf.count);
}

/* ------------------------------------------------------------------ interface */

int dns_cares_new(struct loop *loop, const struct dns_cares_options *options,
                  struct dns_cares **ret)
{
    struct dns_cares *dns = mem_zalloc(sizeof(*dns));
    int r;

    if (!dns) {
        return -ENOMEM;
    }
    dns->loop = loop;
    dns->timeout_ms = options->timeout_ms;
    list_init(&dns->channels);
    list_init(&dns->finished);
    task_init(&dns->hand_out, on_hand_out);
    deadline_init(&dns->tick, on_tick);
    r = first_channel(dns, options);
    if (r < 0) {
        mem_free(dns);
        return r;
    }
    *ret = dns;
    return 0;
}

void dns_cares_free(struct dns_cares *dns)
{
    if (!dns) {
        return;
    }
    while (!list_empty(&dns->channels)) {
        dns_channel_free(LIST_FIRST(&dns->channels, struct dns_channel, node));
    }
    while (!list_empty(&dns->finished)) {
        struct dns_question *question = LIST_FIRST(&dns->finished, struct dns_question, node);

        list_remove(&question->node);
        mem_free(question);
    }
    ASSERT(dns->in_flight == 0);
    task_cancel(&dns->hand_out);
    deadline_disarm(&dns->tick);
    mem_free(dns);
}

int dns_cares_ask(struct dns_cares *dns, const char *name, enum dns_family family,
                  dns_answer_fn *answer, void *arg, struct dns_question **ret)
{
    size_t size = strlen(name) + 1;
    struct dns_question *question;

    follow_resolv_conf(dns);
    if (dns->in_flight >= DNS_MAX_IN_FLIGHT) {
        return -ENOBUFS;
    }
    question = mem_zalloc(sizeof(*question) + size);
    if (!question) {
        return -ENOMEM;
    }
    list_init(&question->node);
    question->family = family;
    question->answer = answer;
    question->arg = arg;
    memcpy(question->name, name, size);
    dns->in_flight++;
    *ret = question; /* before the call: it may end the question at once, but never hands it out */
    send_question(question, dns->current);
    arm_tick(dns);
    return 0;
}

void dns_question_drop(struct dns_question *question)
{
    struct dns_channel *channel = question->channel;

    if (question->state == QUESTION_OPEN && --channel->awaited == 0) {
        loop_defer(channel->dns->loop, &channel->dns->hand_out);
    }
    question->answer = NULL;
}
