// SPDX-License-Identifier: GPL-2.0
/* Helpers for every part of the program. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "company.h"
#include "stress.h"

void give_up(const char *format, ...)
{
	static bool again;
	va_list list;

	printf("# | ");
	va_start(list, format);
	vprintf(format, list);
	va_end(list);
	printf("\n");
	fflush(stdout);
	if (in_company)
		_exit(1);
	if (!again) {
		again = true;
		tell();
	}
	exit(1);
}

const char *text(const char *format, ...)
{
	static char buffers[4][160];
	static unsigned int next;
	char *buffer = buffers[next++ % 4];
	va_list list;

	va_start(list, format);
	vsnprintf(buffer, sizeof(buffers[0]), format, list);
	va_end(list);
	return buffer;
}

int put_with(const char *path, int flags, const char *what)
{
	int file = open(path, O_WRONLY | flags);
	int error = 0;

	if (file < 0)
		return errno;
	if (write(file, what, strlen(what)) < 0)
		error = errno;
	close(file);
	return error;
}

int put(const char *path, const char *what)
{
	return put_with(path, 0, what);
}

void must_put(const char *path, const char *what)
{
	int error = put(path, what);

	if (error)
		give_up("writing %s to %s: %s", what, path, strerror(error));
}

int number(const char *path)
{
	FILE *file = fopen(path, "r");
	int value = -1;

	if (!file)
		return -1;
	if (fscanf(file, "%d", &value) != 1)
		value = -1;
	fclose(file);
	return value;
}

uint64_t seed;

unsigned int any(unsigned int end)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (seed >> 32) % end;
}

double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec + now.tv_nsec / 1e9;
}

void nap(unsigned int ms)
{
	struct timespec time = { ms / 1000, ms % 1000 * 1000000L };

	nanosleep(&time, NULL);
}
