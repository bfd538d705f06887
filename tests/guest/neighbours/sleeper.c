// SPDX-License-Identifier: GPL-2.0
/*
 * Calls a function of the patched module, with a place in slow memory, and prints the version that ran:
 *
 *	sleeper NUMBER
 *
 * The numbers are those of the module's ioctl().
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

int main(int argc, char **argv)
{
	int file = open("/proc/neighbours", O_RDWR), version;
	void *place;

	if (argc != 2 || file < 0) {
		perror("/proc/neighbours");
		return 1;
	}
	place = mmap(NULL, 8, PROT_READ, MAP_PRIVATE, file, 0);
	if (place == MAP_FAILED) {
		perror("mmap");
		return 1;
	}
	version = ioctl(file, _IO('n', atoi(argv[1])), place);
	if (version < 0) {
		perror("ioctl");
		return 1;
	}
	puts(version ? "new" : "original");
	return 0;
}
