// SPDX-License-Identifier: MIT
#include "server/admin_record.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/text.h"
#include "log/log.h"
#include "server/admin_address.h"
#include "server/sockets.h"

#define LINE_MAX_BYTES 256
#define NAME "/admin.address"

static bool set_path(char path[ADMIN_RECORD_PATH_MAX], struct str dir)
{
    struct text text = text_over(path, ADMIN_RECORD_PATH_MAX);

    text_put(&text, dir);
    text_puts(&text, NAME);
    (void)text_cstr(&text);
    return !text.full && text.len < ADMIN_RECORD_PATH_MAX;
}

/* ------------------------------------------------------------------ the daemon's side */

static void complain(const struct admin_record *record, int error)
{
    log_event(LOG_WARNING, "admin",
              "%s: %s; commands look for the admin socket where the configuration says",
              record->path, strerror(error));
}

/* Locks of an open file (fcntl_locking(2)) end with it, however its process ends. type: F_RDLCK or
 * F_WRLCK. */
static struct flock lock_of(short type)
{
    return (struct flock){.l_type = type, .l_whence = SEEK_SET};
}

static int make(const char *path)
{
    struct flock lock = lock_of(F_WRLCK);
    int error;
    int fd;

    (void)unlink(path); /* of a daemon that was killed */
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        return -errno;
    }
    if (fcntl(fd, F_OFD_SETLK, &lock) != 0) {
        error = -errno;
        (void)unlink(path);
        (void)close(fd);
        return error;
    }
    (void)fchmod(fd, 0644); /* whatever the umask is: it is no secret */
    return fd;
}

void admin_record_open(struct admin_record *record)
{
    struct str dir;

    if (!admin_runtime_dir(&dir) || !set_path(record->path, dir)) {
        return;
    }
    record->fd = make(record->path);
    if (record->fd < 0) {
        complain(record, -record->fd);
        record->fd = -1;
    }
}

/* In one piece, then cut to its length: who reads meanwhile takes the first line. */
void admin_record_write(const struct admin_record *record, const struct socket_set *set)
{
    char line[LINE_MAX_BYTES] = "off";
    size_t len;

    if (record->fd < 0) {
        return;
    }
    if (set) {
        socket_set_name(set, line, sizeof(line) - 1);
    }
    len = strlen(line);
    line[len++] = '\n';
    if (pwrite(record->fd, line, len, 0) != (ssize_t)len ||
        ftruncate(record->fd, (off_t)len) != 0) {
        complain(record, errno);
    }
}

void admin_record_close(struct admin_record *record)
{
    struct stat ours;
    struct stat there;
    int emptied;

    if (record->fd < 0) {
        return;
    }
    emptied = ftruncate(record->fd, 0); /* it may be root's, so that it cannot be removed */
    (void)emptied;                      /* what it names then has ended, as whoever asks sees */
    if (fstat(record->fd, &ours) == 0 && stat(record->path, &there) == 0 &&
        ours.st_dev == there.st_dev && ours.st_ino == there.st_ino) {
        (void)unlink(record->path);
    }
    (void)close(record->fd);
    record->fd = -1;
}

/* ------------------------------------------------------------------ a command's side */

/* The daemon that wrote it lives. */
static bool is_held(int fd)
{
    struct flock lock = lock_of(F_RDLCK);

    return fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

enum admin_recorded admin_record_read(struct str dir, struct admin_address *ret,
                                      char ret_path[ADMIN_RECORD_PATH_MAX])
{
    enum admin_recorded recorded = ADMIN_RECORD_NONE;
    struct file_stamp stamp;
    char bytes[LINE_MAX_BYTES];
    struct str text;
    struct str line;
    ssize_t len;
    int fd;

    if (!set_path(ret_path, dir) || file_open(ret_path, &stamp, &fd) != 0) {
        return ADMIN_RECORD_NONE;
    }
    len = is_held(fd) ? read(fd, bytes, sizeof(bytes)) : 0;
    text = str_make(bytes, (size_t)MAX(len, 0));
    line = str_head(text, str_find(text, '\n'));
    if (str_eq(line, STR("off"))) {
        recorded = ADMIN_RECORD_OFF;
    } else if (line.len < text.len && admin_address_parse(line, ret)) {
        recorded = ADMIN_RECORD_AT;
    }
    (void)close(fd);
    return recorded;
}
