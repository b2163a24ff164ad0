#include "bindfd.h"

#include <stdio.h>
#include <sys/mount.h>
#include <sys/statvfs.h>

/* open_tree and move_mount would do it without a path, from Linux 5.2 on; this works on all. */
struct name {
    char text[32];
};

static struct name name_of(int fd) {
    struct name name;
    snprintf(name.text, sizeof name.text, "/proc/self/fd/%d", fd);
    return name;
}

bool bind_fd(int source, int target, bool deep) {
    return mount(name_of(source).text, name_of(target).text, NULL, MS_BIND | (deep ? MS_REC : 0UL), NULL) == 0;
}

bool mount_fresh(int target) {
    return mount("tmpfs", name_of(target).text, "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777") == 0;
}

bool make_read_only(int fd) {
    struct statvfs fs;
    if (fstatvfs(fd, &fs) != 0) {
        return false;
    }
    unsigned long flags = MS_REMOUNT | MS_BIND | MS_RDONLY; /* without one about access times these stay */
    flags |= fs.f_flag & ST_NOSUID ? MS_NOSUID : 0UL;
    flags |= fs.f_flag & ST_NODEV ? MS_NODEV : 0UL;
    flags |= fs.f_flag & ST_NOEXEC ? MS_NOEXEC : 0UL;
    return mount(NULL, name_of(fd).text, NULL, flags, NULL) == 0;
}

bool is_read_only(int fd) {
    struct statvfs fs;
    return fstatvfs(fd, &fs) == 0 && (fs.f_flag & ST_RDONLY);
}
