// What is wrong with a cluster: findings from objects as they were read. No I/O; cmd_doctor.c asks the cluster.
#ifndef COCO_CLI_DOCTOR_H
#define COCO_CLI_DOCTOR_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/error.h"
#include "common/kube/client.h"

enum doctor_status {
	DOCTOR_OK,
	DOCTOR_WARN,
	DOCTOR_FAIL,
	DOCTOR_SKIPPED,   // there is nothing to check
	DOCTOR_UNCHECKED, // one may not, or can't, look
	DOCTOR_STATUS_MAX,
};
extern const char *const doctor_status_names[]; // "ok", "warning", "failed", "skipped", "not checked"

struct doctor_check {
	enum doctor_status status;
	char *check;  // such as "RuntimeClass"
	char *what;   // which one of them; "" where there is one alone
	char *result; // what was seen
	char *remedy; // "" where there is nothing to do
};

struct doctor_report {
	struct doctor_check *v;
	size_t n;
};

void doctor_report_release(struct doctor_report *r) __attribute__((nonnull));
#define CLEANUP_DOCTOR_REPORT CLEANUP(doctor_report_release)

// what, remedy: NULL for none. The texts are made printable.
void doctor_note(struct doctor_report *r, enum doctor_status status, const char *check, const char *what,
				 const char *remedy, const char *fmt, ...) __attribute__((format(printf, 6, 7), nonnull(1, 3, 6)));
// Of a request that failed: not checked, with the right that is missing ("list nodes"), or else failed.
void doctor_note_failure(struct doctor_report *r, const char *check, const char *what, const char *right,
						 const struct error *err) __attribute__((nonnull(1, 2, 4, 5)));

void doctor_check_version(struct doctor_report *r, const struct kube_version *v) __attribute__((nonnull));
// crd: a CustomResourceDefinition of ours, by its name; NULL where there is none.
void doctor_check_crd(struct doctor_report *r, const char *name, const json_t *crd) __attribute__((nonnull(1, 2)));
extern const char *const doctor_crds[]; // their names; ends in NULL
// version: of tekton.dev that is served; NULL for none.
void doctor_check_tekton(struct doctor_report *r, const char *version) __attribute__((nonnull(1)));
// profiles, classes, nodes: arrays of all that the cluster has. nodes: NULL where they are not known.
void doctor_check_runtime_classes(struct doctor_report *r, const json_t *profiles, const json_t *classes,
								  const json_t *nodes) __attribute__((nonnull(1, 2, 3)));
// trial: the pod that came of it, NULL where none did: the webhook may have profiles of its own.
void doctor_check_profiles(struct doctor_report *r, const json_t *profiles, const json_t *trial)
	__attribute__((nonnull(1, 2)));
// configs: all Mutating- or ValidatingWebhookConfigurations, of which ours are told by their webhooks' names.
void doctor_check_webhooks(struct doctor_report *r, const char *name, const json_t *configs, int64_t now_s)
	__attribute__((nonnull));
// policies, bindings: all ValidatingAdmissionPolicies and their bindings; NULL where the API server has no such kind.
// profiles: NULL where they are not known. All is a warning but a RuntimeClass of a profile whose pods are refused for it.
void doctor_check_policies(struct doctor_report *r, const json_t *policies, const json_t *bindings,
						   const json_t *profiles) __attribute__((nonnull(1)));
#define DOCTOR_POLICIES "admission policy" // what their check is called
// deployment: NULL where there is none.
void doctor_check_deployment(struct doctor_report *r, const char *name, const json_t *deployment)
	__attribute__((nonnull(1, 2)));
void doctor_check_lease(struct doctor_report *r, const json_t *lease, int64_t now_us) __attribute__((nonnull(1)));
// What came of a labelled pod that was created with dryRun: the pod, or the refusal. This is the API server's own way to
// the webhook, its certificate and caBundle with it.
void doctor_check_trial(struct doctor_report *r, const char *ns, const json_t *pod, const struct error *refusal)
	__attribute__((nonnull(1, 2, 4)));
// TrusteeConfigs or KbsConfigs, as kind says; those KbsConfigs that a TrusteeConfig owns are its to tell of. NULL where
// the cluster has no such kind.
void doctor_check_trustees(struct doctor_report *r, const char *kind, const json_t *trustees, int64_t now_s)
	__attribute__((nonnull(1, 2)));
// Whether the controller may do what a Trustee's namespace asks of it. missing: the first right that it lacks; NULL: none.
void doctor_check_rights(struct doctor_report *r, const char *ns, const char *system_ns, const char *missing)
	__attribute__((nonnull(1, 2, 3)));

// The pod of the trial; new.
json_t *doctor_trial_pod(const char *ns) __attribute__((nonnull, warn_unused_result));

// Whether nothing failed, and nothing stayed unchecked.
bool doctor_healthy(const struct doctor_report *r) __attribute__((nonnull));

// Appends the report in columns, remedies below what they are for. colour: with a terminal's escapes.
void doctor_table(const struct doctor_report *r, bool colour, struct buf *out) __attribute__((nonnull));
// The report as docs/cli.md has it; new.
json_t *doctor_json(const struct doctor_report *r) __attribute__((nonnull, warn_unused_result, returns_nonnull));

#endif
