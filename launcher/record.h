/* What fleetbox knows of one writable root between launches: a small file per root in the state directory.
 *
 * Its head says what the sandboxes that run there have agreed on, and stays; after it comes one line per
 * mountpoint that was made and must be removed. */
#ifndef FLEETBOX_RECORD_H
#define FLEETBOX_RECORD_H

#include <stdbool.h>
#include <stdint.h>

#include "mem.h"
#include "resolve.h"

uint64_t record_key(const struct root *root);

/* Opens, makes and locks it; held for moments only, so that waiting for it is bounded. -1: it stayed locked. */
int record_open(const char *dir, const struct root *root);

void record_remove(const char *dir, const struct root *root);

/* The mountpoints, relative to the root. */
struct strings record_made(int record);

bool record_is_empty(int record);

void record_add(int record, const struct strings *made);

/* Forgets the mountpoints; false when the file cannot be written. */
bool record_cut(int record);

/* Brings what was agreed on into the order that record_set needs. */
void record_sort(struct strings *agreed);

/* A hash of everything in `agreed` that lies in the root; `guarded`: there is something. */
const char *record_set(const struct strings *agreed, const struct root *root, bool *guarded);
bool record_has_set(int record, const char *set);
void record_write_set(int record, const char *set, const char *policy);

/* The policy of who wrote the set, "?" where the record does not say. */
const char *record_policy(int record);

#endif
