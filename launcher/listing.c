#include "listing.h"

#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static bool is_itself(const char *name) {
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

bool each_name(int dir, bool (*act)(void *context, const struct name *name), void *context) {
    _Alignas(struct name) char buffer[32 * 1024];
    long length;
    while ((length = syscall(SYS_getdents64, dir, buffer, sizeof buffer)) > 0) {
        const struct name *name;
        for (long at = 0; at < length; at += name->length) {
            name = (const struct name *)(const void *)(buffer + at);
            if (!is_itself(name->text) && !act(context, name)) {
                return true;
            }
        }
    }
    return length == 0;
}
