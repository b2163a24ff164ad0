/* Repositories below the top of a writable root. Git obeys the hooks and settings of the one it is used in, so
 * those that are there at launch are protected like the root's own, as far as a bounded search finds them; nearest
 * first, so that no heap of directories hides what lies above it. */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
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

static bool is_directory(int dir, const struct dirent *entry) {
    struct stat st;
    if (entry->d_type != DT_UNKNOWN) {
        return entry->d_type == DT_DIR;
    }
    return fstatat(dir, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode);
}

/* A link there is left alone: nothing can be mounted over it. */
static bool is_repository(int dir, const char *name) {
    struct stat st;
    char git[NAME_MAX + sizeof "/.git"];
    strcpy(git, name);
    strcat(git, "/.git");
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

static void read_directory(struct search *search, int root, const char *rel) {
    int fd = openat(root, *rel ? rel : ".", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir) {
        return;
    }
    for (struct dirent *entry; (entry = readdir(dir));) {
        if (!is_searched(entry->d_name) || !is_directory(fd, entry)) {
            continue;
        }
        const char *below = *rel ? path_join(rel, entry->d_name) : mem_text("%s", entry->d_name);
        if (is_repository(fd, entry->d_name)) {
            protect_nested(search->launch, search->root, below);
        }
        if (depth_of(below) < DEPTH_LIMIT && search->found.count < OPEN_LIMIT) {
            strings_add(&search->found, below);
        }
    }
    closedir(dir);
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
