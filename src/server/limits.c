// SPDX-License-Identifier: MIT
#include "server/limits.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/attr.h"
#include "base/str.h"

uint64_t limits_raise_descriptors(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
        return 1024;
    }
    if (limit.rlim_cur < limit.rlim_max) {
        rlim_t before = limit.rlim_cur;

        limit.rlim_cur = limit.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &limit) != 0) {
            limit.rlim_cur = before;
        }
    }
    return limit.rlim_cur;
}

unsigned limits_cpus(void)
{
    cpu_set_t set;
    int count;

    if (sched_getaffinity(0, sizeof(set), &set) != 0) {
        return (unsigned)MAX(sysconf(_SC_NPROCESSORS_ONLN), 1);
    }
    count = CPU_COUNT(&set);
    return (unsigned)MAX(count, 1);
}

/* The number in a one-line file; UINT64_MAX when there is none ("max", no such file). */
static uint64_t read_number(const char *path)
{
    char line[64];
    uint64_t value = UINT64_MAX;
    FILE *file = fopen(path, "re");

    if (!file) {
        return value;
    }
    if (fgets(line, sizeof(line), file)) {
        line[strcspn(line, "\n")] = '\0';
        if (!str_parse_u64(str_of(line), UINT64_MAX, &value)) {
            value = UINT64_MAX;
        }
    }
    (void)fclose(file);
    return value;
}

/* The least memory.max on the way from our control group (v2) up to the root. */
static uint64_t group_memory(void)
{
    char path[512];
    char group[sizeof(path)] = "";
    uint64_t least = UINT64_MAX;
    FILE *file = fopen("/proc/self/cgroup", "re");

    while (file && fgets(path, sizeof(path), file)) {
        if (strncmp(path, "0::", 3) == 0) {
            path[strcspn(path, "\n")] = '\0';
            (void)snprintf(group, sizeof(group), "%s", path + 3);
        }
    }
    if (file) {
        (void)fclose(file);
    }
    while (group[0] == '/' && group[1] != '\0') {
        if (snprintf(path, sizeof(path), "/sys/fs/cgroup%s/memory.max", group) <
            (int)sizeof(path)) {
            least = MIN(least, read_number(path));
        }
        *strrchr(group, '/') = '\0';
    }
    return least;
}

uint64_t limits_memory(void)
{
    uint64_t pages = (uint64_t)MAX(sysconf(_SC_PHYS_PAGES), 1);
    uint64_t page_bytes = (uint64_t)MAX(sysconf(_SC_PAGESIZE), 1);

    return MIN(pages * page_bytes, group_memory());
}
