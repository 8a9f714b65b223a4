// ConfidentialProfile: how the pods that use it are made confidential. PURE
//
// A profile is decoded once (profile_decode) and compiled once (profile_compile): initdata assembled, packed and
// hashed, so that an admission copies a finished annotation. A compiled profile is immutable and shared by
// reference counting, across threads.
#ifndef COCO_COMMON_PROFILE_H
#define COCO_COMMON_PROFILE_H

#include <jansson.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/agent_policy.h"
#include "common/error.h"
#include "common/initdata.h"
#include "common/spec_part.h"

enum memory_mode { MEMORY_AUTO, MEMORY_FIXED, MEMORY_FROM_LIMITS };
enum memory_sizing { SIZING_CRIO, SIZING_CONTAINERD_GO, SIZING_RUNTIME_RS };
enum memory_accounting { ACCOUNTING_CONTAINER, ACCOUNTING_POD };

struct memory_policy {
	int mode; // enum memory_mode, and so on: decoded by name
	int sizing;
	int accounting;
	int64_t vm; // bytes, as all below; 0 unless Fixed
	int64_t min, max;
	int64_t image_size;
	int64_t base;
	bool fill_others;
};

enum cpu_mode { CPU_OFF, CPU_AUTO, CPU_FIXED };

struct cpu_policy {
	int mode;
	int64_t vcpus; // 0 unless Fixed
};

enum strictness { STRICT_DENY, STRICT_WARN, STRICT_OFF };

struct admission_policy {
	int foreign_annotations; // never Off
	int host_path, sub_path, require_image_digest;
};

struct profile_spec {
	const char *runtime_class;
	const json_t *allowed_runtime_classes; // strings, or NULL
	struct {
		int algorithm;
		bool algorithm_given;
		struct {
			const char *name;
			const char *ns;
		} trustee;
		bool trustee_given;
		struct object_key_ref config_map;
		struct {
			const char *url;
			const char *ca_bundle;
			struct object_key_ref ca_config_map;
		} kbs;
		bool kbs_given;
		struct {
			int preset;
			bool preset_given;
			struct object_key_ref config_map;
		} agent_policy;
		bool agent_policy_given;
		struct {
			const char *security_policy_uri;
			const char *registry_credentials_uri;
			const json_t *extra_root_certificates;
			struct {
				const char *https_proxy, *http_proxy, *no_proxy;
			} proxy;
		} image;
		bool image_given;
	} initdata;
	struct memory_policy memory;
	struct cpu_policy cpu;
	struct admission_policy admission;
};

// Defaults, then the object's spec. Everything that can be told without other objects is checked: types, enums,
// one source of initdata, min <= max, Fixed with vm, URLs. Borrows from object.
int profile_decode(const json_t *object, struct profile_spec *ret, struct error *err)
	__attribute__((warn_unused_result, nonnull));

// The text at a key of a ConfigMap, borrowed; p NULL with err set where there is none.
typedef struct str (*profile_config_map_fn)(void *ctx, const char *ns, const char *name, const char *key,
											struct error *err);

// The ConfigMaps that compiling the profile asks for; none where it can't be decoded.
void profile_config_maps(const json_t *object, const char *default_ns,
						 void (*emit)(void *ctx, const char *ns, const char *name), void *ctx)
	__attribute__((nonnull(1, 2, 3)));

struct profile {
	atomic_uint refs;
	json_t *object; // what spec borrows from
	char *ns;
	const char *name;
	int64_t generation;
	struct profile_spec spec;
	char *toml; // initdata
	size_t toml_n;
	char *annotation; // finished value of cc_init_data
	size_t annotation_n;
	// The same as a JSON string, and the base64 of that with blanks behind it, up to a multiple of three bytes: an
	// answer carries its patch in base64, and this is most of it.
	char *annotation_json;
	size_t annotation_json_n;
	char *annotation_json64;
	size_t annotation_json64_n;
	char *digest; // "sha256:<hex>"
	struct initdata_digests digests;
	bool allows_exec;
	char *caution; // what is dangerous about initdata that was written by hand, for a warning; NULL for nothing
};

// Compiles one ConfidentialProfile object; new reference, NULL with err on error. Of another object: ENOENT where a
// ConfigMap or its key isn't there, ENXIO where a Trustee isn't known. All else is wrong in what there is.
struct profile *profile_compile(json_t *object, const char *default_ns, profile_config_map_fn config_map, void *ctx,
								struct error *err) __attribute__((warn_unused_result, nonnull(1, 2, 3, 5)));

struct profile *profile_ref(struct profile *p) __attribute__((nonnull));
void profile_unref(struct profile *p); // NULL is fine

// Where the controller publishes how to reach a Trustee that it runs: a ConfigMap of this name in the Trustee's
// namespace, with keys "url" and, for https with a private CA, "ca.crt".
#define TRUSTEE_ENDPOINT_PREFIX "trustee-endpoint-"

#endif
