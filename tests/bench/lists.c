// SPDX-License-Identifier: MIT

/*
 * lists [COUNT]: what a list of so many host names (1,000,000) costs viaduct. Makes a list like
 * those that block advertising, reads it as a rule with `hosts FILE` does, and looks names up in an
 * order that no cache likes. Writes one JSON object:
 *
 *   names, file_bytes          the list
 *   load_ms                    processor time of reading it
 *   memory_mib                 growth of resident memory once it is read
 *   peak_mib                   and at most, while it was being read
 *   hit_ns                     a look-up of a listed name
 *   miss_ns, deep_miss_ns      of one that is not listed, with three and with five labels
 *   near_miss_ns               with five labels, below a domain that has listed names below it
 *   memory_ns                  for comparison: one read of memory that waits for the one before
 *
 * Memory is that of /proc/self/status; times are those of the thread's processor.
 */

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "conf/conf.h"
#include "policy/domains.h"

#define NAME_MAX_BYTES 80
#define LOOKUPS 1000000U
#define MIB 1048576.0
#define BELOW_EACH 4 /* listed names that share one domain */

static uint64_t random_state = 0x9e3779b97f4a7c15U;

static uint64_t next_random(void)
{
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return random_state * 0x2545f4914f6cdd1dU;
}

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static uint64_t cpu_ns(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

/* A line of /proc/self/status in bytes: "VmRSS:", "VmHWM:". */
static uint64_t status_bytes(const char *key)
{
    FILE *file = fopen("/proc/self/status", "r");
    char line[256];
    unsigned long long kib = 0;

    if (!file) {
        die("/proc/self/status");
    }
    while (fgets(line, sizeof(line), file)) {
        if (strncmp(line, key, strlen(key)) == 0) {
            kib = strtoull(line + strlen(key), NULL, 10);
        }
    }
    (void)fclose(file);
    return kib * 1024;
}

static void forget_peak(void)
{
    FILE *file = fopen("/proc/self/clear_refs", "w");

    if (!file || fputs("5", file) == EOF || fclose(file) == EOF) {
        die("/proc/self/clear_refs");
    }
}

static const char *const tlds[] = {"com", "net",   "org", "info", "xyz", "top", "de", "ru",
                                   "cn",  "co.uk", "io",  "site", "pl",  "fr",  "br", "online"};

/* The same for the same number: a word of 6 to 13 letters. */
static void put_word(char *dst, uint64_t number)
{
    uint64_t bits = (number + 1) * 0x9e3779b97f4a7c15U;
    unsigned len = 6 + (unsigned)(bits >> 61);

    bits ^= bits >> 29;
    for (unsigned i = 0; i < len; i++) {
        dst[i] = (char)('a' + bits % 26);
        bits = bits / 26 + number * 0x100000001b3U;
    }
    dst[len] = '\0';
}

static void put_domain(char *dst, size_t cap, uint64_t number)
{
    char word[16];

    put_word(word, number);
    (void)snprintf(dst, cap, "%s%u.%s", word, (unsigned)(number % 1000), tlds[number % 16]);
}

/* Half of the names are domains, half stand below some other, several below one. */
static void put_listed(char *dst, size_t cap, uint64_t number)
{
    char domain[NAME_MAX_BYTES / 2];
    char word[16];

    if (number % 2 == 0) {
        put_domain(dst, cap, number);
        return;
    }
    put_domain(domain, sizeof(domain), (number / 2 / BELOW_EACH) * 2 + 1);
    put_word(word, number * 31);
    (void)snprintf(dst, cap, "%.6s.%s", word, domain);
}

static uint64_t write_list(const char *path, uint64_t count)
{
    FILE *file = fopen(path, "w");
    char name[NAME_MAX_BYTES];
    long size;

    if (!file) {
        die(path);
    }
    for (uint64_t i = 0; i < count; i++) {
        put_listed(name, sizeof(name), i);
        (void)fprintf(file, "%s\n", name);
    }
    size = ftell(file);
    if (fclose(file) == EOF) {
        die(path);
    }
    return (uint64_t)size;
}

enum lookup { LISTED, MISSING, MISSING_DEEP, MISSING_NEAR };

static void put_lookup(char *dst, size_t cap, enum lookup lookup, uint64_t count)
{
    char domain[NAME_MAX_BYTES / 2];
    uint64_t number = next_random() % count;

    switch (lookup) {
    case LISTED:
        put_listed(dst, cap, number);
        return;
    case MISSING:
        put_domain(domain, sizeof(domain), number + 2 * count);
        (void)snprintf(dst, cap, "www.%s", domain);
        return;
    case MISSING_DEEP:
        put_domain(domain, sizeof(domain), number + 2 * count);
        (void)snprintf(dst, cap, "a1.edge.cdn.%s", domain);
        return;
    case MISSING_NEAR:
        put_domain(domain, sizeof(domain), (number / 2 / BELOW_EACH) * 2 + 1);
        (void)snprintf(dst, cap, "a1.edge.cdn.%s", domain);
        return;
    }
}

/* The mean of all; the names are made before the clock runs. */
static double measure(const struct domains *domains, enum lookup lookup, uint64_t count)
{
    char(*names)[NAME_MAX_BYTES] = malloc(LOOKUPS * sizeof(*names));
    size_t found = 0;
    uint64_t begin;
    uint64_t end;

    if (!names) {
        die("names");
    }
    for (size_t i = 0; i < LOOKUPS; i++) {
        put_lookup(names[i], sizeof(names[i]), lookup, count);
    }
    begin = cpu_ns();
    for (size_t i = 0; i < LOOKUPS; i++) {
        found += domains_has(domains, str_of(names[i]));
    }
    end = cpu_ns();
    free(names);
    if (found != (lookup == LISTED ? LOOKUPS : 0)) {
        (void)fprintf(stderr, "names: %zu of %u found\n", found, LOOKUPS);
        exit(1);
    }
    return (double)(end - begin) / LOOKUPS;
}

/* A walk through as much memory as a list of a million names takes, in no order. */
static double measure_memory(void)
{
    enum { CELLS = 1 << 22 };
    uint32_t *next = malloc(CELLS * sizeof(*next));
    uint32_t at = 0;
    uint64_t begin;
    uint64_t end;

    if (!next) {
        die("memory");
    }
    for (uint32_t i = 0; i < CELLS; i++) {
        next[i] = i;
    }
    for (uint32_t i = CELLS - 1; i > 0; i--) { /* one cycle (Sattolo) */
        uint32_t other = (uint32_t)(next_random() % i);
        uint32_t held = next[i];

        next[i] = next[other];
        next[other] = held;
    }
    begin = cpu_ns();
    for (uint32_t i = 0; i < LOOKUPS; i++) {
        at = next[at];
    }
    end = cpu_ns();
    free(next);
    return at < CELLS ? (double)(end - begin) / LOOKUPS : 0;
}

int main(int argc, char **argv)
{
    uint64_t count = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000000;
    char path[] = "/tmp/names.XXXXXX";
    int fd = mkstemp(path);
    struct conf_messages messages = {0};
    struct domains *domains = NULL;
    uint64_t file_bytes;
    uint64_t before_bytes;
    uint64_t begin;
    uint64_t load_ns;

    if (fd < 0 || count == 0) {
        die("names");
    }
    file_bytes = write_list(path, count);
    before_bytes = status_bytes("VmRSS:");
    forget_peak();
    begin = cpu_ns();
    if (domains_load(path, &messages, &domains) != 0) {
        die("domains_load");
    }
    load_ns = cpu_ns() - begin;
    (void)printf("{\"names\": %zu, \"file_bytes\": %llu, \"load_ms\": %.1f, "
                 "\"memory_mib\": %.1f, \"peak_mib\": %.1f, ",
                 domains_counts(domains)->names, (unsigned long long)file_bytes,
                 (double)load_ns / 1e6, (double)(status_bytes("VmRSS:") - before_bytes) / MIB,
                 (double)(status_bytes("VmHWM:") - before_bytes) / MIB);
    (void)printf("\"hit_ns\": %.0f, ", measure(domains, LISTED, count));
    (void)printf("\"miss_ns\": %.0f, ", measure(domains, MISSING, count));
    (void)printf("\"deep_miss_ns\": %.0f, ", measure(domains, MISSING_DEEP, count));
    (void)printf("\"near_miss_ns\": %.0f, ", measure(domains, MISSING_NEAR, count));
    (void)printf("\"memory_ns\": %.0f}\n", measure_memory());
    domains_unref(domains);
    conf_messages_deinit(&messages);
    (void)close(fd);
    (void)unlink(path);
    return 0;
}
