// What our rules look at in a Pod, decoded once. PURE
//
// Text is borrowed from the JSON or the arena. Quantities stay text here: what they mean, and whether they are
// sound, is decided where they are used, with a message that names the container.
#ifndef COCO_WEBHOOK_POD_H
#define COCO_WEBHOOK_POD_H

#include <stdbool.h>
#include <stddef.h>

#include "common/json_read.h"
#include "common/str.h"

struct key_value {
	struct str key;
	struct str value;
};

struct key_values {
	struct key_value *v;
	size_t n;
	bool present; // the map is there, perhaps empty: a patch must know
};

struct amounts { // one of requests and limits
	struct str memory;
	struct str cpu;
	bool present; // the map is there
};

struct resources {
	struct amounts requests;
	struct amounts limits;
	bool present;
};

struct container {
	struct str name;
	struct str image;
	struct str restart_policy; // of an init container: "Always" makes it a native sidecar
	struct resources resources;
	struct str sub_path_mount; // the first mount that has subPath or subPathExpr; p NULL for none
	bool exec_hook;            // a probe or lifecycle hook that execs
	struct str *devices;       // names of volumes that it takes as raw block devices
	size_t ndevices;
};

struct containers {
	struct container *v;
	size_t n;
};

enum volume_kind { VOLUME_OTHER, VOLUME_MEMORY, VOLUME_HOST_PATH, VOLUME_CLAIM };

struct volume {
	struct str name;
	enum volume_kind kind;
	struct str size_limit; // of VOLUME_MEMORY; p NULL for none
};

struct owner {
	struct str api_version, kind, name;
	bool controller;
};

struct pod {
	struct str name, generate_name, ns;
	struct key_values labels;
	struct key_values annotations;
	struct owner *owners;
	size_t nowners;
	bool has_spec;
	struct str runtime_class;
	struct str os;
	bool host_network, host_pid, host_ipc;
	struct containers containers;
	struct containers init_containers;
	struct containers ephemeral_containers;
	struct volume *volumes;
	size_t nvolumes;
	struct resources resources; // of the pod as a whole (Kubernetes 1.34)
};

// Reads one value, a Pod object or null; what it is lands in ret, zeroed first. Faults stay in r.
void pod_read(struct json_read *r, struct pod *ret) __attribute__((nonnull));

// p NULL where there is none.
struct str key_values_get(const struct key_values *map, const char *key) __attribute__((nonnull));

// The pod's name, or what it will begin with.
struct str pod_display_name(const struct pod *pod) __attribute__((nonnull));

#endif
