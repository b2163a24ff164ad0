#include "arrived.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "bindfd.h"
#include "control.h"
#include "exact.h"
#include "path.h"

enum { CLOSED = MS_RDONLY | MS_NOSUID | MS_NODEV };

/* The flags that a mount must have where it lies. */
static unsigned long wanted_at(const struct carving *carving, const char *path) {
    if (path_at_or_below(path, "/dev") || path_at_or_below(path, "/proc")) {
        return 0;
    }
    for (const struct job *job = mountlist_around(carving->jobs, path); job; job = job->above) {
        if (job->kind == HAS_DEVICE || (job->kind == JOB_AGAIN && strcmp(job->path, path) == 0)) { /* bwrap's own */
            return 0;
        }
        if (job->kind == HAS_WRITE || job->kind == HAS_TMP || job->kind == JOB_AGAIN) {
            return MS_NOSUID | MS_NODEV;
        }
        if (job->kind == HAS_READ) {
            return CLOSED;
        }
    }
    return CLOSED;
}

void arrived_close(const struct carving *carving) {
    for (size_t i = 0; i < carving->mounts.count; i++) {
        const struct mount *mount = &carving->mounts.item[i];
        unsigned long wanted = wanted_at(carving, mount->path);
        if ((mount->flags & wanted) == wanted) {
            continue;
        }
        int fd = open_without_links(AT_FDCWD, mount->path);
        if (fd < 0 && errno != EMFILE) { /* neither can the workload go there */
            continue;
        }
        if (fd < 0 || !add_flags(fd, wanted)) {
            give_up(carving->control, "cannot close %s, which was mounted a moment ago: %s", mount->path, strerror(errno));
        }
        close(fd);
    }
}
