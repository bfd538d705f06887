/* SPDX-License-Identifier: GPL-2.0 */
/*
 * BPF programs on functions, created only with system calls and the kernel's type information. After a
 * failure, errno has the reason and bpf_failed names the failed step.
 */
#ifndef SHARED_BPF_H
#define SHARED_BPF_H

#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/btf.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static const char *bpf_failed;

static inline int bpf_fail(const char *what)
{
	bpf_failed = what;
	return -1;
}

static inline int bpf(int command, union bpf_attr *attr)
{
	return syscall(SYS_bpf, command, attr, sizeof(*attr));
}

/* --- type information --------------------------------------------------------------------------- */

struct bpf_types {
	char *data;
	const struct btf_header *header;
};

static inline int bpf_read_types(const char *name, struct bpf_types *types)
{
	char path[256];
	struct stat stat;
	ssize_t size = 0, more = 1;
	int fd;

	snprintf(path, sizeof(path), "/sys/kernel/btf/%s", name);
	fd = open(path, O_RDONLY);
	if (fd < 0)
		return bpf_fail("no type information");
	types->data = fstat(fd, &stat) ? NULL : malloc(stat.st_size);
	while (types->data && size < stat.st_size && more > 0) {
		more = read(fd, types->data + size, stat.st_size - size);
		size += more;
	}
	close(fd);
	if (!types->data || more <= 0) {
		free(types->data);
		return bpf_fail("cannot read type information");
	}
	types->header = (const struct btf_header *)types->data;
	return 0;
}

static inline size_t bpf_size_of_type(const struct btf_type *type)
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
 * Returns the number of the function's type, counted from 1, or 0 if there is none. Without a function, it
 * returns the number of types. A module's names share one space with the kernel's names, which come first
 * and occupy "names_before".
 */
static inline uint32_t bpf_number(const struct bpf_types *types, uint32_t names_before,
				  const char *function)
{
	const struct btf_header *header = types->header;
	const char *start = types->data + header->hdr_len;
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
		at += bpf_size_of_type(type);
	}
	return function ? 0 : number;
}

/* Returns a file that stands for all types of a module. */
static inline int bpf_open_types(const char *module)
{
	uint32_t id = 0;

	for (;;) {
		union bpf_attr next = { .start_id = id };
		char name[64] = "";
		struct bpf_btf_info info = { .name = (uintptr_t)name, .name_len = sizeof(name) };
		union bpf_attr get = {}, tell = {};
		int fd;

		if (bpf(BPF_BTF_GET_NEXT_ID, &next))
			return bpf_fail("no types of the module");
		id = next.next_id;
		get.btf_id = id;
		fd = bpf(BPF_BTF_GET_FD_BY_ID, &get);
		if (fd < 0) {
			/* The types belong to another module, which is gone by now. */
			if (errno == ENOENT)
				continue;
			return bpf_fail("cannot open types");
		}
		tell.info.bpf_fd = fd;
		tell.info.info_len = sizeof(info);
		tell.info.info = (uintptr_t)&info;
		if (bpf(BPF_OBJ_GET_INFO_BY_FD, &tell)) {
			close(fd);
			return bpf_fail("cannot tell types");
		}
		if (!strcmp(name, module))
			return fd;
		close(fd);
	}
}

/*
 * A function of a module, or of the kernel itself ("vmlinux"), in the form in which programs name it. It
 * stays valid while the module is loaded.
 */
struct bpf_place {
	/* A file, or 0 for the kernel. */
	int types;
	uint32_t type;
};

static inline int bpf_find(const char *module, const char *function, struct bpf_place *place)
{
	struct bpf_types kernel, own;
	uint32_t number;

	if (bpf_read_types("vmlinux", &kernel))
		return -1;
	if (!strcmp(module, "vmlinux")) {
		place->types = 0;
		place->type = bpf_number(&kernel, 0, function);
		free(kernel.data);
		errno = ENOENT;
		return place->type ? 0 : bpf_fail(function);
	}
	if (bpf_read_types(module, &own)) {
		free(kernel.data);
		return -1;
	}
	number = bpf_number(&own, kernel.header->str_len, function);
	place->type = bpf_number(&kernel, 0, NULL) + number;
	free(kernel.data);
	free(own.data);
	if (!number) {
		errno = ENOENT;
		return bpf_fail(function);
	}
	place->types = bpf_open_types(module);
	return place->types < 0 ? -1 : 0;
}

/* --- the program -------------------------------------------------------------------------------- */

static inline int bpf_make_counter(void)
{
	union bpf_attr attr = {
		.map_type = BPF_MAP_TYPE_ARRAY,
		.key_size = 4,
		.value_size = 8,
		.max_entries = 1,
	};
	int fd = bpf(BPF_MAP_CREATE, &attr);

	return fd < 0 ? bpf_fail("cannot make a map") : fd;
}

static inline int bpf_count(int counter, uint64_t *value)
{
	uint32_t key = 0;
	union bpf_attr attr = {
		.map_fd = counter,
		.key = (uintptr_t)&key,
		.value = (uintptr_t)value,
	};

	return bpf(BPF_MAP_LOOKUP_ELEM, &attr) ? bpf_fail("cannot look at the map") : 0;
}

static inline int bpf_load(enum bpf_attach_type type, uint32_t flags, const struct bpf_place *place,
			   const struct bpf_insn *program, uint32_t length)
{
	union bpf_attr attr = {
		.prog_type = BPF_PROG_TYPE_TRACING,
		.expected_attach_type = type,
		.prog_flags = flags,
		.insns = (uintptr_t)program,
		.insn_cnt = length,
		.license = (uintptr_t)"GPL",
		.attach_btf_id = place->type,
		.attach_btf_obj_fd = place->types,
	};
	int fd = bpf(BPF_PROG_LOAD, &attr);

	return fd < 0 ? bpf_fail("the program is refused") : fd;
}

/* Loads a program that counts and returns 0. For BPF_MODIFY_RETURN, 0 lets the call pass. */
static inline int bpf_load_counting(enum bpf_attach_type type, const struct bpf_place *place, int counter)
{
	const struct bpf_insn program[] = {
		/* r1 = &value; the second half is the offset in the map */
		{ .code = BPF_LD | BPF_DW | BPF_IMM, .dst_reg = 1,
		  .src_reg = BPF_PSEUDO_MAP_VALUE, .imm = counter },
		{ .imm = 0 },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 2, .imm = 1 },
		{ .code = BPF_STX | BPF_ATOMIC | BPF_DW, .dst_reg = 1, .src_reg = 2, .imm = BPF_ADD },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .imm = 0 },
		{ .code = BPF_JMP | BPF_EXIT },
	};

	return bpf_load(type, 0, place, program, sizeof(program) / sizeof(program[0]));
}

/*
 * Loads a program that reads where the function's first argument points to, and sleeps until that is
 * there.
 */
static inline int bpf_load_reading(const struct bpf_place *place)
{
	const struct bpf_insn program[] = {
		/* r3 = the function's first argument */
		{ .code = BPF_LDX | BPF_MEM | BPF_DW, .dst_reg = 3, .src_reg = 1 },
		/* bpf_copy_from_user(r10 - 8, 8, r3) */
		{ .code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = 1, .src_reg = 10 },
		{ .code = BPF_ALU64 | BPF_ADD | BPF_K, .dst_reg = 1, .imm = -8 },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 2, .imm = 8 },
		{ .code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_copy_from_user },
		/* Returns 0: the function itself decides its result. */
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .imm = 0 },
		{ .code = BPF_JMP | BPF_EXIT },
	};

	return bpf_load(BPF_MODIFY_RETURN, BPF_F_SLEEPABLE, place, program,
			sizeof(program) / sizeof(program[0]));
}

/* Runs a loaded program at its place until the returned file is closed. */
static inline int bpf_start(int program)
{
	union bpf_attr attr = {};
	int link, error;

	if (program < 0)
		return -1;
	attr.raw_tracepoint.prog_fd = program;
	link = bpf(BPF_RAW_TRACEPOINT_OPEN, &attr);
	error = errno;
	close(program);
	errno = error;
	return link < 0 ? bpf_fail("not attached") : link;
}

static inline int bpf_attach(enum bpf_attach_type type, const struct bpf_place *place, int counter)
{
	return bpf_start(bpf_load_counting(type, place, counter));
}

#endif
