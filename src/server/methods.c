// SPDX-License-Identifier: MIT
#include "server/methods.h"

#include <stdbool.h>

#include "conf/conf.h"
#include "http/h1_parse.h"
#include "policy/policy.h"

static void check(void *arg, struct str method, struct str rule, struct conf_origin origin)
{
    struct conf_messages *messages = arg;

    if (!h1_parser_knows_method(method)) {
        conf_messages_add(
            messages, true, origin,
            "access.%.*s: no request comes this far with method %.*s, for viaduct does "
            "not know it (501); is it misspelt?",
            STR_ARG(rule), STR_ARG(method));
    }
}

void methods_check(const struct policy *policy, struct conf_messages *messages)
{
    policy_each_method(policy, check, messages);
    conf_messages_sort(messages);
}
