#include "mountinfo.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "files.h"
#include "mem.h"

enum { TABLE_LIMIT = 4 * 1024 * 1024 };

void mountinfo_unescape(char *text) {
    char *to = text;
    for (char *from = text; *from; to++) {
        if (from[0] == '\\' && strspn(from + 1, "01234567") >= 3) {
            *to = (char)((from[1] - '0') << 6 | (from[2] - '0') << 3 | (from[3] - '0'));
            from += 4;
        } else {
            *to = *from++;
        }
    }
    *to = '\0';
}

/* "ID PARENT MAJOR:MINOR ROOT PLACE OPTIONS ...": the options begin with "rw" or "ro". */
static bool read_line(struct mount *mount, char *line) {
    enum { DEVICE = 2, ROOT, PLACE, OPTIONS, FIELDS };
    char *field[FIELDS];
    for (int i = 0; i < FIELDS; i++) {
        field[i] = cut(&line, ' ');
        if (!field[i]) {
            return false;
        }
    }
    mountinfo_unescape(field[PLACE]);
    mountinfo_unescape(field[ROOT]);
    bool writable = strncmp(field[OPTIONS], "rw", 2) == 0;
    *mount = (struct mount){.path = field[PLACE], .device = field[DEVICE], .root = field[ROOT], .writable = writable};
    return true;
}

bool mountinfo_read(struct mounts *mounts) {
    int fd = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    size_t length;
    char *text = read_limited(fd, TABLE_LIMIT, &length, "the mount table");
    close(fd);
    for (char *line; (line = cut(&text, '\n'));) {
        struct mount mount;
        if (read_line(&mount, line)) {
            mount.number = mounts->count;
            mounts->item = mem_grow(mounts->item, mounts->count, &mounts->room, sizeof *mounts->item);
            mounts->item[mounts->count++] = mount;
        }
    }
    return true;
}
