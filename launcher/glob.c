/* Globs deny what matches at launch. The walk follows no links and is bounded; over the bound is a refusal,
 * because a part of the matches would be a weaker policy than the one written. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "collect.h"
#include "path.h"
#include "refuse.h"

enum { VISIT_LIMIT = 200 * 1000, MATCH_LIMIT = 1000, DEPTH_LIMIT = 64, COMPONENT_LIMIT = 32 };

struct glob {
    struct launch *launch;
    const char *component[COMPONENT_LIMIT + 1]; /* NULL-terminated */
    bool roams;
    size_t visited;
    size_t matched;
};

/* `*` and `?` within one component; a leading dot is nothing special. */
static bool component_matches(const char *pattern, const char *name) {
    const char *star = NULL;
    const char *retry = NULL;
    while (*name) {
        if (*pattern == '*') {
            star = ++pattern;
            retry = name;
        } else if (*pattern == '?' || *pattern == *name) {
            pattern++;
            name++;
        } else if (star) {
            pattern = star;
            name = ++retry;
        } else {
            return false;
        }
    }
    while (*pattern == '*') {
        pattern++;
    }
    return *pattern == '\0';
}

/* Where in the pattern an entry may stand: bit i = component i is still to match. `**` stands for any depth. */
typedef unsigned long positions;

static positions closure(const struct glob *glob, positions at) {
    for (size_t i = 0; glob->component[i]; i++) {
        if ((at >> i & 1) && strcmp(glob->component[i], "**") == 0) {
            at |= 1UL << (i + 1);
        }
    }
    return at;
}

static positions step(const struct glob *glob, positions at, const char *name) {
    positions next = 0;
    for (size_t i = 0; glob->component[i]; i++) {
        if (!(at >> i & 1)) {
            continue;
        }
        if (strcmp(glob->component[i], "**") == 0) {
            next |= 1UL << i;
        } else if (component_matches(glob->component[i], name)) {
            next |= 1UL << (i + 1);
        }
    }
    return closure(glob, next);
}

static bool is_complete(const struct glob *glob, positions at) {
    size_t length = 0;
    while (glob->component[length]) {
        length++;
    }
    return at >> length & 1;
}

/* What cannot be looked at hides matches. Below a writable directory the workload may have closed it itself, and
 * would open it again; elsewhere it stays closed. */
static void refuse_closed(const struct glob *glob, const char *path) {
    bool absent = errno == ENOENT || errno == ENOTDIR || errno == ELOOP;
    if (!absent && roots_holding(&glob->launch->roots, path)) {
        refuse("make it readable again: chmod u+rwx", "cannot search %s for a glob of the policy: %s", path, strerror(errno));
    }
}

/* A match that is a link hides nothing by itself: what it leads to is denied. */
static void deny(struct glob *glob, const char *path) {
    if (++glob->matched > MATCH_LIMIT) {
        refuse("narrow the pattern, or deny a directory", "a glob of the policy matches more than %d files", MATCH_LIMIT);
    }
    char target[PATH_LIMIT];
    if (!realpath(path, target)) {
        refuse_closed(glob, path);
        return;
    }
    struct resolved place = resolve(target, &glob->launch->roots);
    if (place.found == FOUND) {
        struct entry entry = entry_at(&place, ACCESS_NONE, "glob");
        entry.roams = glob->roams;
        entries_add(&glob->launch->entries, entry);
    }
}

static void visit(struct glob *glob, int parent, const char *name, const char *path, positions at, int depth) {
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        refuse_closed(glob, path);
        return;
    }
    DIR *dir = fdopendir(fd);
    if (!dir || depth == DEPTH_LIMIT) {
        refuse("narrow the pattern", "cannot search %s for a glob of the policy", path);
    }
    for (struct dirent *entry; (entry = readdir(dir));) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) {
            continue;
        }
        if (++glob->visited > VISIT_LIMIT) {
            refuse("narrow the pattern, or use a smaller workspace",
                   "a glob of the policy would have to search more than %d files", VISIT_LIMIT);
        }
        positions next = step(glob, at, entry->d_name);
        if (!next) {
            continue;
        }
        if (is_complete(glob, next)) {
            deny(glob, path_join(path, entry->d_name));
        } else if (entry->d_type == DT_DIR || entry->d_type == DT_UNKNOWN) {
            visit(glob, fd, entry->d_name, path_join(path, entry->d_name), next, depth + 1);
        }
    }
    closedir(dir);
}

static void split(struct glob *glob, const char *pattern) {
    size_t count = 0;
    while (*pattern) {
        size_t length = strcspn(pattern, "/");
        if (count == COMPONENT_LIMIT - 1) {
            refuse("shorten the pattern", "a glob of the policy has more than %d components", COMPONENT_LIMIT - 1);
        }
        glob->component[count++] = mem_copy(pattern, length);
        pattern += length + (pattern[length] == '/');
    }
}

/* With `**` and one component, over the whole of what can be written, a match stays one wherever the workload
 * moves it or a directory above it. Any other pattern loses it then. */
static bool finds_anywhere(const struct glob *glob, const char *base) {
    const struct roots *roots = &glob->launch->roots;
    bool any_depth = glob->component[0] && strcmp(glob->component[0], "**") == 0 && glob->component[1] &&
                     !glob->component[2];
    const struct root *root = roots_holding(roots, base);
    return any_depth && root && strcmp(root->path, base) == 0 && !roots_above(roots, base);
}

void collect_glob(struct launch *launch, const struct op *op) {
    struct glob glob = {.launch = launch};
    split(&glob, op->arg[1]);
    struct resolved base = find(launch, op->arg[0]);
    if (base.found == FOUND) {
        glob.roams = finds_anywhere(&glob, base.path);
        visit(&glob, AT_FDCWD, base.path, base.path, closure(&glob, 1), 0);
    }
}
