// Initdata: the measured configuration that a confidential guest starts with. PURE
//
// A TOML document (version, algorithm, [data] with aa.toml, cdh.toml and policy.rego) travels gzipped and base64-
// encoded in a pod annotation. Its digest is taken over the TOML's bytes as they are: one changed blank is another
// digest. Sources: kata-containers src/libs/kata-types/src/initdata.rs, guest-components attestation-agent.
#ifndef COCO_COMMON_INITDATA_H
#define COCO_COMMON_INITDATA_H

#include <jansson.h>
#include <stdbool.h>

#include "common/buf.h"
#include "common/encode.h"
#include "common/error.h"
#include "common/findings.h"
#include "common/str.h"

#define INITDATA_TOML_MAX ((size_t)1024 * 1024)
// All annotations of a pod share 256 KiB in Kubernetes; leave some to the others.
#define INITDATA_ANNOTATION_MAX ((size_t)192 * 1024)

enum initdata_algorithm { INITDATA_SHA256, INITDATA_SHA384, INITDATA_SHA512 };
// "sha256", "sha384", "sha512", in the enum's order; ends in NULL.
extern const char *const initdata_algorithm_names[];

// What to build from. Absent strings (NULL) leave their key out.
struct initdata_source {
	enum initdata_algorithm algorithm;
	const char *kbs_url; // http:// or https://
	const char *kbs_ca;  // PEM; for https only
	struct str policy;   // Rego text
	const char *image_security_policy_uri;
	const char *image_registry_credentials_uri;
	const json_t *image_extra_root_certificates; // strings, PEM; NULL for none
	const char *https_proxy, *http_proxy, *no_proxy;
};

// Appends the TOML. The same source gives the same bytes.
int initdata_build(const struct initdata_source *source, struct buf *toml, struct error *err)
	__attribute__((warn_unused_result, nonnull));

struct initdata {
	json_t *tree;        // new
	const char *version; // this and the rest borrowed from the tree
	const char *algorithm;
	struct str policy; // of policy.rego; p NULL without one
};

// Parses and checks what every consumer insists on: version 0.1.0, a known algorithm, [data] with only strings.
int initdata_parse(struct str toml, struct initdata *ret, struct error *err)
	__attribute__((warn_unused_result, nonnull));
void initdata_release(struct initdata *i) __attribute__((nonnull));
#define CLEANUP_INITDATA CLEANUP(initdata_release)

// TOML to annotation value and back.
int initdata_encode(struct str toml, struct buf *annotation, struct error *err)
	__attribute__((warn_unused_result, nonnull));
int initdata_decode(struct str annotation, struct buf *toml, struct error *err)
	__attribute__((warn_unused_result, nonnull));

// The digest as each platform's evidence shows it: cut or padded with zeros to the register's width.
struct initdata_digests {
	const char *algorithm;
	struct digest digest;
	struct digest snp_host_data;       // 32 bytes
	struct digest tdx_mr_config_id;    // 48 bytes
	struct digest cca_personalization; // 64 bytes
	// SHA-256(32 zero bytes, digest): PCR 8 of the Azure vTPM. Only for sha256: verifiers disagree about longer ones.
	struct digest azure_pcr8;
	bool has_azure_pcr8;
};

int initdata_digests(struct str toml, const char *algorithm, struct initdata_digests *ret, struct error *err)
	__attribute__((warn_unused_result, nonnull));

// Of a digest that is known, as a profile's status has it: "sha256:HEX", "sha384:HEX" or "sha512:HEX", in lower case.
int initdata_digests_parse(const char *text, struct initdata_digests *ret, struct error *err)
	__attribute__((warn_unused_result, nonnull));

// What is wrong (an error: the guest would refuse it) or dangerous or misspelled (a warning) in a TOML document.
// Never fails: a text that isn't TOML is one finding.
void initdata_lint(struct str toml, struct findings *ret) __attribute__((nonnull));

#endif
