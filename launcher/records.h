/* Files of NUL-terminated records: a magic word, a format, the payload's length and checksum, then the payload. The
 * launch plan and the GPU map are such files. Every string that is read ends inside the bounds, or reading it refuses. */
#ifndef FLEETBOX_RECORDS_H
#define FLEETBOX_RECORDS_H

#include <stddef.h>
#include <stdint.h>

struct records {
    const char *at;
    const char *end;
    const char *what; /* for refusals: "the launch plan" */
    const char *hint;
};

/* Checks the head and leaves exactly the payload. */
void records_begin(struct records *records, const char *magic, const char *format);

const char *records_next(struct records *records);

uint32_t records_checksum(const char *bytes, size_t length);

#endif
