// SPDX-License-Identifier: MIT

/*
 * A main without libFuzzer: runs a target once on each file it is given. What `run --replay` links,
 * so that the corpora need no clang.
 */

#include <string.h>

#include "fuzz.h"

static void replay(const char *path)
{
    struct fuzz_bytes bytes = {0};
    FILE *file = fopen(path, "rb");
    char buf[4096];
    uint8_t *copy;
    size_t got;

    CHECK(file, "cannot open %s", path);
    while ((got = fread(buf, 1, sizeof(buf), file)) > 0) {
        fuzz_bytes_put(&bytes, str_make(buf, got));
    }
    CHECK(!ferror(file), "cannot read %s", path);
    (void)fclose(file);
    copy = malloc(bytes.len ? bytes.len : 1); /* of the exact size, for the sanitizer */
    CHECK(copy, "out of memory");
    if (bytes.len > 0) {
        memcpy(copy, bytes.ptr, bytes.len);
    }
    (void)LLVMFuzzerTestOneInput(copy, bytes.len);
    free(copy);
    fuzz_bytes_free(&bytes);
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (getenv("FUZZ_VERBOSE")) {
            fprintf(stderr, "%s\n", argv[i]);
        }
        replay(argv[i]);
    }
    return 0;
}
