#include "mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "mountinfo.h"

#ifndef STATX_ATTR_MOUNT_ROOT
#define STATX_ATTR_MOUNT_ROOT 0x00002000
#endif

/* Kernels before 5.8 do not say it in statx. */
static bool is_listed(const char *path) {
    static struct mounts mounts;
    bool read = mounts.count || mountinfo_read(&mounts);
    for (size_t i = 0; read && i < mounts.count; i++) {
        if (strcmp(mounts.item[i].path, path) == 0) {
            return true;
        }
    }
    return false;
}

static bool is_mount_root(const struct statx *st, const char *path) {
    if (st->stx_attributes_mask & STATX_ATTR_MOUNT_ROOT) {
        return st->stx_attributes & STATX_ATTR_MOUNT_ROOT;
    }
    return is_listed(path);
}

const char *mount_problem(const char *path, const char *identity, bool closed) {
    struct statx st;
    if (statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, STATX_TYPE | STATX_INO, &st) != 0) {
        return strerror(errno);
    }
    if (S_ISLNK(st.stx_mode)) {
        return "it is a symlink";
    }
    if (!is_mount_root(&st, path)) {
        return "nothing is mounted there";
    }
    char have[64];
    snprintf(have, sizeof have, "%x:%x:%ju", st.stx_dev_major, st.stx_dev_minor, (uintmax_t)st.stx_ino);
    if (strcmp(identity, "-") != 0 && strcmp(identity, have) != 0) {
        return "another file is mounted there";
    }
    if (!closed) {
        return NULL;
    }
    struct statvfs fs;
    if (statvfs(path, &fs) != 0) {
        return strerror(errno);
    }
    return fs.f_flag & ST_RDONLY ? NULL : "it is not read-only";
}
