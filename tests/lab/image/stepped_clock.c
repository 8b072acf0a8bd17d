/* A wall clock that a test steps: a program that preloads this library sees the time of the machine plus the seconds in
 * the file that STEPPED_CLOCK names. Everything else about time, the monotonic clock and every wait, stays as it is. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const char *offset_file;

__attribute__((constructor)) static void remember(void) { offset_file = getenv("STEPPED_CLOCK"); }

static long offset(void) {
    char text[32] = "";
    const int error = errno, file = offset_file == NULL ? -1 : open(offset_file, O_RDONLY | O_CLOEXEC);
    if (file >= 0) {
        if (read(file, text, sizeof text - 1) < 0) text[0] = '\0';
        close(file);
    }
    const long seconds = strtol(text, NULL, 10);
    errno = error;
    return seconds;
}

int clock_gettime(clockid_t clock, struct timespec *result) {
    const int failed = syscall(SYS_clock_gettime, clock, result);
    if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) result->tv_sec += offset();
    return failed;
}

int gettimeofday(struct timeval *restrict result, void *restrict zone) {
    const int failed = syscall(SYS_gettimeofday, result, zone);
    if (!failed) result->tv_sec += offset();
    return failed;
}

time_t time(time_t *result) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (result != NULL) *result = now.tv_sec;
    return now.tv_sec;
}
