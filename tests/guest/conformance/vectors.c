// SPDX-License-Identifier: GPL-2.0
/*
 * Keeps floating-point and vector registers full across page faults whose handler calls the patched
 * functions. If no register has changed, it prints the version that ran in the faults.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGES 64
#define ROUNDS 20
#define REGISTERS 16

typedef uint64_t vector __attribute__((vector_size(16)));

/*
 * Volatile, so that all are read before the page is touched and written after it. In between they are only
 * in registers.
 */
static volatile double doubles[REGISTERS], doubles_after[REGISTERS];
static volatile vector vectors[REGISTERS], vectors_after[REGISTERS];

#define HOLD(type, name)								\
static __attribute__((noinline)) int hold_##name(const volatile int *page)		\
{											\
	type r0 = name[0], r1 = name[1], r2 = name[2], r3 = name[3];			\
	type r4 = name[4], r5 = name[5], r6 = name[6], r7 = name[7];			\
	type r8 = name[8], r9 = name[9], r10 = name[10], r11 = name[11];		\
	type r12 = name[12], r13 = name[13], r14 = name[14], r15 = name[15];		\
	int version = *page;								\
											\
	name##_after[0] = r0, name##_after[1] = r1, name##_after[2] = r2;		\
	name##_after[3] = r3, name##_after[4] = r4, name##_after[5] = r5;		\
	name##_after[6] = r6, name##_after[7] = r7, name##_after[8] = r8;		\
	name##_after[9] = r9, name##_after[10] = r10, name##_after[11] = r11;		\
	name##_after[12] = r12, name##_after[13] = r13, name##_after[14] = r14;		\
	name##_after[15] = r15;								\
	return version;									\
}

HOLD(double, doubles)
HOLD(vector, vectors)

/* Sets all bits, so that some of the doubles are not numbers. */
static void fill(uint64_t seed)
{
	for (int i = 0; i < REGISTERS; i++) {
		uint64_t bits = (seed + i) * 0x9e3779b97f4a7c15 >> 2;
		vector v = { bits, ~bits * 3 };
		double d;

		memcpy(&d, &bits, sizeof(d));
		doubles[i] = d;
		vectors[i] = v;
		doubles_after[i] = 0;
		vectors_after[i] = (vector) { 0, 0 };
	}
}

static int unchanged(void)
{
	return !memcmp((void *)doubles, (void *)doubles_after, sizeof(doubles));
}

static int vectors_unchanged(void)
{
	return !memcmp((void *)vectors, (void *)vectors_after, sizeof(vectors));
}

static int wrong(const char *what)
{
	puts(what);
	return 1;
}

int main(void)
{
	static const char *const names[] = { "original", "patched" };
	size_t size = sysconf(_SC_PAGESIZE);
	int file = open("/proc/conformance/page", O_RDONLY);
	int seen = -1;

	for (int round = 0; round < ROUNDS; round++) {
		char *pages = mmap(NULL, PAGES * size, PROT_READ, MAP_PRIVATE, file, 0);

		if (pages == MAP_FAILED)
			return wrong("no memory of the driver's");
		for (int i = 0; i < PAGES; i++) {
			volatile int *page = (volatile int *)(pages + i * size);
			int version;

			fill(round * PAGES + i);
			if (i % 2) {
				version = hold_doubles(page);
				if (!unchanged())
					return wrong("a floating-point register has changed");
			} else {
				version = hold_vectors(page);
				if (!vectors_unchanged())
					return wrong("a vector register has changed");
			}
			if (version != 0 && version != 1)
				return wrong("a call in a fault went wrong");
			if (seen >= 0 && version != seen)
				return wrong("calls in faults differ");
			seen = version;
		}
		munmap(pages, PAGES * size);
	}
	puts(names[seen]);
	return 0;
}
