#include "fuzz.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../records.h"
#include "../refuse.h"

jmp_buf fuzz_refused;

void fuzz_check(int holds, const char *what) {
    if (!holds) {
        fprintf(stderr, "fuzz: %s\n", what);
        abort();
    }
}

int fuzz_file(const uint8_t *bytes, size_t length) {
    int fd = memfd_create("fuzz", MFD_CLOEXEC);
    fuzz_check(fd >= 0 && pwrite(fd, bytes, length, 0) == (ssize_t)length, "cannot make a file");
    return fd;
}

char *fuzz_seal(const char *magic, const uint8_t *bytes, size_t length, size_t *size) {
    char head[128];
    unsigned sum = (unsigned)records_checksum((const char *)bytes, length);
    int before = snprintf(head, sizeof head, "%s%c1%c%zu%c%08x%c", magic, 0, 0, length, 0, sum, 0);
    char *whole = malloc((size_t)before + length);
    fuzz_check(whole != NULL, "no memory");
    memcpy(whole, head, (size_t)before);
    memcpy(whole + before, bytes, length);
    *size = (size_t)before + length;
    return whole;
}

void refuse_as(const char *policy, const char *command) {
    (void)policy;
    (void)command;
}

/* Formatted all the same: a bad argument would be found. */
void refuse(const char *hint, const char *format, ...) {
    char text[8192];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    fuzz_check(hint != NULL, "a refusal without a hint");
    longjmp(fuzz_refused, 1);
}

void warn(const char *format, ...) {
    (void)format;
}
