// SPDX-License-Identifier: GPL-2.0
/*
 * A BPF program on functions of modules, or of the kernel ("vmlinux"), which counts calls:
 *
 *	bpf fentry|fexit|fmod_ret REQUESTS REPLIES MODULE FUNCTION [MODULE FUNCTION]...
 *
 * One of the kind "fmod_ret" does not count. It reads from user space, at the address that is the first
 * argument of the function, and may sleep there; then the function is called.
 *
 * REQUESTS and REPLIES are fifos. The first reply is empty once the program is attached, and else tells
 * the error. To "count" the reply is the number of calls so far; to anything else the program is
 * detached, and the reply is empty.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/btf.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

/* How many functions one program can be on. */
#define MAX_FUNCTIONS 8

static const char *replies;

static void reply(const char *format, ...)
{
	FILE *file = fopen(replies, "w");
	va_list args;

	if (!file)
		exit(1);
	va_start(args, format);
	vfprintf(file, format, args);
	va_end(args);
	fclose(file);
}

static void fail(const char *what)
{
	reply("%s: %s\n", what, strerror(errno));
	exit(1);
}

static int bpf(int command, union bpf_attr *attr)
{
	return syscall(SYS_bpf, command, attr, sizeof(*attr));
}

/* --- type information --------------------------------------------------------------------------- */

struct types {
	char *data;
	const struct btf_header *header;
};

static struct types read_types(const char *name)
{
	struct types types;
	char path[256];
	struct stat stat;
	ssize_t size = 0;
	int fd;

	snprintf(path, sizeof(path), "/sys/kernel/btf/%s", name);
	fd = open(path, O_RDONLY);
	if (fd < 0 || fstat(fd, &stat))
		fail(path);
	types.data = malloc(stat.st_size);
	while (types.data && size < stat.st_size) {
		ssize_t more = read(fd, types.data + size, stat.st_size - size);

		if (more <= 0)
			fail(path);
		size += more;
	}
	close(fd);
	if (!types.data)
		fail(path);
	types.header = (const struct btf_header *)types.data;
	return types;
}

static size_t size_of(const struct btf_type *type)
{
	size_t members = BTF_INFO_VLEN(type->info), more = 0;

	switch (BTF_INFO_KIND(type->info)) {
	case BTF_KIND_INT:
	case BTF_KIND_VAR:
	case BTF_KIND_DECL_TAG:
		more = 4;
		break;
	case BTF_KIND_ARRAY:
		more = sizeof(struct btf_array);
		break;
	case BTF_KIND_STRUCT:
	case BTF_KIND_UNION:
	case BTF_KIND_DATASEC:
	case BTF_KIND_ENUM64:
		more = 12 * members;
		break;
	case BTF_KIND_ENUM:
	case BTF_KIND_FUNC_PROTO:
		more = 8 * members;
		break;
	}
	return sizeof(*type) + more;
}

/*
 * The number of the function's type, counted from 1, or how many types there are. A module's names are in
 * one space with those of the kernel, which come first and take up `names_before`.
 */
static uint32_t find(struct types types, uint32_t names_before, const char *function)
{
	const struct btf_header *header = types.header;
	const char *start = types.data + header->hdr_len;
	const char *at = start + header->type_off, *end = at + header->type_len;
	uint32_t number = 0;

	while (at < end) {
		const struct btf_type *type = (const struct btf_type *)at;
		uint32_t name = type->name_off - names_before;

		number++;
		if (function && BTF_INFO_KIND(type->info) == BTF_KIND_FUNC &&
		    type->name_off >= names_before &&
		    !strcmp(start + header->str_off + name, function))
			return number;
		at += size_of(type);
	}
	if (function) {
		errno = ENOENT;
		fail(function);
	}
	return number;
}

static bool is_kernel(const char *module)
{
	return !strcmp(module, "vmlinux");
}

static uint32_t function_type(const char *module, const char *function)
{
	struct types kernel = read_types("vmlinux");

	if (is_kernel(module))
		return find(kernel, 0, function);
	return find(kernel, 0, NULL) + find(read_types(module), kernel.header->str_len, function);
}

/* What stands for all types of a module. */
static int module_types(const char *module)
{
	uint32_t id = 0;

	for (;;) {
		union bpf_attr next = { .start_id = id };
		char name[64] = "";
		struct bpf_btf_info info = { .name = (uintptr_t)name, .name_len = sizeof(name) };
		union bpf_attr get = {}, tell = {};
		int fd;

		if (bpf(BPF_BTF_GET_NEXT_ID, &next))
			fail(module);
		id = next.next_id;
		get.btf_id = id;
		fd = bpf(BPF_BTF_GET_FD_BY_ID, &get);
		if (fd < 0)
			fail("cannot open types");
		tell.info.bpf_fd = fd;
		tell.info.info_len = sizeof(info);
		tell.info.info = (uintptr_t)&info;
		if (bpf(BPF_OBJ_GET_INFO_BY_FD, &tell))
			fail("cannot tell types");
		if (!strcmp(name, module))
			return fd;
		close(fd);
	}
}

/* --- the program -------------------------------------------------------------------------------- */

static int make_counter(void)
{
	union bpf_attr attr = {
		.map_type = BPF_MAP_TYPE_ARRAY,
		.key_size = 4,
		.value_size = 8,
		.max_entries = 1,
	};
	int fd = bpf(BPF_MAP_CREATE, &attr);

	if (fd < 0)
		fail("cannot make a map");
	return fd;
}

static uint64_t count(int counter)
{
	uint32_t key = 0;
	uint64_t value = 0;
	union bpf_attr attr = {
		.map_fd = counter,
		.key = (uintptr_t)&key,
		.value = (uintptr_t)&value,
	};

	if (bpf(BPF_MAP_LOOKUP_ELEM, &attr))
		fail("cannot look at the map");
	return value;
}

/* A kind of program, and how it is loaded. */
struct kind {
	const char *name;
	uint32_t attach_type;
	uint32_t flags;
	const struct bpf_insn *program;
	uint32_t length;
};

static int load(const struct kind *kind, const char *module, const char *function)
{
	union bpf_attr attr = {
		.prog_type = BPF_PROG_TYPE_TRACING,
		.expected_attach_type = kind->attach_type,
		.prog_flags = kind->flags,
		.insns = (uintptr_t)kind->program,
		.insn_cnt = kind->length,
		.license = (uintptr_t)"GPL",
		.attach_btf_id = function_type(module, function),
	};
	int fd;

	/* Without one, it is a function of the kernel. */
	if (!is_kernel(module))
		attr.attach_btf_obj_fd = module_types(module);
	fd = bpf(BPF_PROG_LOAD, &attr);
	if (fd < 0)
		fail("the program is refused");
	return fd;
}

static int attach(int program)
{
	union bpf_attr attr = { .raw_tracepoint.prog_fd = program };
	int fd = bpf(BPF_RAW_TRACEPOINT_OPEN, &attr);

	if (fd < 0)
		fail("not attached");
	return fd;
}

/* Whether the next request is to count. */
static bool is_to_count(const char *requests)
{
	char text[16] = "";
	FILE *file = fopen(requests, "r");

	if (!file)
		exit(1);
	fgets(text, sizeof(text), file);
	fclose(file);
	return !strcmp(text, "count\n");
}

int main(int argc, char **argv)
{
	int counter = make_counter();
	const struct bpf_insn count_call[] = {
		/* r1 = &value; the second half is the offset in the map */
		{ .code = BPF_LD | BPF_DW | BPF_IMM, .dst_reg = 1,
		  .src_reg = BPF_PSEUDO_MAP_VALUE, .imm = counter },
		{ .imm = 0 },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 2, .imm = 1 },
		{ .code = BPF_STX | BPF_ATOMIC | BPF_DW, .dst_reg = 1, .src_reg = 2, .imm = BPF_ADD },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .imm = 0 },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	const struct bpf_insn read_user[] = {
		/* r3 = the function's first argument */
		{ .code = BPF_LDX | BPF_MEM | BPF_DW, .dst_reg = 3, .src_reg = 1 },
		/* bpf_copy_from_user(r10 - 8, 8, r3) */
		{ .code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = 1, .src_reg = 10 },
		{ .code = BPF_ALU64 | BPF_ADD | BPF_K, .dst_reg = 1, .imm = -8 },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 2, .imm = 8 },
		{ .code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_copy_from_user },
		/* 0: the function itself is to say what it returns */
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .imm = 0 },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	const struct kind kinds[] = {
		{ "fentry", BPF_TRACE_FENTRY, 0, count_call, LENGTH(count_call) },
		{ "fexit", BPF_TRACE_FEXIT, 0, count_call, LENGTH(count_call) },
		{ "fmod_ret", BPF_MODIFY_RETURN, BPF_F_SLEEPABLE, read_user, LENGTH(read_user) },
	};
	const struct kind *kind = kinds;
	int links[MAX_FUNCTIONS], count_links = 0;

	if (argc < 6)
		return 1;
	replies = argv[3];
	while (strcmp(kind->name, argv[1]))
		if (++kind == kinds + LENGTH(kinds))
			return 1;
	for (int i = 4; i + 1 < argc && count_links < MAX_FUNCTIONS; i += 2)
		links[count_links++] = attach(load(kind, argv[i], argv[i + 1]));
	reply("");
	while (is_to_count(argv[2]))
		reply("%llu\n", (unsigned long long)count(counter));
	/* They are detached when this returns. */
	while (count_links)
		close(links[--count_links]);
	reply("");
	return 0;
}
