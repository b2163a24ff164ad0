#include "small.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

ssize_t small_read(int dir, const char *path, char *text, size_t size) {
    int fd = openat(dir, path, O_RDONLY | O_CLOEXEC);
    ssize_t length = fd < 0 ? -1 : read(fd, text, size - 1);
    if (fd >= 0) {
        close(fd);
    }
    text[length > 0 ? length : 0] = '\0';
    return length;
}

ssize_t small_read_children(char *text, size_t size) {
    char path[64];
    snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    return small_read(AT_FDCWD, path, text, size);
}
