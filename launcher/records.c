#include "records.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "refuse.h"

const char *records_next(struct records *records) {
    const char *start = records->at;
    const char *stop = memchr(start, '\0', (size_t)(records->end - start));
    if (!stop) {
        refuse(records->hint, "%s is truncated", records->what);
    }
    records->at = stop + 1;
    return start;
}

uint32_t records_checksum(const char *bytes, size_t length) {
    uint32_t table[16];
    for (uint32_t i = 0; i < 16; i++) {
        uint32_t value = i;
        for (int bit = 0; bit < 4; bit++) {
            value = (value >> 1) ^ (value & 1 ? UINT32_C(0xedb88320) : 0);
        }
        table[i] = value;
    }
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < length; i++) {
        crc ^= (unsigned char)bytes[i];
        crc = (crc >> 4) ^ table[crc & 15];
        crc = (crc >> 4) ^ table[crc & 15];
    }
    return ~crc;
}

void records_begin(struct records *records, const char *magic, const char *wanted_format) {
    if (strcmp(records_next(records), magic) != 0) {
        refuse(records->hint, "%s does not begin as one", records->what);
    }
    const char *format = records_next(records);
    if (strcmp(format, wanted_format) != 0) {
        refuse("update the launcher, or what made it", "%s is of format %.20s, not %s", records->what, format, wanted_format);
    }
    const char *length = records_next(records);
    const char *sum = records_next(records);
    size_t rest = (size_t)(records->end - records->at);
    char wanted[32];
    snprintf(wanted, sizeof wanted, "%zu", rest);
    if (strcmp(length, wanted) != 0) {
        refuse(records->hint, "%s is truncated or has trailing bytes: %zu bytes, not %.20s", records->what, rest, length);
    }
    snprintf(wanted, sizeof wanted, "%08x", (unsigned)records_checksum(records->at, rest));
    if (strcmp(sum, wanted) != 0) {
        refuse(records->hint, "%s is corrupted: its checksum does not match", records->what);
    }
}
