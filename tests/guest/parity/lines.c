// SPDX-License-Identifier: GPL-2.0
/* Lists of lines, and the differences between two of them. */
#define _GNU_SOURCE
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "player.h"

void line_add(struct lines *lines, const char *format, ...)
{
	va_list args;
	char *text;

	va_start(args, format);
	if (vasprintf(&text, format, args) < 0)
		abort();
	va_end(args);
	lines->text = realloc(lines->text, (lines->count + 1) * sizeof(*lines->text));
	if (!lines->text)
		abort();
	lines->text[lines->count++] = text;
}

static int compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

void lines_sort(struct lines *lines)
{
	if (lines->count)
		qsort(lines->text, lines->count, sizeof(*lines->text), compare);
}

void lines_tell_changes(const struct lines *before, const struct lines *now)
{
	size_t i = 0, j = 0;
	int order;

	while (i < before->count || j < now->count) {
		if (i == before->count)
			order = 1;
		else if (j == now->count)
			order = -1;
		else
			order = strcmp(before->text[i], now->text[j]);
		if (order < 0)
			printf("- %s\n", before->text[i++]);
		else if (order > 0)
			printf("+ %s\n", now->text[j++]);
		else
			i++, j++;
	}
}

void lines_free(struct lines *lines)
{
	size_t i;

	for (i = 0; i < lines->count; i++)
		free(lines->text[i]);
	free(lines->text);
	lines->text = NULL;
	lines->count = 0;
}
