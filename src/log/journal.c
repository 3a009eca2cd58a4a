// SPDX-License-Identifier: MIT
#include "log/journal.h"

#include <stdint.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/err.h"

bool journal_has(int fd)
{
    const char *text = getenv("JOURNAL_STREAM");
    struct str inode_text = str_of(text);
    struct str device_text = str_cut(&inode_text, ':');
    struct stat found;
    uint64_t device;
    uint64_t inode;

    return str_parse_u64(device_text, UINT64_MAX, &device) &&
           str_parse_u64(inode_text, UINT64_MAX, &inode) && fstat(fd, &found) == 0 &&
           found.st_dev == device && found.st_ino == inode;
}

struct str journal_prefix(enum log_level level)
{
    switch (level) {
    case LOG_ERROR:
        return STR("<3>");
    case LOG_WARNING:
        return STR("<4>");
    case LOG_NOTICE:
        return STR("<5>");
    case LOG_INFO:
        return STR("<6>");
    case LOG_DEBUG:
        return STR("<7>");
    }
    ASSERT(false);
    return STR("");
}

struct str journal_prefix_on(int fd, enum log_level level)
{
    return journal_has(fd) ? journal_prefix(level) : STR("");
}
