#include "log.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "paths.h"

/* A line holds four values, each byte of which may need a backslash. */
enum { VALUE_LIMIT = 700, LINE_SIZE = 256 + 4 * 2 * VALUE_LIMIT };
/* Above the first limit the older half goes; where that cannot be done, the second one ends the log. */
enum { FILE_LIMIT = 1 << 20, LAST_LIMIT = 2 * FILE_LIMIT, KEPT = FILE_LIMIT / 2 };
enum { PART_SIZE = 16 * 1024, NAME_SIZE = 128 };

/* Appends `,"key":"value"` with JSON's escapes; long values are cut, so that LINE_SIZE always suffices. */
static size_t put(char line[LINE_SIZE], size_t at, const char *key, const char *value) {
    at += (size_t)snprintf(line + at, LINE_SIZE - at, ",\"%s\":\"", key);
    for (size_t i = 0; value && value[i] && i < VALUE_LIMIT; i++) {
        unsigned char byte = (unsigned char)value[i];
        if (byte < 0x20 || byte >= 0x7f) { /* also what is not ASCII: a cut must not split a character */
            line[at++] = '?';
            continue;
        }
        if (byte == '"' || byte == '\\') {
            line[at++] = '\\';
        }
        line[at++] = (char)byte;
    }
    line[at++] = '"';
    return at;
}

/* Anybody may make files in that directory: a link, or a file of another user or with another name, is not the log. */
static int open_log(const char *path, off_t *size) {
    int fd = open(path, O_RDWR | O_APPEND | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0600);
    struct stat st;
    if (fd < 0) {
        return -1;
    }
    bool ours = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == getuid() && st.st_nlink == 1;
    if (!ours || st.st_size > LAST_LIMIT) {
        close(fd);
        return -1;
    }
    *size = st.st_size;
    return fd;
}

/* The newest whole lines. */
static bool copy_tail(int log, off_t at, int fresh) {
    char part[PART_SIZE];
    bool started = false;
    for (ssize_t length; (length = pread(log, part, sizeof part, at)) > 0; at += length) {
        const char *from = started ? part : memchr(part, '\n', (size_t)length);
        if (!from) {
            continue;
        }
        from += !started;
        started = true;
        size_t left = (size_t)(part + length - from);
        if (write(fresh, from, left) != (ssize_t)left) {
            return false;
        }
    }
    return true;
}

/* A line that another launch appends to the old file meanwhile is lost; two never do this at once. */
static void drop_older_half(int log, off_t size, const char *path) {
    char fresh[NAME_SIZE];
    struct stat st;
    if (flock(log, LOCK_EX | LOCK_NB) != 0 || fstat(log, &st) != 0 || st.st_nlink == 0) {
        return;
    }
    snprintf(fresh, sizeof fresh, "%s.new", path);
    unlink(fresh);
    int fd = open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0) {
        return;
    }
    bool whole = copy_tail(log, size - KEPT, fd);
    close(fd);
    if (!whole || rename(fresh, path) != 0) {
        unlink(fresh);
    }
}

static int open_bounded(void) {
    char path[NAME_SIZE - sizeof ".new"];
    snprintf(path, sizeof path, FLEETBOX_REFUSALS "/%u.jsonl", (unsigned)getuid());
    off_t size;
    int fd = open_log(path, &size);
    if (fd < 0 || size <= FILE_LIMIT) {
        return fd;
    }
    drop_older_half(fd, size, path);
    close(fd);
    return open_log(path, &size);
}

void log_refusal(const struct refusal *refusal) {
    int fd = open_bounded();
    if (fd < 0) {
        return;
    }
    char line[LINE_SIZE];
    size_t at = (size_t)snprintf(line, sizeof line, "{\"schema_version\":1,\"time\":%lld,\"uid\":%u",
                                 (long long)time(NULL), (unsigned)getuid());
    at = put(line, at, "policy", refusal->policy);
    at = put(line, at, "command", refusal->command);
    at = put(line, at, "problem", refusal->problem);
    at = put(line, at, "hint", refusal->hint);
    line[at++] = '}';
    line[at++] = '\n';
    ssize_t written = write(fd, line, at);
    (void)written; /* a full disk must not change the exit status */
    close(fd);
}
