// How a Trustee of a version wants to be configured: what differs between versions, as one table. PURE
//
// Trustee's configuration has no version field, and most of its sections ignore keys that they don't know, those that
// secure it included; so a configuration in another version's words starts, and means something else. Read from Trustee's
// sources at the tags named (kbs/src/config.rs, admin/, plugins/implementations/resource/, attestation-service/).
#ifndef COCO_CONTROLLER_TRUSTEE_DIALECT_H
#define COCO_CONTROLLER_TRUSTEE_DIALECT_H

#include <stdbool.h>

#include "common/trustee.h"

#define TRUSTEE_NEWEST_MINOR 21 // what newer ones are taken for

enum admin_style {
	ADMIN_KEY,  // insecure_api, auth_public_key
	ADMIN_TYPE, // type = "DenyAll"
	ADMIN_MODE, // authorization_mode = "DenyAll"
};

struct trustee_dialect {
	const char *versions; // for people
	int from_minor;       // of 0.MINOR
	enum admin_style admin;
	const char *header_jwk_key;       // attestation_token: whether keys in a token's own header are believed
	const char *backend_key;          // plugins: which backend serves resources
	const char *file_backend;         // its value for files
	const char *policy_section;       // [policy_engine] policy_path; NULL: a file of the storage backend
	bool attestation_dirs;            // attestation_service.work_dir, token broker's type and policy_dir
	bool reference_values_table;      // rvps_config.storage.{type,file_path}; else rvps_config.storage_type
	bool storage_backend;             // [storage_backend]
	bool session_storage;             // session_storage_type
	bool nvidia_verifier;             // attestation_service.verifier_config.nvidia_verifier
	bool vcek_sources;                // ....snp_verifier.vcek_sources
	bool offline_collateral;          // ....dcap_verifier.collateral_service = "file://..."
	bool tls_profiles;                // http_server.tls_*
	bool healthz;                     // GET /healthz; a probe of it kills older ones
	const char *storage;              // the folder that all of these are in, and that the KBS may write to
	const char *resource_policy;      // files, where the Deployment mounts them
	const char *attestation_policies; // folder of default_cpu.rego and default_gpu.rego
	const char *repository;           // folder of resources
	const char *repository_slash;     // what stands between the parts of a resource's path in there
	const char *reference_values;
};

// Of version 0.MINOR or 1.x: the newest one that isn't newer. NULL where it is older than any.
const struct trustee_dialect *trustee_dialect_of(int major, int minor);

// What an image's tag tells of its version, such as "built-in-as-v0.19.0"; false where it tells nothing (a digest, a commit).
bool trustee_version_of_image(const char *image, int *ret_major, int *ret_minor) __attribute__((nonnull));

// Of what a spec says: its trusteeVersion, else what the tag of its image, or of the default image where it names none,
// tells, else 0.TRUSTEE_VERSION_MINOR. NULL where that is older than any.
const struct trustee_dialect *trustee_dialect_for(const struct trustee_hosting *h, const char *default_image)
	__attribute__((nonnull));

#endif
