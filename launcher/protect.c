/* Protected names below every writable root, and what a `.git` file leads to. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "collect.h"
#include "path.h"
#include "refuse.h"

enum { POINTER_LIMIT = PATH_LIMIT + 64 };

static void guard(struct launch *launch, const char *base, const char *rel) {
    struct resolved place = resolve_below(base, rel, &launch->roots);
    size_t before = launch->entries.count;
    add_guard(launch, &place, ACCESS_READ, "protected name");
    for (size_t i = before; i < launch->entries.count; i++) {
        launch->entries.item[i].protects = true;
    }
}

/* The first line of a small file that the workload may have written; NULL when it is no regular file. */
static const char *read_pointer(const char *path) {
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    struct stat st;
    if (fd < 0) {
        if (errno == EACCES) {
            refuse("make it readable again: chmod u+r", "cannot read %s, which may lead to a repository", path);
        }
        return NULL;
    }
    char text[POINTER_LIMIT];
    ssize_t length = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) ? read(fd, text, sizeof text - 1) : -1;
    close(fd);
    if (length <= 0) {
        return NULL;
    }
    text[length] = '\0';
    text[strcspn(text, "\r\n")] = '\0';
    return mem_copy(text, strlen(text));
}

static struct resolved resolve_pointer(struct launch *launch, const char *base, const char *target) {
    if (strlen(target) >= PATH_LIMIT) {
        return (struct resolved){.found = INACCESSIBLE};
    }
    return target[0] == '/' ? resolve(target, &launch->roots) : resolve_below(base, target, &launch->roots);
}

/* Git would take `gitdir: .`; protecting that would make the workspace read-only without a word. */
static void refuse_whole_workspace(const struct launch *launch, const char *dir) {
    if (path_at_or_below(launch->workspace, dir)) {
        refuse("keep the repository in a directory of its own", "a .git file leads to %s, which holds the workspace", dir);
    }
}

/* A directory that holds a repository's inner parts. `parts`: protect those of NAME only, not all of it. */
static void guard_repository(struct launch *launch, const struct resolved *dir, const char *name, bool parts) {
    if (dir->found != FOUND || !S_ISDIR(dir->st.st_mode) || !roots_holding(&launch->roots, dir->path)) {
        return;
    }
    if (!parts) {
        refuse_whole_workspace(launch, dir->path);
        guard(launch, dir->path, "");
        return;
    }
    for (size_t i = 0; i < launch->plan.op_count; i++) {
        const struct op *op = &launch->plan.op[i];
        if (op->kind == OP_PROTECT_PART && strcmp(op->arg[0], name) == 0) {
            guard(launch, dir->path, op->arg[1]);
        }
    }
}

/* `gitdir: X` in a file of that name: worktrees and submodules keep hooks and config in X and its commondir. */
static void follow_gitdir(struct launch *launch, const char *base, const char *name, bool parts) {
    const char prefix[] = "gitdir: ";
    const char *text = read_pointer(path_join(base, name));
    if (!text || strncmp(text, prefix, sizeof prefix - 1) != 0) {
        return;
    }
    if (!text[sizeof prefix - 1]) {
        return;
    }
    struct resolved dir = resolve_pointer(launch, base, text + sizeof prefix - 1);
    guard_repository(launch, &dir, name, parts);
    if (dir.found != FOUND) {
        return;
    }
    const char *common = read_pointer(path_join(dir.path, "commondir"));
    if (common) {
        struct resolved shared = resolve_pointer(launch, dir.path, common);
        guard_repository(launch, &shared, name, parts);
    }
}

static bool is_git(const char *name) {
    const char *last = strrchr(name, '/');
    return strcmp(last ? last + 1 : name, ".git") == 0;
}

static void protect_whole(struct launch *launch, const char *root, const char *name) {
    guard(launch, root, name);
    if (is_git(name)) {
        follow_gitdir(launch, root, name, false);
    }
}

static void protect_part(struct launch *launch, const char *root, const char *name, const char *part) {
    struct resolved place = resolve_below(root, name, &launch->roots);
    if (place.found == FOUND && S_ISDIR(place.st.st_mode)) {
        guard(launch, place.path, part);
        return;
    }
    guard(launch, root, name);
    if (is_git(name)) {
        follow_gitdir(launch, root, name, true);
    }
}

void collect_protected(struct launch *launch) {
    for (size_t r = 0; r < launch->roots.count; r++) {
        const char *root = launch->roots.item[r].path;
        for (size_t i = 0; i < launch->plan.op_count; i++) {
            const struct op *op = &launch->plan.op[i];
            if (op->kind == OP_PROTECT) {
                protect_whole(launch, root, op->arg[0]);
            } else if (op->kind == OP_PROTECT_PART) {
                protect_part(launch, root, op->arg[0], op->arg[1]);
            }
        }
    }
}
