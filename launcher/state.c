#include "state.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mem.h"
#include "path.h"
#include "refuse.h"

static bool is_own_dir(const char *path, uid_t uid) {
    struct stat st;
    return lstat(path, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == uid && (st.st_mode & 07777) == 0700;
}

const char *state_dir(uid_t uid) {
    const char *runtime = mem_text("/run/user/%u", (unsigned)uid);
    const char *dir = is_own_dir(runtime, uid) ? path_join(runtime, "fleetbox")
                                               : mem_text("/tmp/fleetbox-%u", (unsigned)uid);
    if (is_own_dir(dir, uid)) {
        return dir;
    }
    if (mkdir(dir, 0700) != 0 && errno != EEXIST) {
        refuse("make room, or make it writable for this account", "cannot make %s: %s", dir, strerror(errno));
    }
    if (!is_own_dir(dir, uid)) {
        refuse("remove it if it is not yours; somebody may be waiting for you there",
               "%s is not a directory of uid %u with mode 0700", dir, (unsigned)uid);
    }
    return dir;
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
