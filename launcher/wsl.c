#include "wsl.h"

#include <ctype.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>

#include "small.h"

enum { VERSION_LIMIT = 1024 };

/* The first "wsl" with digits decides; without any, Microsoft's name without "-standard" means WSL1. */
int wsl_of(const char *version_text) {
    char text[VERSION_LIMIT];
    size_t length = 0;
    for (; version_text[length] && length < sizeof text - 1; length++) {
        text[length] = (char)tolower((unsigned char)version_text[length]);
    }
    text[length] = '\0';
    for (const char *at = text; (at = strstr(at, "wsl")); at += 3) {
        size_t digits = strspn(at + 3, "0123456789");
        if (digits) {
            bool one = at[2 + digits] == '1' && strspn(at + 3, "0") == digits - 1;
            return one ? 1 : 2;
        }
    }
    if (!strstr(text, "microsoft")) {
        return 0;
    }
    return strstr(text, "microsoft-standard") ? 2 : 1;
}

int wsl_here(void) {
    char text[VERSION_LIMIT];
    small_read(AT_FDCWD, "/proc/version", text, sizeof text);
    return wsl_of(text);
}
