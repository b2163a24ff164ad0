/* With AF_UNIX allowed, a read-only bind does not stop connect(): every socket that the machine has bound to
 * a path at launch is masked by name, unless its directory is hidden anyway or a rule names it. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "collect.h"
#include "path.h"
#include "refuse.h"

enum { LISTING_LIMIT = 1 << 20, SOCKET_LIMIT = 128 };

/* Decided so far by the unordered list: the deepest entry at or above `path`. */
static const struct entry *deciding(const struct entries *entries, const char *path) {
    const struct entry *best = NULL;
    for (size_t i = 0; i < entries->count; i++) {
        const struct entry *entry = &entries->item[i];
        if (path_at_or_below(path, entry->path) &&
            (!best || path_below(entry->path, best->path) ||
             (strcmp(entry->path, best->path) == 0 && entry->access > best->access))) {
            best = entry;
        }
    }
    return best;
}

static bool is_hidden(const struct launch *launch, const char *path) {
    const struct entry *entry = deciding(&launch->entries, path);
    if (!entry) {
        return launch->plan.root == ROOT_MINIMAL;
    }
    bool named = strcmp(entry->path, path) == 0;
    return named || entry->access == ACCESS_NONE || entry->kind == ENTRY_TMP || entry->kind == ENTRY_MISSING;
}

/* True when the socket has to be masked, and was added. */
static bool mask_socket(struct launch *launch, const char *name) {
    char path[PATH_LIMIT];
    if (name[0] != '/' || !realpath(name, path) || is_hidden(launch, path)) {
        return false;
    }
    struct resolved place = resolve(path, &launch->roots);
    if (place.found != FOUND || !S_ISSOCK(place.st.st_mode)) {
        return false;
    }
    entries_add(&launch->entries, entry_at(&place, ACCESS_NONE, "socket of the host"));
    return true;
}

/* Num RefCount Protocol Flags Type St Inode Path: the path is what follows the seventh field. */
static const char *socket_path(const char *line) {
    for (int field = 0; field < 7; field++) {
        line += strspn(line, " ");
        line += strcspn(line, " ");
    }
    return *line == ' ' ? line + 1 : line;
}

void collect_sockets(struct launch *launch) {
    bool allowed = launch->plan.sockets == SOCKETS_PRIVATE ||
                   (launch->plan.sockets == SOCKETS_AUTO && launch->gpu_bound);
    if (!allowed) {
        return;
    }
    int fd = open("/proc/net/unix", O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        refuse("mount /proc, or set process.unix_sockets: none", "cannot list the machine's sockets");
    }
    size_t length;
    char *listing = read_limited(fd, LISTING_LIMIT, &length, "/proc/net/unix");
    close(fd);
    int masked = 0;
    char *save = NULL;
    for (char *line = strtok_r(listing, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        masked += mask_socket(launch, socket_path(line));
        if (masked > SOCKET_LIMIT) {
            refuse("deny their directories by rules", "more than %d sockets of the machine are visible", SOCKET_LIMIT);
        }
    }
}
