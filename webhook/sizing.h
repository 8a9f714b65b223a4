// How large a pod's VM must be, and how the pod says so: annotation, requests, limits. PURE
//
// docs/sizing.md has the formulas with their sources. In short:
//   S images unpacked, R peak of the workload, B guest's own;   VM = max(2 S, S + R + B), within min and max.
// Tekton runs steps one after another, so R takes the largest step, and adds what runs beside it.
#ifndef COCO_WEBHOOK_SIZING_H
#define COCO_WEBHOOK_SIZING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/arena.h"
#include "common/error.h"
#include "common/profile.h"
#include "webhook/pod.h"

// What the runtime adds on top of limits: Go takes at least this much as default_memory; runtime-rs has a fixed
// overhead_memory (SNP and TDX).
#define GO_MEMORY_MIN_MIB 256
#define RS_OVERHEAD_MIB 128

struct sizing_input {
	const struct memory_policy *memory;
	const struct cpu_policy *cpu;
	const struct pod *pod;
	bool sequential;       // the containers named step-* run one after another
	struct str wanted;     // annotation memory; p NULL for none
	struct str image_size; // annotation image-size; p NULL for none
	// default_memory of the pod, where the pod carries our own work already: a size once decided stays, since what
	// it was derived from isn't there to be seen any more. 0 otherwise.
	int64_t decided_mib;
};

enum sizing_place { PLACE_POD, PLACE_CONTAINER, PLACE_INIT_CONTAINER };

// What one container, or the pod as a whole, is to have. Bytes; -1 leaves as it is.
struct sizing_target {
	enum sizing_place place;
	size_t index;
	int64_t request;
	int64_t limit;
};

// How the size came about, in bytes; sizing_sum_text() says it to people.
struct sizing_sum {
	enum { SUM_ASKED, SUM_FIXED, SUM_DECIDED, SUM_LIMITS, SUM_FORMULA } by;
	int64_t size;                   // the result
	int64_t images, workload, base; // of the formula
	int64_t containers; // what the containers' own requests and limits add up to, where that is more; else 0
};

struct sizing {
	int64_t vm_mib;
	int64_t annotation_mib; // default_memory
	int64_t vcpus;          // default_vcpus; 0 leaves the annotation out
	struct sizing_target *targets;
	size_t ntargets;
	struct sizing_sum sum;
	const char *warnings[2];
	size_t nwarnings;
};

// 0, or -EINVAL (a value in the pod or an annotation is wrong) or -E2BIG (more than the profile's max), with a
// message for the pod's author. Results live in the arena.
int sizing_of(const struct sizing_input *in, struct arena *arena, struct sizing *ret, struct error *err)
	__attribute__((warn_unused_result, nonnull));

const char *sizing_sum_text(const struct sizing_sum *sum, struct arena *arena) __attribute__((nonnull));

// The VM that a runtime arrives at, MiB: for pods that carry a size already, and for tests.
int64_t sizing_runtime_vm_mib(enum memory_sizing runtime, int64_t annotation_mib, int64_t pod_limit_bytes,
							  bool any_limit);

#endif
