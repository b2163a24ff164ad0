/* Repositories below the top of a writable root. Git obeys the hooks and settings of the one it is used in, so
 * those that are there at launch are protected like the root's own, as far as a bounded search finds them; nearest
 * first, so that no heap of directories hides what lies above it. */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "collect.h"
#include "path.h"

enum { DEPTH_LIMIT = 4, OPEN_LIMIT = 256 };

/* Directories still to read, relative to the root; the first `done` were read. */
struct search {
    struct launch *launch;
    const char *root;
    struct strings found;
    size_t done;
};

static int depth_of(const char *rel) {
    int depth = *rel != '\0';
    for (; *rel; rel++) {
        depth += *rel == '/';
    }
    return depth;
}

/* As getdents64 gives it. readdir would allocate for each of many small directories. */
struct name {
    uint64_t ino;
    int64_t offset;
    unsigned short length;
    unsigned char type;
    char text[];
};

static bool is_directory(int dir, const struct name *name) {
    struct stat st;
    if (name->type != DT_UNKNOWN) {
        return name->type == DT_DIR;
    }
    return fstatat(dir, name->text, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode);
}

/* A link there is left alone: nothing can be mounted over it. Names longer than NAME_MAX, as vfat, NTFS and FUSE have
 * them, cannot be guarded. */
static bool is_repository(int dir, const char *name) {
    struct stat st;
    char git[NAME_MAX + sizeof "/.git"];
    if (snprintf(git, sizeof git, "%s/.git", name) >= (int)sizeof git) {
        return false;
    }
    return fstatat(dir, git, &st, AT_SYMLINK_NOFOLLOW) == 0 && !S_ISLNK(st.st_mode);
}

static bool is_searched(const char *name) {
    static const char *const skipped[] = {".", "..", ".git", "node_modules"};
    for (size_t i = 0; i < sizeof skipped / sizeof *skipped; i++) {
        if (strcmp(name, skipped[i]) == 0) {
            return false;
        }
    }
    return true;
}

static void look_at(struct search *search, int dir, const char *rel, const struct name *name) {
    if (!is_searched(name->text) || !is_directory(dir, name)) {
        return;
    }
    bool found = is_repository(dir, name->text);
    bool searched = depth_of(rel) + 1 < DEPTH_LIMIT && search->found.count < OPEN_LIMIT;
    if (!found && !searched) {
        return;
    }
    const char *below = *rel ? path_join(rel, name->text) : mem_copy(name->text, strlen(name->text));
    if (found) {
        protect_nested(search->launch, search->root, below);
    }
    if (searched) {
        strings_add(&search->found, below);
    }
}

static void read_directory(struct search *search, int root, const char *rel) {
    _Alignas(struct name) static char buffer[32 * 1024];
    int dir = openat(root, *rel ? rel : ".", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (dir < 0) {
        return;
    }
    for (long length; (length = syscall(SYS_getdents64, dir, buffer, sizeof buffer)) > 0;) {
        const struct name *name;
        for (long at = 0; at < length; at += name->length) {
            name = (const struct name *)(const void *)(buffer + at);
            look_at(search, dir, rel, name);
        }
    }
    close(dir);
}

void collect_nested(struct launch *launch, const char *root) {
    struct search search = {.launch = launch, .root = root};
    int fd = open(root, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        return;
    }
    read_directory(&search, fd, "");
    while (search.done < search.found.count) {
        read_directory(&search, fd, search.found.item[search.done++]);
    }
    close(fd);
}
