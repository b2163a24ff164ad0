/* Protected names below every writable root, and what git would obey beside them. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "collect.h"
#include "git.h"
#include "path.h"
#include "refuse.h"

/* A directory whose names are protected: a writable root, or a repository found below one. */
struct holder {
    struct launch *launch;
    const char *dir;
    bool nested; /* other launches need not agree on it: it may have come while they ran */
};

static bool is_root(const struct launch *launch, const char *path) {
    const struct root *root = roots_holding(&launch->roots, path);
    return root && strcmp(root->path, path) == 0;
}

static void guard(const struct holder *holder, const char *base, const char *rel) {
    struct launch *launch = holder->launch;
    struct resolved place = resolve_below(base, rel, &launch->roots);
    if (holder->nested && is_root(launch, place.path)) { /* a rule names it: what it holds is protect_bare's */
        return;
    }
    size_t before = launch->entries.count;
    size_t agreed = launch->agreed.count;
    add_guard(launch, &place, ACCESS_READ, holder->nested ? "protected in a nested repository" : "protected name");
    for (size_t i = before; i < launch->entries.count; i++) {
        launch->entries.item[i].protects = !holder->nested;
        launch->entries.item[i].narrows = true;
    }
    if (holder->nested) {
        launch->agreed.count = agreed;
    }
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

static bool is_part_of(const struct op *op, const char *name) {
    return op->kind == OP_PROTECT_PART && strcmp(op->arg[0], name) == 0;
}

/* A directory that holds a repository's inner parts. `parts`: protect those of NAME only, not all of it. */
static void guard_repository(const struct holder *holder, const struct resolved *dir, const char *name, bool parts) {
    struct launch *launch = holder->launch;
    if (dir->found != FOUND || !S_ISDIR(dir->st.st_mode) || !roots_holding(&launch->roots, dir->path)) {
        return;
    }
    if (!parts) {
        refuse_whole_workspace(launch, dir->path);
        guard(holder, dir->path, "");
        return;
    }
    for (size_t i = 0; i < launch->plan.op_count; i++) {
        if (is_part_of(&launch->plan.op[i], name)) {
            guard(holder, dir->path, launch->plan.op[i].arg[1]);
        }
    }
}

/* The directory behind a .git, file or directory; what is not FOUND is none. */
static struct resolved git_directory(const struct holder *holder, const char *name) {
    const char prefix[] = "gitdir: ";
    struct resolved git = resolve_below(holder->dir, name, &holder->launch->roots);
    if (git.found == FOUND && S_ISDIR(git.st.st_mode)) {
        return git;
    }
    const char *text = git.found == FOUND ? git_read_pointer(git.path) : NULL;
    if (!text || strncmp(text, prefix, sizeof prefix - 1) != 0 || !text[sizeof prefix - 1]) {
        return (struct resolved){.found = MISSING};
    }
    return resolve_pointer(holder->launch, path_parent(git.path), text + sizeof prefix - 1);
}

/* Worktrees and submodules keep hooks and config in the directory that a .git file leads to, and its commondir. */
static struct resolved follow_gitdir(const struct holder *holder, const struct resolved *dir, const char *name,
                                     bool parts) {
    guard_repository(holder, dir, name, parts);
    const char *common = git_read_pointer(path_join(dir->path, "commondir"));
    if (!common) {
        return *dir;
    }
    struct resolved shared = resolve_pointer(holder->launch, dir->path, common);
    guard_repository(holder, &shared, name, parts);
    return shared;
}

/* Git never makes one in a repository of its own: a workload that could write there has, to lead the git outside
 * to hooks and settings that nothing protects. */
static void refuse_commondir(const char *git) {
    struct stat st;
    const char *path = path_join(git, "commondir");
    if (lstat(path, &st) == 0) {
        refuse("look at where it leads, then remove it", "%s leads git to other hooks and settings", path);
    }
}

/* The place that husky sets is .husky/_, whose scripts run those beside it. */
static void guard_hooks(const struct holder *holder, const char *path) {
    struct launch *launch = holder->launch;
    bool home = strncmp(path, "~/", 2) == 0 && launch->home;
    struct resolved hooks = home ? resolve_below(launch->home, path + 2, &launch->roots)
                                 : resolve_pointer(launch, holder->dir, path);
    if (hooks.found == FOUND && strcmp(strrchr(hooks.path, '/'), "/_") == 0) {
        hooks = resolve(path_parent(hooks.path), &launch->roots);
    }
    const struct root *root = hooks.path ? roots_holding(&launch->roots, hooks.path) : NULL;
    if (root && hooks.found != INACCESSIBLE && !path_at_or_below(holder->dir, hooks.path)) {
        guard(holder, hooks.path, "");
    }
}

/* What the machine's and a user's configuration say holds in every repository. */
static void guard_hooks_of_configs(const struct holder *holder, const struct resolved *git,
                                   const struct resolved *common) {
    const struct launch *launch = holder->launch;
    const char *xdg = caller_env(&launch->caller, "XDG_CONFIG_HOME");
    const char *configs[] = {
        common->found == FOUND ? path_join(common->path, "config") : NULL,
        path_join(git->path, "config.worktree"),
        launch->home ? path_join(launch->home, ".gitconfig") : NULL,
        launch->home ? path_join(launch->home, ".config/git/config") : NULL,
        xdg && xdg[0] == '/' ? path_join(xdg, "git/config") : NULL,
        access("/etc/gitconfig", R_OK) == 0 ? "/etc/gitconfig" : NULL,
    };
    for (size_t i = 0; i < sizeof configs / sizeof *configs; i++) {
        const char *path = configs[i] ? git_hooks_path(configs[i]) : NULL;
        if (path) {
            guard_hooks(holder, path);
        }
    }
}

/* `git status` looks into every submodule, and obeys the settings of the .git it finds there. */
static void guard_submodules(const struct holder *holder, const struct resolved *git) {
    struct strings paths = git_submodules(path_join(git->path, "index"));
    struct holder nested = *holder;
    int dir = paths.count ? open(holder->dir, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
    nested.nested = true;
    for (size_t i = 0; dir >= 0 && i < paths.count; i++) {
        int fd = open_beneath(dir, path_join(paths.item[i], ".git"));
        if (fd >= 0) {
            close(fd);
        }
        if (fd >= 0 || errno == ENOENT) { /* git does not go into a link */
            guard(&nested, holder->dir, path_join(paths.item[i], ".git"));
        }
    }
    if (dir >= 0) {
        close(dir);
    }
}

static void protect_git(const struct holder *holder, const char *name, bool parts) {
    struct resolved git = git_directory(holder, name);
    if (git.found != FOUND || !S_ISDIR(git.st.st_mode)) {
        return;
    }
    struct resolved common = git;
    if (strcmp(git.path, path_join(holder->dir, name)) == 0) {
        refuse_commondir(git.path);
    } else {
        common = follow_gitdir(holder, &git, name, parts);
    }
    guard_hooks_of_configs(holder, &git, &common);
    guard_submodules(holder, &git);
}

static bool is_git(const char *name) {
    const char *last = strrchr(name, '/');
    return strcmp(last ? last + 1 : name, ".git") == 0;
}

static void protect_part(const struct holder *holder, const char *name, const char *part) {
    struct resolved place = resolve_below(holder->dir, name, &holder->launch->roots);
    if (place.found == FOUND && S_ISDIR(place.st.st_mode)) {
        guard(holder, place.path, part);
        return;
    }
    guard(holder, holder->dir, name);
}

/* False for a link on the way as well: in a nested repository that is no reason to refuse. */
static bool is_there(const struct holder *holder, const char *name) {
    int dir = open(holder->dir, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    int fd = dir < 0 ? -1 : open_beneath(dir, name);
    if (dir >= 0) {
        close(dir);
    }
    if (fd >= 0) {
        close(fd);
    }
    return fd >= 0;
}

static void protect_names(const struct holder *holder) {
    const struct plan *plan = &holder->launch->plan;
    const char *git = NULL;
    for (size_t i = 0; i < plan->op_count; i++) {
        const struct op *op = &plan->op[i];
        bool whole = op->kind == OP_PROTECT;
        if ((!whole && op->kind != OP_PROTECT_PART) || (holder->nested && !is_there(holder, op->arg[0]))) {
            continue;
        }
        if (whole) {
            guard(holder, holder->dir, op->arg[0]);
        } else {
            protect_part(holder, op->arg[0], op->arg[1]);
        }
        if (is_git(op->arg[0]) && (!git || strcmp(git, op->arg[0]) != 0)) { /* its parts stand together */
            git = op->arg[0];
            protect_git(holder, git, !whole);
        }
    }
}

/* A root that is a repository itself, as `git init --bare` makes it. */
static void protect_bare(const struct holder *holder) {
    static const char *const parts[] = {"config", "hooks"};
    for (size_t i = 0; git_is_bare(holder->dir) && i < sizeof parts / sizeof *parts; i++) {
        guard(holder, holder->dir, parts[i]);
    }
}

void protect_nested(struct launch *launch, const char *root, const char *rel) {
    const struct holder holder = {launch, path_join(root, rel), true};
    if (!roots_above(&launch->roots, holder.dir) || !is_there(&holder, "")) {
        return;
    }
    protect_names(&holder);
}

static bool protects_anything(const struct plan *plan) {
    for (size_t i = 0; i < plan->op_count; i++) {
        if (plan->op[i].kind == OP_PROTECT || plan->op[i].kind == OP_PROTECT_PART) {
            return true;
        }
    }
    return false;
}

void collect_protected(struct launch *launch) {
    for (size_t r = 0; protects_anything(&launch->plan) && r < launch->roots.count; r++) {
        const struct holder holder = {launch, launch->roots.item[r].path, false};
        protect_names(&holder);
        protect_bare(&holder);
        collect_nested(launch, holder.dir);
    }
}
