/* Of the launcher with sanitizers only. Its environment is its caller's, so the options are built in. */

const char *__asan_default_options(void);

/* A leak is none: memory is never freed, because a launch is short. */
const char *__asan_default_options(void) {
    return "detect_leaks=0:abort_on_error=1:handle_segv=1";
}
