// What is wrong with a cluster: findings from objects as they were read. No I/O; cmd_doctor.c asks the cluster.
#ifndef COCO_CLI_DOCTOR_H
#define COCO_CLI_DOCTOR_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "common/kube/client.h"

enum doctor_status { DOCTOR_OK, DOCTOR_WARN, DOCTOR_FAIL, DOCTOR_SKIPPED };
extern const char *const doctor_status_names[]; // "ok", "warning", "failed", "skipped"

struct doctor_check {
	enum doctor_status status;
	char *name;
	char *detail; // what was seen, and what to do about it
};

struct doctor_report {
	struct doctor_check *v;
	size_t n;
};

void doctor_report_release(struct doctor_report *r) __attribute__((nonnull));
#define CLEANUP_DOCTOR_REPORT CLEANUP(doctor_report_release)

void doctor_note(struct doctor_report *r, enum doctor_status status, const char *name, const char *fmt, ...)
	__attribute__((format(printf, 4, 5), nonnull(1, 3, 4)));

void doctor_check_version(struct doctor_report *r, const struct kube_version *v) __attribute__((nonnull));
// profiles, classes: arrays of all that the cluster has.
void doctor_check_runtime_classes(struct doctor_report *r, const json_t *profiles, const json_t *classes)
	__attribute__((nonnull));
void doctor_check_profiles(struct doctor_report *r, const json_t *profiles) __attribute__((nonnull));
// configs: all Mutating- or ValidatingWebhookConfigurations, of which ours are told by their webhooks' names.
void doctor_check_webhooks(struct doctor_report *r, const char *name, const json_t *configs, int64_t now_s)
	__attribute__((nonnull));
// deployment: NULL where there is none.
void doctor_check_deployment(struct doctor_report *r, const char *name, const json_t *deployment)
	__attribute__((nonnull(1, 2)));
void doctor_check_lease(struct doctor_report *r, const json_t *lease, int64_t now_us) __attribute__((nonnull(1)));
// What came of a labelled pod that was created with dryRun: the pod, or the refusal.
void doctor_check_trial(struct doctor_report *r, const json_t *pod, const struct error *refusal)
	__attribute__((nonnull(1)));
// TrusteeConfigs; NULL where the cluster has no such kind.
void doctor_check_trustees(struct doctor_report *r, const json_t *trustees) __attribute__((nonnull(1)));

// The pod of the trial; new.
json_t *doctor_trial_pod(const char *ns) __attribute__((nonnull, warn_unused_result));

// Whether everything that was checked is well enough: nothing failed.
int doctor_healthy(const struct doctor_report *r) __attribute__((nonnull));

#endif
