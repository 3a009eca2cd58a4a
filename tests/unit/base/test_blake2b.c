// SPDX-License-Identifier: MIT
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/blake2b.h"
#include "base/secret.h"

/* Hash of the bytes 0, 1, 2, ... with a key of the same kind, in parts of part bytes. */
static const char *hash_of(size_t hash_len, size_t key_len, size_t len, size_t part)
{
    static char hex[2 * BLAKE2B_MAX_BYTES + 1];
    uint8_t bytes[256];
    uint8_t out[BLAKE2B_MAX_BYTES];
    struct blake2b hash;

    for (size_t i = 0; i < sizeof(bytes); i++) {
        bytes[i] = (uint8_t)i;
    }
    blake2b_init(&hash, hash_len, bytes, key_len);
    for (size_t at = 0; at < len; at += part) {
        blake2b_add(&hash, bytes + at, len - at < part ? len - at : part);
    }
    blake2b_finish(&hash, out);
    for (size_t i = 0; i < hash_len; i++) {
        (void)snprintf(hex + 2 * i, 3, "%02x", out[i]);
    }
    return hex;
}

/* RFC 7693, appendix A. */
Test(blake2b, hashes_the_example_of_the_rfc)
{
    static const uint8_t expected[64] = {
        0xba, 0x80, 0xa5, 0x3f, 0x98, 0x1c, 0x4d, 0x0d, 0x6a, 0x27, 0x97, 0xb6, 0x9f,
        0x12, 0xf6, 0xe9, 0x4c, 0x21, 0x2f, 0x14, 0x68, 0x5a, 0xc4, 0xb7, 0x4b, 0x12,
        0xbb, 0x6f, 0xdb, 0xff, 0xa2, 0xd1, 0x7d, 0x87, 0xc5, 0x39, 0x2a, 0xab, 0x79,
        0x2d, 0xc2, 0x52, 0xd5, 0xde, 0x45, 0x33, 0xcc, 0x95, 0x18, 0xd3, 0x8a, 0xa8,
        0xdb, 0xf1, 0x92, 0x5a, 0xb9, 0x23, 0x86, 0xed, 0xd4, 0x00, 0x99, 0x23};
    struct blake2b hash;
    uint8_t out[64];

    blake2b_init(&hash, sizeof(out), NULL, 0);
    blake2b_add(&hash, "abc", 3);
    blake2b_finish(&hash, out);
    cr_expect_arr_eq(out, expected, sizeof(out));
}

/* Made by Python's hashlib. */
Test(blake2b, hashes_with_and_without_a_key_around_the_block_size)
{
    cr_expect_str_eq(hash_of(64, 0, 0, 1),
                     "786a02f742015903c6c6fd852552d272912f4740e15847618a86e217f71f5419"
                     "d25e1031afee585313896444934eb04b903a685b1448b755d56f701afe9be2ce");
    cr_expect_str_eq(hash_of(64, 64, 128, 128),
                     "72065ee4dd91c2d8509fa1fc28a37c7fc9fa7d5b3f8ad3d0d7a25626b57b1b44"
                     "788d4caf806290425f9890a3a2a35a905ab4b37acfd0da6e4517b2525c9651e4");
    cr_expect_str_eq(hash_of(64, 64, 129, 129),
                     "64475dfe7600d7171bea0b394e27c9b00d8e74dd1e416a79473682ad3dfdbb70"
                     "6631558055cfc8a40e07bd015a4540dcdea15883cbbf31412df1de1cd4152b91");
    cr_expect_str_eq(hash_of(16, 0, 255, 255), "192657d8c2d07da4ee7beb8c6f9951f4");
}

Test(blake2b, takes_its_input_in_any_parts)
{
    char whole[2 * BLAKE2B_MAX_BYTES + 1];

    for (size_t len = 0; len <= 256; len += 64) {
        (void)strcpy(whole, hash_of(32, 32, len, 256));
        for (size_t part = 1; part < 256; part += 7) {
            cr_expect_str_eq(hash_of(32, 32, len, part), whole);
        }
    }
}

Test(blake2b, copy_goes_on_where_the_original_was)
{
    struct blake2b prepared;
    struct blake2b copy;
    uint8_t first[16];
    uint8_t second[16];

    blake2b_init(&prepared, 16, "key", 3);
    blake2b_add(&prepared, "x", 1);
    copy = prepared;
    blake2b_add(&copy, "y", 1);
    blake2b_finish(&copy, first);
    copy = prepared;
    blake2b_add(&copy, "y", 1);
    blake2b_finish(&copy, second);
    cr_expect_arr_eq(first, second, 16);
    copy = prepared;
    blake2b_add(&copy, "z", 1);
    blake2b_finish(&copy, second);
    cr_expect_arr_neq(first, second, 16);
}

Test(secret, compares_all_bytes)
{
    char a[] = "abcdefgh";
    char b[] = "abcdefgh";

    cr_expect(secret_eq(a, b, 0));
    for (size_t i = 0; i < 8; i++) {
        cr_expect(secret_eq(a, b, 8));
        b[i] ^= 0x40;
        cr_expect_not(secret_eq(a, b, 8));
        cr_expect(secret_eq(a, b, i));
        b[i] ^= 0x40;
    }
}
