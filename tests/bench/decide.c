// SPDX-License-Identifier: MIT

/*
 * decide RULES CLIENT HOST PORT ADDRESS: what one decision costs. Reads the configuration file
 * RULES, and asks for GET over and over: each time for another name below HOST, that is at ADDRESS,
 * from another client in CLIENT's /24. Writes one JSON object:
 *
 *   lines        of [access]
 *   compile_ms   processor time of making a policy of them
 *   request_ns   of a decision before names are resolved
 *   address_ns   of one on an address
 *   request_by, address_by   the rules that decided; "" while it is open
 *
 * Times are those of the thread's processor.
 */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "conf/conf.h"
#include "policy/policy.h"

#define QUESTIONS 1024U
#define ENOUGH_NS 50000000U /* one figure is measured for so long at least */

struct question {
    struct addr client;
    struct host host;
};

static struct question questions[QUESTIONS];

static void die(const char *what)
{
    (void)fprintf(stderr, "decide: %s\n", what);
    exit(1);
}

static uint64_t cpu_ns(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

static struct addr address(const char *text, const char *port)
{
    char buf[80];
    struct addr addr;

    (void)snprintf(buf, sizeof(buf), "%s:%s", text, port);
    if (!addr_parse_ip_port(str_of(buf), &addr)) {
        die(buf);
    }
    return addr;
}

static void make_questions(const char *client, const char *below)
{
    for (unsigned i = 0; i < QUESTIONS; i++) {
        char name[HOST_NAME_MAX_BYTES + 1];

        (void)snprintf(name, sizeof(name), "n%u.%s", i, below);
        questions[i].client = address(client, "50000");
        questions[i].client.bytes[3] = (unsigned char)(i * 7);
        if (host_parse(str_of(name), &questions[i].host) != 0) {
            die(name);
        }
    }
}

/* The mean over all questions, asked again and again. *ret: the last answer. */
static double measure(const struct policy *policy, struct policy_facts facts,
                      struct policy_verdict *ret)
{
    uint64_t begin = cpu_ns();
    uint64_t spent = 0;
    uint64_t asked = 0;

    while (spent < ENOUGH_NS) {
        for (unsigned i = 0; i < QUESTIONS; i++) {
            facts.client = questions[i].client;
            facts.host = &questions[i].host;
            policy_decide(policy, &facts, ret);
        }
        asked += QUESTIONS;
        spent = cpu_ns() - begin;
    }
    return (double)spent / (double)asked;
}

static struct policy *compile(const char *path, struct conf **ret_conf,
                              struct conf_messages *messages)
{
    const struct conf_load_options options = {.path = path};
    struct policy *policy = NULL;
    uint64_t begin;

    if (conf_read(&options, ret_conf, messages) != 0) {
        die("conf_read");
    }
    begin = cpu_ns();
    if (policy_new(*ret_conf, NULL, messages, &policy) != 0) {
        die("policy_new");
    }
    if (messages->error_count > 0) {
        die(messages->items[0].text);
    }
    (void)printf("{\"lines\": %zu, \"compile_ms\": %.2f, ", policy_line_count(policy),
                 (double)(cpu_ns() - begin) / 1e6);
    return policy;
}

int main(int argc, char **argv)
{
    struct conf_messages messages = {0};
    struct policy_verdict verdict = {0};
    struct conf *conf = NULL;
    struct policy *policy;
    struct policy_facts facts = {.method = STR("GET"), .time = {.known = true, .weekday = 3}};

    if (argc != 6) {
        die("RULES CLIENT HOST PORT ADDRESS");
    }
    policy = compile(argv[1], &conf, &messages);
    make_questions(argv[2], argv[3]);
    facts.port = (uint16_t)atoi(argv[4]);
    facts.stage = POLICY_REQUEST;
    (void)printf("\"request_ns\": %.1f, ", measure(policy, facts, &verdict));
    (void)printf("\"request_by\": \"%.*s\", ", STR_ARG(verdict.rule));
    facts.stage = POLICY_ADDRESS;
    facts.address = address(argv[5], argv[4]);
    (void)printf("\"address_ns\": %.1f, ", measure(policy, facts, &verdict));
    (void)printf("\"address_by\": \"%.*s\"}\n", STR_ARG(verdict.rule));
    policy_free(policy);
    conf_free(conf);
    conf_messages_deinit(&messages);
    return 0;
}
