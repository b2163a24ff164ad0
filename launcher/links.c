/* A closed file that has another name below a writable root could be read or written by that name. A workload
 * cannot make one, because what is closed is a mount of its own; it was there before. So only where a closed file
 * has several names, and such a one may be below a writable root, all of these are searched. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "collect.h"
#include "fds.h"
#include "path.h"
#include "refuse.h"

enum { VISIT_LIMIT = 500 * 1000, DEPTH_LIMIT = 128 };

struct linked {
    dev_t dev;
    ino_t ino;
    enum access access;
};

struct search {
    struct launch *launch;
    struct linked *item;
    size_t count;
    size_t room;
    size_t visited;
};

static void add_linked(struct search *search, const struct stat *st, enum access access) {
    search->item = mem_grow(search->item, search->count, &search->room, sizeof *search->item);
    search->item[search->count++] = (struct linked){st->st_dev, st->st_ino, access};
}

/* The files directly in a closed directory. */
static void add_files(struct search *search, const char *path, enum access access) {
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir) {
        return;
    }
    for (struct dirent *entry; (entry = readdir(dir));) {
        struct stat st;
        if ((entry->d_type == DT_REG || entry->d_type == DT_UNKNOWN) &&
            fstatat(fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) && st.st_nlink > 1) {
            add_linked(search, &st, access);
        }
    }
    closedir(dir);
}

static void add_entry(struct search *search, const struct entry *entry) {
    if (entry->linked) {
        const struct stat st = {.st_dev = entry->dev, .st_ino = entry->ino};
        add_linked(search, &st, entry->access);
    } else if (entry->is_dir && entry->narrows && entry->kind == ENTRY_BIND) {
        add_files(search, entry->path, entry->access);
        add_files(search, path_join(entry->path, "hooks"), entry->access); /* of a repository */
    }
}

static bool may_be_linked(const struct search *search, ino_t ino) {
    for (size_t i = 0; i < search->count; i++) {
        if (search->item[i].ino == ino) {
            return true;
        }
    }
    return false;
}

/* Two file systems may have a file of that number each. */
static void look_at(struct search *search, int dir, const char *parent, const char *name) {
    struct stat st;
    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
        return;
    }
    for (size_t i = 0; i < search->count; i++) {
        const struct linked *linked = &search->item[i];
        if (linked->ino == st.st_ino && linked->dev == st.st_dev) {
            const struct entry like = {.access = linked->access};
            add_alias(search->launch, path_join(parent, name), &like, "another name of what is closed");
            return;
        }
    }
}

static void refuse_unseen(const char *path) {
    int problem = errno;
    bool closed = problem == EACCES && !belongs_to_another(path); /* a workload would open again what it closed */
    if (closed || is_exhausted(problem)) {
        refuse(closed ? "make it readable again: chmod u+rwx" : "raise ulimit -n",
               "cannot search %s for other names of a closed file: %s", path, strerror(problem));
    }
}

static void visit(struct search *search, int parent, const char *name, const char *path, int depth) {
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir) {
        refuse_unseen(path);
        return;
    }
    for (struct dirent *entry; (entry = readdir(dir));) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) {
            continue;
        }
        if (++search->visited > VISIT_LIMIT || depth == DEPTH_LIMIT) {
            refuse("give the files that the policy closes one name each: cp F F.new; mv F.new F",
                   "too many files below %s to find the other names of a closed file", path);
        }
        if (may_be_linked(search, entry->d_ino)) {
            look_at(search, fd, path, entry->d_name);
        } else if (entry->d_type == DT_DIR || entry->d_type == DT_UNKNOWN) {
            visit(search, fd, entry->d_name, path_join(path, entry->d_name), depth + 1);
        }
    }
    closedir(dir);
}

void collect_links(struct launch *launch) {
    struct search search = {.launch = launch};
    for (size_t i = 0; i < launch->entries.count; i++) {
        const struct entry *entry = &launch->entries.item[i];
        if (entry->access != ACCESS_WRITE) {
            add_entry(&search, entry);
        }
    }
    for (size_t i = 0; search.count && i < launch->roots.count; i++) {
        const char *root = launch->roots.item[i].path;
        if (!roots_above(&launch->roots, root)) {
            visit(&search, AT_FDCWD, root, root, 0);
        }
    }
}
