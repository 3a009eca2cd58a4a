// SPDX-License-Identifier: MIT
#include "policy/snapshot.h"

#include "base/mem.h"
#include "conf/conf.h"
#include "policy/policy.h"

struct snapshot *snapshot_new(struct conf *conf, uint64_t generation)
{
    struct snapshot *snapshot = mem_zalloc(sizeof(*snapshot));

    if (!snapshot) {
        return NULL;
    }
    if (policy_new(conf, &snapshot->policy) != 0) {
        mem_free(snapshot);
        return NULL;
    }
    ref_init(&snapshot->ref);
    snapshot->conf = conf;
    snapshot->generation = generation;
    return snapshot;
}

struct snapshot *snapshot_ref(struct snapshot *snapshot)
{
    ref_take(&snapshot->ref);
    return snapshot;
}

void snapshot_unref(struct snapshot *snapshot)
{
    if (!snapshot || !ref_drop(&snapshot->ref)) {
        return;
    }
    policy_free(snapshot->policy);
    conf_free(snapshot->conf);
    mem_free(snapshot);
}
