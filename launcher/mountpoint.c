#include "mountpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mem.h"
#include "path.h"
#include "record.h"
#include "refuse.h"

static int open_root(const struct root *root) {
    int fd = open(root->path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    struct stat st;
    if (fd >= 0 && (fstat(fd, &st) != 0 || st.st_dev != root->dev || st.st_ino != root->ino)) {
        close(fd);
        fd = -1;
    }
    return fd;
}

/* Removes REL below the root if it is an empty directory; what is not empty has become somebody's own. False
 * when it is still there and still ours, because a directory on the way is closed just now. */
static bool remove_mountpoint(int root, const char *rel) {
    const char *slash = strrchr(rel, '/');
    int parent = open_beneath(root, slash ? mem_copy(rel, (size_t)(slash - rel)) : "");
    if (parent < 0) {
        return errno != EACCES;
    }
    bool settled = unlinkat(parent, slash ? slash + 1 : rel, AT_REMOVEDIR) == 0 || errno == ENOENT ||
                   errno == ENOTEMPTY || errno == EEXIST || errno == ENOTDIR;
    close(parent);
    return settled;
}

bool mountpoints_remove(int record, const struct root *root) {
    if (record_is_empty(record)) {
        return true;
    }
    struct strings made = record_made(record);
    bool settled = true;
    int fd = made.count ? open_root(root) : -1;
    for (size_t i = 0; fd >= 0 && i < made.count; i++) {
        settled = remove_mountpoint(fd, made.item[i]) && settled;
    }
    if (fd >= 0) {
        close(fd);
    }
    return !settled || record_cut(record);
}

static const char *below_root(const struct root *root, const char *path) {
    return path + strlen(root->path) + (root->path[1] ? 1 : 0);
}

/* The parent directory is pinned by a descriptor and every component of the way is checked for links. */
static bool make_mountpoint(int root_fd, const struct root *root, struct entry *entry) {
    const char *rel = below_root(root, entry->path);
    const char *slash = strrchr(rel, '/');
    int parent = open_beneath(root_fd, slash ? mem_copy(rel, (size_t)(slash - rel)) : "");
    const char *name = slash ? slash + 1 : rel;
    struct stat st;
    if (parent < 0) {
        refuse("start again", "the way to %s changed while the sandbox was being prepared", entry->path);
    }
    int problem = mkdirat(parent, name, 0755) == 0 ? 0 : errno;
    bool there = fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
    struct stat above;
    bool ours = fstat(parent, &above) != 0 || above.st_uid == geteuid();
    close(parent);
    if (there && S_ISDIR(st.st_mode)) {
        entry->dev = st.st_dev;
        entry->ino = st.st_ino;
        return true;
    }
    if (there) {
        refuse("start again, or remove it", "%s appeared while the sandbox was being prepared", entry->path);
    }
    if (problem != EACCES && problem != EPERM && problem != EROFS) {
        refuse("make room there", "cannot make the mountpoint %s: %s", entry->path, strerror(problem));
    }
    if (ours && problem != EROFS) { /* the workload, the same user, would open it and make the name itself */
        refuse("make its directory writable again: chmod u+w", "cannot make the mountpoint %s: %s", entry->path,
               strerror(problem));
    }
    return false;
}

/* Entries are ordered by path: those of a root follow each other. */
static size_t first_in(const struct entries *entries, const struct root *root) {
    size_t low = 0;
    for (size_t high = entries->count; low < high;) {
        size_t middle = low + (high - low) / 2;
        if (path_compare(entries->item[middle].path, root->path) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* The next entry from `index` on whose mountpoint belongs to the root and not to one further in; NULL at the end. */
static struct entry *next_missing(const struct roots *roots, const struct root *root, const struct entries *entries,
                                  size_t *index) {
    for (; *index < entries->count && path_at_or_below(entries->item[*index].path, root->path); ++*index) {
        struct entry *entry = &entries->item[*index];
        if (entry->kind == ENTRY_MISSING && roots_holding(roots, entry->path) == root) {
            return entry;
        }
    }
    return NULL;
}

/* Only what is not there: an empty directory that appeared since is somebody's own. */
void mountpoints_record(int record, const struct roots *roots, const struct root *root, const struct entries *entries) {
    struct strings made = {0};
    struct entry *entry;
    for (size_t i = first_in(entries, root); (entry = next_missing(roots, root, entries, &i)); i++) {
        struct stat st;
        if (lstat(entry->path, &st) != 0) {
            strings_add(&made, below_root(root, entry->path));
        }
    }
    record_add(record, &made);
}

void mountpoints_make(const struct roots *roots, const struct root *root, struct entries *entries) {
    int fd = -1;
    struct entry *entry;
    for (size_t i = first_in(entries, root); (entry = next_missing(roots, root, entries, &i)); i++) {
        fd = fd >= 0 ? fd : open_root(root);
        if (fd < 0) {
            refuse("start again", "the directory %s changed while the sandbox was being prepared", root->path);
        }
        if (!make_mountpoint(fd, root, entry)) {
            memmove(entry, entry + 1, (entries->count - i - 1) * sizeof *entry);
            entries->count--;
            i--;
        }
    }
    if (fd >= 0) {
        close(fd);
    }
}
