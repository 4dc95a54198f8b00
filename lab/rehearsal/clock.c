/* Shows one unit of a machine a wall clock that is wrong by REHEARSAL_CLOCK seconds. Loaded by LD_PRELOAD; no namespace
 * has a wall clock of its own, and the host's must not be touched. Other clocks, and every sleep, are the true ones. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>

static long shift(void)
{
	const char *text = getenv("REHEARSAL_CLOCK");
	return text ? atol(text) : 0;
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
	static int (*true_one)(clockid_t, struct timespec *);
	if (!true_one)
		true_one = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
	int status = true_one(clock, now);
	if (!status && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
		now->tv_sec += shift();
	return status;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
	struct timespec fine;
	(void)zone;
	clock_gettime(CLOCK_REALTIME, &fine);
	now->tv_sec = fine.tv_sec;
	now->tv_usec = fine.tv_nsec / 1000;
	return 0;
}

time_t time(time_t *there)
{
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	if (there)
		*there = now.tv_sec;
	return now.tv_sec;
}
