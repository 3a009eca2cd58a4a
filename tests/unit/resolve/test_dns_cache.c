// SPDX-License-Identifier: MIT
#include <criterion/criterion.h>
#include <stdio.h>

#include "../faults.h"
#include "resolve/dns_cache.h"

#define MAX_TTL 3600000
#define NEGATIVE_TTL 5000

static struct dns_cache cache;
static struct dns_cached found[DNS_FAMILIES];

static void setup(void)
{
    cr_assert_eq(dns_cache_init(&cache, 3, MAX_TTL, NEGATIVE_TTL), 0);
}

static void teardown(void)
{
    dns_cache_deinit(&cache);
}

TestSuite(dns_cache, .init = setup, .fini = teardown);

static struct dns_answer one(uint8_t last, uint64_t ttl_ms)
{
    struct dns_answer answer = {.status = RESOLVE_OK, .ttl_ms = ttl_ms, .addr_count = 1};

    answer.addrs[0] = addr_ip4(192, 0, 2, last, 0);
    return answer;
}

static void put(const char *name, uint8_t last, uint64_t ttl_ms, uint64_t now_ms)
{
    struct dns_answer answer = one(last, ttl_ms);

    dns_cache_put(&cache, str_of(name), DNS_A, &answer, now_ms);
}

static unsigned find(const char *name, uint64_t now_ms)
{
    return dns_cache_find(&cache, str_of(name), now_ms, found);
}

Test(dns_cache, keeps_an_answer_for_its_ttl)
{
    put("a.example", 1, 2000, 100);
    cr_assert_eq(find("a.example", 2099), 1U << DNS_A);
    cr_expect_eq(found[DNS_A].status, RESOLVE_OK);
    cr_expect_eq(found[DNS_A].addr_count, 1);
    cr_expect_eq(found[DNS_A].addrs[0].bytes[3], 1);
    cr_expect_eq(find("a.example", 2100), 0);
    cr_expect_eq(dns_cache_count(&cache), 0, "what has expired is freed");
    cr_expect_eq(find("b.example", 100), 0);
}

Test(dns_cache, families_end_each_for_itself)
{
    struct dns_answer aaaa = one(6, 9000);

    aaaa.addrs[0].kind = ADDR_IP6;
    put("a.example", 4, 1000, 0);
    dns_cache_put(&cache, STR("a.example"), DNS_AAAA, &aaaa, 0);
    cr_expect_eq(find("a.example", 999), 1U << DNS_A | 1U << DNS_AAAA);
    cr_expect_eq(find("a.example", 1000), 1U << DNS_AAAA);
    cr_expect_eq(found[DNS_AAAA].addrs[0].kind, ADDR_IP6);
    cr_expect_eq(dns_cache_count(&cache), 1);
    cr_expect_eq(find("a.example", 9000), 0);
}

Test(dns_cache, caps_a_long_ttl)
{
    put("a.example", 1, UINT32_MAX * 1000ULL, 0);
    cr_expect_neq(find("a.example", MAX_TTL - 1), 0);
    cr_expect_eq(find("a.example", MAX_TTL), 0);
}

Test(dns_cache, zero_ttl_is_not_kept_and_ends_the_old_answer)
{
    put("a.example", 1, 0, 0);
    cr_expect_eq(dns_cache_count(&cache), 0);
    put("a.example", 1, 1000, 0);
    put("a.example", 2, 0, 10);
    cr_expect_eq(find("a.example", 11), 0);
    cr_expect_eq(dns_cache_count(&cache), 0);
}

Test(dns_cache, keeps_failures_briefly)
{
    static const enum resolve_status failures[] = {
        RESOLVE_NXDOMAIN, RESOLVE_NODATA, RESOLVE_SERVFAIL, RESOLVE_TIMEOUT, RESOLVE_ERROR};

    for (size_t i = 0; i < ARRAY_LEN(failures); i++) {
        struct dns_answer failed = {.status = failures[i]};

        dns_cache_put(&cache, STR("a.example"), DNS_A, &failed, 0);
        cr_expect_eq(find("a.example", NEGATIVE_TTL - 1), 1U << DNS_A);
        cr_expect_eq(found[DNS_A].status, failures[i]);
        cr_expect_eq(found[DNS_A].addr_count, 0);
        cr_expect_eq(find("a.example", NEGATIVE_TTL), 0);
    }
}

Test(dns_cache, newer_answer_replaces_the_older)
{
    struct dns_answer failed = {.status = RESOLVE_SERVFAIL};

    put("a.example", 1, 9000, 0);
    put("a.example", 2, 9000, 1);
    cr_assert_neq(find("a.example", 2), 0);
    cr_expect_eq(found[DNS_A].addrs[0].bytes[3], 2);
    dns_cache_put(&cache, STR("a.example"), DNS_A, &failed, 3);
    cr_assert_neq(find("a.example", 4), 0);
    cr_expect_eq(found[DNS_A].status, RESOLVE_SERVFAIL);
}

Test(dns_cache, name_longest_unused_goes_first)
{
    put("a.example", 1, 9000, 0);
    put("b.example", 2, 9000, 0);
    put("c.example", 3, 9000, 0);
    cr_assert_neq(find("a.example", 1), 0);
    put("d.example", 4, 9000, 1);
    cr_expect_eq(dns_cache_count(&cache), 3);
    cr_expect_eq(find("b.example", 1), 0);
    cr_expect_neq(find("a.example", 1), 0);
    cr_expect_neq(find("c.example", 1), 0);
    cr_expect_neq(find("d.example", 1), 0);
}

Test(dns_cache, holds_no_more_than_its_entries)
{
    char name[32];

    for (int i = 0; i < 1000; i++) {
        (void)snprintf(name, sizeof(name), "n%d.example", i);
        put(name, (uint8_t)i, 9000, 0);
    }
    cr_expect_eq(dns_cache_count(&cache), 3);
    cr_expect_neq(find("n999.example", 1), 0);
    cr_expect_eq(find("n996.example", 1), 0);
}

Test(dns_cache, without_entries_it_is_off)
{
    struct dns_cache off;
    struct dns_answer answer = one(1, 9000);
    struct dns_answer failed = {.status = RESOLVE_NXDOMAIN};

    cr_assert_eq(dns_cache_init(&off, 0, MAX_TTL, NEGATIVE_TTL), 0);
    dns_cache_put(&off, STR("a.example"), DNS_A, &answer, 0);
    dns_cache_put(&off, STR("b.example"), DNS_A, &failed, 0);
    cr_expect_eq(dns_cache_count(&off), 0);
    dns_cache_deinit(&off);
}

Test(dns_cache, without_negative_ttl_failures_are_not_kept)
{
    struct dns_cache none;
    struct dns_answer failed = {.status = RESOLVE_NXDOMAIN};

    cr_assert_eq(dns_cache_init(&none, 3, MAX_TTL, 0), 0);
    dns_cache_put(&none, STR("b.example"), DNS_A, &failed, 0);
    cr_expect_eq(dns_cache_count(&none), 0);
    dns_cache_deinit(&none);
}

#ifdef MEM_FAULTS
Test(dns_cache, nothing_half_is_kept_when_memory_is_out)
{
    for (uint64_t n = 1; n <= 2; n++) {
        mem_fail(n, n);
        put("a.example", 1, 60000, 0);
        cr_expect_eq(mem_failed(), 1);
        cr_expect_eq(dns_cache_count(&cache), 0);
    }
    mem_fail(0, 0);
    put("a.example", 1, 60000, 0);
    cr_expect_eq(dns_cache_count(&cache), 1);
}
#endif
