// SPDX-License-Identifier: MIT
#include <criterion/criterion.h>

#include "conf/conf.h"
#include "policy/snapshot.h"

/* What is not freed here, or freed twice, the sanitizers tell. */
Test(snapshot, lives_until_the_last_reference_goes)
{
    struct conf_load_options options = {.path = "/dev/null"};
    struct conf_messages messages = {0};
    struct conf *conf = NULL;
    struct snapshot *snapshot;

    cr_assert_eq(conf_load(&options, &conf, &messages), 0);
    conf_messages_deinit(&messages);
    snapshot = snapshot_new(conf, 7);
    cr_assert(snapshot);
    cr_expect_eq(snapshot_ref(snapshot), snapshot);
    snapshot_unref(snapshot);
    cr_expect_eq(snapshot->generation, 7);
    cr_expect_eq(snapshot->conf, conf);
    cr_expect(snapshot->policy != NULL);
    snapshot_unref(snapshot);
    snapshot_unref(NULL);
}
