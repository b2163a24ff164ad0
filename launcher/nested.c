/* Repositories below the top of a writable root. Git obeys the hooks and settings of the one it is used in, so
 * those that are there at launch are protected like the root's own, as far as a bounded search finds them; nearest
 * first, so that no heap of directories hides what lies above it. */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "collect.h"
#include "listing.h"
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
    static const char *const skipped[] = {".git", "node_modules"};
    for (size_t i = 0; i < sizeof skipped / sizeof *skipped; i++) {
        if (strcmp(name, skipped[i]) == 0) {
            return false;
        }
    }
    return true;
}

struct reading {
    struct search *search;
    int dir;
    const char *rel;
};

static bool look_at(void *context, const struct name *name) {
    const struct reading *reading = context;
    struct search *search = reading->search;
    if (!is_searched(name->text) || !is_directory(reading->dir, name)) {
        return true;
    }
    bool found = is_repository(reading->dir, name->text);
    bool searched = depth_of(reading->rel) + 1 < DEPTH_LIMIT && search->found.count < OPEN_LIMIT;
    if (!found && !searched) {
        return true;
    }
    const char *below = *reading->rel ? path_join(reading->rel, name->text) : mem_copy(name->text, strlen(name->text));
    if (found) {
        protect_nested(search->launch, search->root, below);
    }
    if (searched) {
        strings_add(&search->found, below);
    }
    return true;
}

static void read_directory(struct search *search, int root, const char *rel) {
    int dir = openat(root, *rel ? rel : ".", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (dir < 0) {
        return;
    }
    struct reading reading = {search, dir, rel};
    each_name(dir, look_at, &reading);
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
