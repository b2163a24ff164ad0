#include "state.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fds.h"
#include "mem.h"
#include "path.h"
#include "refuse.h"

enum { TRIES = 10 };

static bool is_own_dir(const struct stat *st, uid_t uid) {
    return S_ISDIR(st->st_mode) && st->st_uid == uid && (st->st_mode & 07777) == 0700;
}

static const char *make_dir(uid_t uid) {
    const char *dir = mem_text("/tmp/fleetbox-%u", (unsigned)uid);
    struct stat st;
    if (lstat(dir, &st) != 0 && mkdir(dir, 0700) != 0 && errno != EEXIST) {
        refuse("make room, or make it writable for this account", "cannot make %s: %s", dir, strerror(errno));
    }
    if (lstat(dir, &st) != 0 || !is_own_dir(&st, uid)) {
        refuse("remove it if it is not yours; somebody may be waiting for you there",
               "%s is not a directory of uid %u with mode 0700", dir, (unsigned)uid);
    }
    return dir;
}

/* Kept until this process ends: systemd-tmpfiles clears /tmp of what is old, but leaves alone what somebody has
 * locked. It may have been there first. */
static bool keep_dir(const char *dir) {
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    struct stat st;
    if (fd >= 0 && flock(fd, LOCK_SH) == 0 && fstat(fd, &st) == 0 && st.st_nlink > 0) {
        fd_high(fd);
        return true;
    }
    if (fd >= 0) {
        close(fd);
    }
    return false;
}

/* Not /run/user/UID: a logout removes it below a sandbox that goes on, and the next launch would not see its locks. */
const char *state_dir(uid_t uid) {
    for (int i = 0; i < TRIES; i++) {
        const char *dir = make_dir(uid);
        if (keep_dir(dir)) {
            return dir;
        }
    }
    refuse("try again", "cannot keep the state directory of uid %u: %s", (unsigned)uid, strerror(errno));
}

static bool is_denied_file(const char *path) {
    struct stat st;
    return lstat(path, &st) == 0 && S_ISREG(st.st_mode) && st.st_size == 0 && (st.st_mode & 0777) == 0;
}

const char *state_denied_file(const char *dir) {
    const char *path = path_join(dir, "denied");
    if (is_denied_file(path)) {
        return path;
    }
    unlink(path);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0);
    if (fd >= 0) {
        close(fd);
    }
    if (!is_denied_file(path)) { /* also right when another launch made it at the same moment */
        refuse("make room in that directory", "cannot make %s: %s", path, strerror(errno));
    }
    return path;
}
