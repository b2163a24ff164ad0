/* The record of mountpoints: what a crash, a full disk or another version may have left. */
#include "../record.h"

#include <string.h>
#include <unistd.h>

#include "../path.h"
#include "../plan.h"
#include "fuzz.h"

/* What is written is read again as it was, whatever bytes a workload has put into names. */
static void write_again(const struct strings *made) {
    static int fresh = -1;
    fresh = fresh < 0 ? fuzz_file((const uint8_t *)"", 0) : fresh;
    fuzz_check(ftruncate(fresh, 0) == 0, "cannot empty a file");
    record_add(fresh, made);
    struct strings again = record_made(fresh);
    fuzz_check(again.count == made->count, "more or fewer names than were written");
    for (size_t i = 0; i < made->count; i++) {
        fuzz_check(strcmp(again.item[i], made->item[i]) == 0, "another name than was written");
    }
}

static void read_all(int fd) {
    struct strings made = record_made(fd);
    for (size_t i = 0; i < made.count; i++) {
        fuzz_check(path_is_relative(made.item[i]), "a mountpoint that leads elsewhere");
    }
    const char *policy = record_policy(fd);
    fuzz_check(plan_is_name(policy) || strcmp(policy, "?") == 0, "an odd policy");
    record_has_set(fd, "set 0123456789abcdef");
    record_is_empty(fd);
    record_add(fd, &made);
    write_again(&made);
    record_cut(fd);
    fuzz_check(record_is_empty(fd), "cut and not empty");
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length) {
    int fd = fuzz_file(bytes, length);
    if (setjmp(fuzz_refused) == 0) {
        read_all(fd);
    }
    close(fd);
    fuzz_forget();
    return 0;
}
