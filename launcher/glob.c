/* Globs deny what matches at launch. The walk follows no links and is bounded; over the bound is a refusal,
 * because a part of the matches would be a weaker policy than the one written.
 *
 * A sandbox over the same directory may move a match from where the walk has yet to come to where it has been.
 * So below writable roots every directory is watched before it is read, and what arrives in it is looked at again
 * until nothing has moved. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "collect.h"
#include "fds.h"
#include "path.h"
#include "pattern.h"
#include "places.h"
#include "refuse.h"

enum { VISIT_LIMIT = 200 * 1000, MATCH_LIMIT = 1000, DEPTH_LIMIT = 64, ROUND_LIMIT = 100 };
enum { ARRIVALS = IN_CREATE | IN_MOVED_TO, WATCHED = ARRIVALS | IN_MOVED_FROM | IN_ONLYDIR };

struct directory {
    const char *path;
    positions at;
    int depth;
};

struct match {
    const char *path;
    dev_t dev;
    ino_t ino;
    struct resolved target; /* itself, or where it leads */
};

struct glob {
    struct launch *launch;
    struct pattern pattern;
    bool roams;
    size_t visited;
    struct match *match;
    size_t matched;
    size_t match_room;
    int events;                /* -1: nothing needs to be watched yet */
    struct directory *watched; /* by watch descriptor; these count from 1 */
    size_t watches;
    size_t watch_room;
};

/* What cannot be looked at hides matches. Below a writable directory the workload may have closed it itself, and
 * would open it again; elsewhere, and where it is another account's, it stays closed. */
static void refuse_closed(const struct glob *glob, const char *path) {
    int problem = errno;
    bool absent = problem == ENOENT || problem == ENOTDIR || problem == ELOOP;
    if (is_exhausted(problem)) {
        refuse("raise ulimit -n", "cannot search %s for a glob of the policy: %s", path, strerror(problem));
    }
    if (!absent && roots_holding(&glob->launch->roots, path) && !belongs_to_another(path)) {
        refuse("make it readable again: chmod u+rwx", "cannot search %s for a glob of the policy: %s", path,
               strerror(problem));
    }
}

static void add_match(struct glob *glob, const char *path) {
    if (glob->matched == MATCH_LIMIT) {
        refuse("narrow the pattern, or deny a directory", "a glob of the policy matches more than %d files", MATCH_LIMIT);
    }
    struct stat st;
    if (lstat(path, &st) != 0) {
        refuse_closed(glob, path);
        return;
    }
    glob->match = mem_grow(glob->match, glob->matched, &glob->match_room, sizeof *glob->match);
    glob->match[glob->matched++] = (struct match){.path = path, .dev = st.st_dev, .ino = st.st_ino};
}

/* One that comes a second time has moved: what it holds has as well, and is looked at again. */
static void watch(struct glob *glob, int fd, const struct directory *directory) {
    char place[64];
    if (!roots_holding(&glob->launch->roots, directory->path)) {
        return;
    }
    if (glob->events < 0) {
        glob->events = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    }
    snprintf(place, sizeof place, "/proc/self/fd/%d", fd);
    int number = glob->events < 0 ? -1 : inotify_add_watch(glob->events, place, WATCHED);
    if (number <= 0) {
        refuse("close programs that watch files, or raise fs.inotify.max_user_watches and max_user_instances",
               "cannot watch %s while searching it for a glob of the policy: %s", directory->path, strerror(errno));
    }
    while (glob->watches < (size_t)number) {
        glob->watched = mem_grow(glob->watched, glob->watches, &glob->watch_room, sizeof *glob->watched);
        glob->watched[glob->watches++] = (struct directory){0};
    }
    glob->watched[number - 1] = *directory;
}

static void visit(struct glob *glob, int parent, const char *name, const struct directory *directory);

/* NAME is in DIRECTORY, which is open as `fd`, or is to be found by its path. */
static void look_at(struct glob *glob, int fd, const struct directory *directory, const char *name, bool maybe_dir) {
    positions next = pattern_step(&glob->pattern, directory->at, name);
    if (!next || (!maybe_dir && !pattern_is_complete(&glob->pattern, next))) {
        return;
    }
    const struct directory below = {path_join(directory->path, name), next, directory->depth + 1};
    if (pattern_is_complete(&glob->pattern, next)) {
        add_match(glob, below.path);
    } else {
        visit(glob, fd, fd == AT_FDCWD ? below.path : name, &below);
    }
}

static void visit(struct glob *glob, int parent, const char *name, const struct directory *directory) {
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        refuse_closed(glob, directory->path);
        return;
    }
    watch(glob, fd, directory);
    DIR *dir = fdopendir(fd);
    if (!dir || directory->depth == DEPTH_LIMIT) {
        refuse("narrow the pattern", "cannot search %s for a glob of the policy", directory->path);
    }
    for (struct dirent *entry; (entry = readdir(dir));) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) {
            continue;
        }
        if (++glob->visited > VISIT_LIMIT) {
            refuse("narrow the pattern, or use a smaller workspace",
                   "a glob of the policy would have to search more than %d files", VISIT_LIMIT);
        }
        look_at(glob, fd, directory, entry->d_name, entry->d_type == DT_DIR || entry->d_type == DT_UNKNOWN);
    }
    closedir(dir);
}

/* True when it may have moved a match. */
static bool handle(struct glob *glob, const struct inotify_event *event) {
    if (event->mask & IN_Q_OVERFLOW) {
        refuse("start again when fewer files change", "too much changes in a directory that a glob of the policy is about");
    }
    if (event->wd <= 0 || (size_t)event->wd > glob->watches || event->len == 0) {
        return false;
    }
    const struct directory directory = glob->watched[event->wd - 1];
    positions next = pattern_step(&glob->pattern, directory.at, event->name);
    if (event->mask & ARRIVALS) {
        look_at(glob, AT_FDCWD, &directory, event->name, event->mask & IN_ISDIR);
    }
    return next && (event->mask & IN_ISDIR || pattern_is_complete(&glob->pattern, next));
}

static bool handle_events(struct glob *glob) {
    _Alignas(struct inotify_event) char buffer[4096];
    bool moved = false;
    for (ssize_t length; (length = read(glob->events, buffer, sizeof buffer)) > 0;) {
        const struct inotify_event *event;
        for (char *at = buffer; at < buffer + length; at += sizeof *event + event->len) {
            event = (const struct inotify_event *)(const void *)at;
            moved = handle(glob, event) || moved;
        }
    }
    return moved;
}

/* Still the file it was; a match that is a link hides nothing by itself, so what it leads to is denied. */
static bool is_still_there(const struct glob *glob, struct match *match) {
    struct stat st;
    char target[PATH_LIMIT];
    if (lstat(match->path, &st) != 0 || !realpath(match->path, target)) {
        refuse_closed(glob, match->path);
        return false;
    }
    match->target = resolve(target, &glob->launch->roots);
    bool same = st.st_dev == match->dev && st.st_ino == match->ino;
    return same && match->target.found == FOUND && (S_ISLNK(st.st_mode) || match->target.st.st_ino == st.st_ino);
}

static void drop_what_moved(struct glob *glob) {
    size_t kept = 0;
    for (size_t i = 0; i < glob->matched; i++) {
        if (is_still_there(glob, &glob->match[i])) {
            glob->match[kept++] = glob->match[i];
        }
    }
    glob->matched = kept;
}

/* Until nothing that matters has moved since every match was seen in its place. */
static void settle(struct glob *glob) {
    drop_what_moved(glob);
    for (int round = 0; glob->events >= 0 && handle_events(glob); round++) {
        if (round == ROUND_LIMIT) {
            refuse("start again when it has ended", "another process keeps moving what a glob of the policy denies");
        }
        drop_what_moved(glob);
    }
    if (glob->events >= 0) {
        close(glob->events);
    }
}

/* Over the whole of what can be written, a match stays one wherever the workload moves it or a directory above it.
 * Any other pattern loses it then. */
static bool finds_anywhere(const struct glob *glob, const char *base) {
    const struct roots *roots = &glob->launch->roots;
    const struct root *root = roots_holding(roots, base);
    return pattern_is_any_depth(&glob->pattern) && root && strcmp(root->path, base) == 0 && !roots_above(roots, base);
}

void collect_glob(struct launch *launch, const struct op *op) {
    struct glob glob = {.launch = launch, .pattern = pattern_split(op->arg[1]), .events = -1};
    launch->roots.followed = &launch->later.links;
    struct resolved base = find(launch, op->arg[0]);
    launch->roots.followed = NULL;
    if (base.found != FOUND) {
        return;
    }
    glob.roams = finds_anywhere(&glob, base.path);
    strings_add(&launch->later.dirs, base.path);
    strings_add(&launch->later.globs, base.path);
    strings_add(&launch->later.globs, op->arg[1]);
    visit(&glob, AT_FDCWD, base.path, &(struct directory){base.path, pattern_start(&glob.pattern), 0});
    settle(&glob);
    for (size_t i = 0; i < glob.matched; i++) {
        struct entry entry = entry_at(&glob.match[i].target, ACCESS_NONE, "glob");
        entry.roams = glob.roams;
        entry.secret = true;
        strings_add(&launch->later.dirs, path_parent(glob.match[i].path)); /* of a link, not the target's */
        entries_add(&launch->entries, entry);
    }
}
