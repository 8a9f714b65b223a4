#include <regex.h>
#include <stdio.h>

#include "common/json_text.h"
#include "controller/trustee_status.h"
#include "crd.h"

#define NOW "2026-01-02T03:04:05Z"
#define BEFORE "2025-12-31T23:59:59Z"
#define EXPIRY 1798761600 // 2027-01-01T00:00:00Z
#define TEXT_MAX ((size_t)64 * 1024)
#define REMARKS 3
#define WANTED 6

// ---- Worlds

#define META "metadata: {name: d, namespace: ns, generation: 3}"
#define TEMPLATE "template: {spec: {containers: [{name: kbs, image: img/kbs}, {name: as, image: img/as}]}}"
#define PROGRESS(status, reason) "{type: Progressing, status: '" status "', reason: " reason "}"
#define DEPLOY(replicas, status) "{" META ", spec: {replicas: " replicas ", " TEMPLATE "}, status: {" status "}}"
#define COUNTS(total, updated, available) \
	"observedGeneration: 3, replicas: " total ", updatedReplicas: " updated ", availableReplicas: " available
#define FINISHED "conditions: [" PROGRESS("True", "NewReplicaSetAvailable") "]"
#define RUNS DEPLOY("1", COUNTS("1", "1", "1") ", " FINISHED)
#define STARTS DEPLOY("1", COUNTS("1", "1", "0") ", conditions: [" PROGRESS("True", "ReplicaSetUpdated") "]")
#define ROLLS DEPLOY("1", COUNTS("2", "1", "1") ", conditions: [" PROGRESS("True", "ReplicaSetUpdated") "]")
#define STALLED(available) \
	DEPLOY("1", COUNTS("2", "1", available) ", conditions: [" PROGRESS("False", "ProgressDeadlineExceeded") "]")

#define IS_READY "conditions: [{type: Ready, status: 'True'}]"
#define POD(status) "{metadata: {name: d-1, namespace: ns}, status: {" status "}}"
#define CONTAINER(name, state) "{name: " name ", ready: false, " state "}"
#define IN(state) POD("containerStatuses: [" CONTAINER("kbs", state) "]")
#define WAITS(reason, message) "state: {waiting: {reason: " reason ", message: '" message "'}}"
#define ENDED(code, reason) "{terminated: {exitCode: " code ", reason: " reason "}}"
#define GOOD POD(IS_READY)

#define PULL_SAYS "; correct spec.image, or name a Secret with credentials for its registry in spec.imagePullSecrets"
#define PULL "ImagePull: container \"kbs\": image \"img/kbs\" can't be pulled"
#define CRASHES(how) "CrashLoop: container \"kbs\" ends again and again" how
#define LOGS "see what it said last: kubectl logs -n ns deploy/d -c kbs --previous"
#define STARTING "the pods are being started; if that takes long, see: kubectl get events -n ns"

struct remark_row {
	enum remark_level level;
	enum remark_about about;
	const char *reason, *message;
};

static struct status_case {
	const char *name;
	const char *deployment, *pods; // YAML; NULL for none
	struct remark_row remarks[REMARKS];
	const char *
		flags; // letters: https, exposed, permissive, synced, url known, no KbsConfig yet, Kbsconfig, expiry known; own host, balancer
	const char *want[WANTED]; // some of the conditions
} status_cases[] = {
	{"all is well",
	 RUNS,
	 "[" GOOD "]",
	 {{0}},
	 "hesux",
	 {"Ready True Ready: Guests can use it at https://kbs.", "Progressing False Complete: @",
	  "Degraded False AsExpected: @",
	  "CertificateValid True Valid: The certificate is valid until 2027-01-01T00:00:00Z.",
	  "RouteAdmitted True Admitted: It is exposed at https://kbs.", "ResourcesSynced True Synced: @"}},
	{"plain, inside, and not done yet",
	 RUNS,
	 "[" GOOD "]",
	 {{0}},
	 "K",
	 {"Ready True Ready: It runs, but has no address for guests yet, as condition RouteAdmitted tells.",
	  "CertificateValid Unknown PlainHTTP: @", "RouteAdmitted Unknown NotExposed: @",
	  "ResourcesSynced False Pending: @"}},
	{"nothing is released",
	 RUNS,
	 "[" GOOD "]",
	 {{REMARK_NOTE, ABOUT_RELEASE, "NoReferenceValues", "nobody gets anything; give some"}},
	 "hesux",
	 {"Ready True NoReferenceValues: It runs at https://kbs, but nobody gets anything; give some.",
	  "Degraded False AsExpected: @"}},
	{"nothing is released, and there is no address",
	 RUNS,
	 "[" GOOD "]",
	 {{REMARK_NOTE, ABOUT_RELEASE, "NoReferenceValues", "nobody gets anything"}},
	 "hesx",
	 {"Ready True NoReferenceValues: It runs, but has no address for guests yet, as condition RouteAdmitted tells; and "
	  "nobody gets anything."}},
	{"nothing is released by one that doesn't run",
	 STARTS,
	 NULL,
	 {{REMARK_NOTE, ABOUT_RELEASE, "NoReferenceValues", "nobody gets anything"}},
	 "hesux",
	 {"Ready False NotRunning: @"}},
	{"permissive, and nothing is released",
	 RUNS,
	 "[" GOOD "]",
	 {{REMARK_NOTE, ABOUT_RELEASE, "NoReferenceValues", "nobody gets anything"}},
	 "pu",
	 {"Ready True NotForProduction: Guests can use it at https://kbs@"}},
	{"a load balancer of the admin's own",
	 RUNS,
	 "[" GOOD "]",
	 {{0}},
	 "huo",
	 {"RouteAdmitted Unknown NotExposed: Nothing is made that exposes it: see to it yourself that \"kbs\" leads to its "
	  "Service, with TLS passed through."}},
	{"a load balancer of the admin's own, and plain HTTP",
	 RUNS,
	 "[" GOOD "]",
	 {{0}},
	 "uo",
	 {"RouteAdmitted Unknown NotExposed: Nothing is made that exposes it: see to it yourself that \"kbs\" leads to its "
	  "Service."}},
	{"the Service's load balancer",
	 RUNS,
	 "[" GOOD "]",
	 {{0}},
	 "hub",
	 {"RouteAdmitted Unknown NotExposed: It is reached by its Service's load balancer."}},
	{"permissive",
	 RUNS,
	 "[" GOOD "]",
	 {{0}},
	 "pu",
	 {"Ready True NotForProduction: Guests can use it at https://kbs; it is for evaluation only: spec.profileType "
	  "Permissive releases every resource to whoever asks, genuine guest or not, over plain HTTP; Restricted is for "
	  "production.",
	  "Degraded False AsExpected: @"}},
	{"permissive with HTTPS",
	 RUNS,
	 "[" GOOD "]",
	 {{0}},
	 "phu",
	 {"Ready True NotForProduction: Guests can use it at https://kbs; it is for evaluation only: spec.profileType "
	  "Permissive releases every resource to whoever asks, genuine guest or not; Restricted is for production."}},
	// What isn't there
	{"no KbsConfig yet",
	 NULL,
	 NULL,
	 {{0}},
	 "n",
	 {"Ready False Pending: KbsConfig \"t-kbs-config\" isn't made yet",
	  "Progressing True RollingOut: KbsConfig \"t-kbs-config\" isn't made yet", "Degraded False AsExpected: @"}},
	{"no Deployment yet",
	 NULL,
	 NULL,
	 {{0}},
	 "",
	 {"Ready False Pending: the Deployment isn't made yet",
	  "Progressing True RollingOut: the Deployment isn't made yet"}},
	{"no Deployment for an error",
	 NULL,
	 NULL,
	 {{REMARK_ERROR, ABOUT_SPEC, "SecretMissing", "spec.x: no Secret"}},
	 "",
	 {"Ready False SecretMissing: spec.x: no Secret",
	  "Progressing False Waiting: the Deployment can't be made, as condition Ready tells",
	  "Degraded True SecretMissing: there is something to put right, as condition Ready tells"}},
	{"no Deployment for an error of a certificate",
	 NULL,
	 NULL,
	 {{REMARK_ERROR, ABOUT_CERTIFICATE, "SecretMissing", "spec.x: no Secret"}},
	 "h",
	 {"Ready False SecretMissing: it can't be run as its spec says, as condition CertificateValid tells",
	  "Progressing False Waiting: the Deployment can't be made, as condition CertificateValid tells",
	  "Degraded True SecretMissing: there is something to put right, as condition CertificateValid tells",
	  "CertificateValid False SecretMissing: spec.x: no Secret"}},
	{"no Deployment for something refused",
	 NULL,
	 NULL,
	 {{REMARK_ERROR, ABOUT_RESOURCES, "Forbidden", "may not"}},
	 "",
	 {"Ready False Forbidden: it can't be run as its spec says, as condition ResourcesSynced tells",
	  "ResourcesSynced False Forbidden: may not",
	  "Degraded True Forbidden: there is something to put right, as condition ResourcesSynced tells"}},
	{"scaled to zero",
	 DEPLOY("0", COUNTS("0", "0", "0") ", " FINISHED),
	 "[]",
	 {{0}},
	 "",
	 {"Ready False ScaledToZero: Deployment \"d\" is scaled to 0 pods; set spec.replicas to 1 or more",
	  "Progressing False Complete: No pods are wanted.", "Degraded False AsExpected: @"}},
	{"scaled to zero: of a KbsConfig",
	 DEPLOY("0", COUNTS("0", "0", "0") ", " FINISHED),
	 "[]",
	 {{0}},
	 "K",
	 {"Ready False ScaledToZero: Deployment \"d\" is scaled to 0 pods; set spec.KbsDeploymentSpec.replicas to 1 or "
	  "more"}},
	{"available, and nothing is known of pods",
	 RUNS,
	 NULL,
	 {{0}},
	 "",
	 {"Ready True Ready: @", "Degraded False AsExpected: @"}},
	{"not available, and nothing is known of pods",
	 STARTS,
	 NULL,
	 {{0}},
	 "",
	 {"Ready False NotRunning: no pod of Deployment \"d\" is available yet",
	  "Progressing True RollingOut: Pods are being started."}},
	// Remarks
	{"an error while it runs",
	 RUNS,
	 "[" GOOD "]",
	 {{REMARK_WARNING, ABOUT_SPEC, "First", "a"},
	  {REMARK_ERROR, ABOUT_SPEC, "Second", "b"},
	  {REMARK_ERROR, ABOUT_ROUTE, "Third", "c"}},
	 "hesux",
	 {"Ready False Second: b; what ran before keeps running",
	  "Degraded True Second: there is something to put right, as condition Ready tells", "RouteAdmitted False Third: c",
	  "Progressing False Complete: @"}},
	{"a warning while it runs",
	 RUNS,
	 "[" GOOD "]",
	 {{REMARK_WARNING, ABOUT_SPEC, "Odd", "a"}},
	 "",
	 {"Ready True Ready: @", "Degraded True Odd: a"}},
	{"a note while it runs",
	 RUNS,
	 "[" GOOD "]",
	 {{REMARK_NOTE, ABOUT_SPEC, "Odd", "a"}},
	 "",
	 {"Ready True Ready: @", "Degraded False AsExpected: @"}},
	{"an error comes before pods' trouble",
	 STARTS,
	 "[" IN(WAITS("ErrImagePull", "x")) "]",
	 {{REMARK_ERROR, ABOUT_SPEC, "Wrong", "a"}},
	 "",
	 {"Ready False Wrong: a", "Degraded True Wrong: there is something to put right, as condition Ready tells"}},
	{"a certificate's error",
	 RUNS,
	 "[" GOOD "]",
	 {{REMARK_ERROR, ABOUT_CERTIFICATE, "Expired", "a"}},
	 "hx",
	 {"CertificateValid False Expired: a", "Ready False Expired: it can't be run as its spec says, as condition "
										   "CertificateValid tells; what ran before keeps "
										   "running"}},
	{"a certificate's warning",
	 RUNS,
	 "[" GOOD "]",
	 {{REMARK_WARNING, ABOUT_CERTIFICATE, "ExpiresSoon", "a"}},
	 "hx",
	 {"CertificateValid True ExpiresSoon: a", "Ready True Ready: @",
	  "Degraded True ExpiresSoon: there is something to put right, as condition CertificateValid tells"}},
	{"a certificate's note",
	 RUNS,
	 "[" GOOD "]",
	 {{REMARK_NOTE, ABOUT_CERTIFICATE, "SelfSigned", "a"}},
	 "hx",
	 {"CertificateValid True Valid: @"}},
	{"a certificate that isn't known", RUNS, "[" GOOD "]", {{0}}, "h", {"CertificateValid Unknown NotKnown: @"}},
	{"a route that waits",
	 RUNS,
	 "[" GOOD "]",
	 {{REMARK_NOTE, ABOUT_ROUTE, "NotAdmittedYet", "a"}},
	 "e",
	 {"RouteAdmitted Unknown NotAdmittedYet: a", "Ready True Ready: @", "Degraded False AsExpected: @"}},
	{"a route that is refused",
	 RUNS,
	 "[" GOOD "]",
	 {{REMARK_WARNING, ABOUT_ROUTE, "HostTaken", "a"}},
	 "e",
	 {"RouteAdmitted False HostTaken: a",
	  "Degraded True HostTaken: there is something to put right, as condition RouteAdmitted tells"}},
	{"a route without an address", RUNS, "[" GOOD "]", {{0}}, "e", {"RouteAdmitted Unknown Pending: @"}},
	{"a drift",
	 RUNS,
	 "[" GOOD "]",
	 {{REMARK_WARNING, ABOUT_RESOURCES, "Drifted", "a"}},
	 "s",
	 {"ResourcesSynced False Drifted: a",
	  "Degraded True Drifted: there is something to put right, as condition ResourcesSynced tells",
	  "Ready True Ready: @"}},
	{"a note about resources",
	 RUNS,
	 "[" GOOD "]",
	 {{REMARK_NOTE, ABOUT_RESOURCES, "Kept", "a"}},
	 "s",
	 {"ResourcesSynced True Synced: @"}},
	// Rollouts
	{"a rollout",
	 ROLLS,
	 "[" GOOD ", " IN(WAITS("ContainerCreating", "")) "]",
	 {{0}},
	 "",
	 {"Ready True Ready: @", "Progressing True RollingOut: Pods are being replaced.", "Degraded False AsExpected: @"}},
	{"a rollout that isn't seen yet",
	 "{" META ", spec: {replicas: 1}, status: {observedGeneration: 2, replicas: 1, "
	 "updatedReplicas: 1, availableReplicas: 1, " FINISHED "}}",
	 "[" GOOD "]",
	 {{0}},
	 "",
	 {"Ready True Ready: @", "Progressing True RollingOut: Pods are being replaced."}},
	{"replicas have a default",
	 "{" META ", spec: {}, status: {" COUNTS("1", "1", "0") ", " FINISHED "}}",
	 "[]",
	 {{0}},
	 "",
	 {"Ready False Pending: " STARTING}},
	{"a Deployment without a status",
	 "{" META ", spec: {replicas: 1}}",
	 "[]",
	 {{0}},
	 "",
	 {"Ready False Pending: " STARTING, "Progressing True RollingOut: Pods are being started."}},
	{"a rollout to an image that isn't there",
	 ROLLS,
	 "[" GOOD ", " IN(WAITS("ErrImagePull", "not found")) "]",
	 {{0}},
	 "",
	 {"Ready True Ready: @", "Progressing True RollingOut: @", "Degraded True " PULL ": not found" PULL_SAYS}},
	{"a rollout that stalls",
	 STALLED("1"),
	 "[" GOOD ", " IN("state: {running: {}}") "]",
	 {{0}},
	 "",
	 {"Ready True Ready: @",
	  "Progressing False Stalled: container \"kbs\" runs, and its readiness probe fails; see what it says: kubectl "
	  "logs -n ns "
	  "d-1 -c kbs",
	  "Degraded True Stalled: the rollout doesn't come to its end, as condition Progressing tells"}},
	{"a first rollout that stalls",
	 STALLED("0"),
	 "[" IN(WAITS("ErrImagePull", "not found")) "]",
	 {{0}},
	 "",
	 {"Ready False " PULL ": not found" PULL_SAYS,
	  "Progressing False Stalled: the rollout doesn't come to its end, as condition Ready tells",
	  "Degraded True Stalled: the rollout doesn't come to its end, as condition Ready tells"}},
	{"a rollout that stalls at an image that isn't there",
	 STALLED("1"),
	 "[" GOOD ", " IN(WAITS("ErrImagePull", "not found")) "]",
	 {{0}},
	 "",
	 {"Ready True Ready: @", "Degraded True " PULL ": not found" PULL_SAYS,
	  "Progressing False Stalled: the rollout doesn't come to its end, as condition Degraded tells"}},
	{"a rollout that stalls, beside a warning",
	 STALLED("1"),
	 "[" GOOD ", " IN(WAITS("ErrImagePull", "not found")) "]",
	 {{REMARK_WARNING, ABOUT_SPEC, "Odd", "a"}},
	 "",
	 {"Degraded True Odd: a", "Progressing False Stalled: container \"kbs\": image@"}},
	{"a rollout that stalls, and nobody knows why",
	 STALLED("1"),
	 "[" GOOD "]",
	 {{0}},
	 "",
	 {"Degraded True Stalled: the rollout doesn't come to its end, as condition Progressing tells",
	  "Progressing False Stalled: the rollout of Deployment \"d\" doesn't come to its end; see: kubectl describe "
	  "deployment "
	  "-n ns d"}},
	{"a stall of a generation before is over",
	 "{metadata: {name: d, namespace: ns, generation: 4}, spec: {replicas: 1}, status: "
	 "{" COUNTS("2", "1", "1") ", conditions: [" PROGRESS("False", "ProgressDeadlineExceeded") "]}}",
	 "[" GOOD "]",
	 {{0}},
	 "",
	 {"Progressing True RollingOut: @", "Degraded False AsExpected: @"}},
	{"a rollout's new pod crashes: of that pod",
	 ROLLS,
	 "[" GOOD ", " IN("state: " ENDED("1", "Error")) "]",
	 {{0}},
	 "",
	 {"Degraded True " CRASHES(
		 ", with exit code 1 (Error); see what it said last: kubectl logs -n ns d-1 -c kbs --previous")}},
	{"fewer than wanted",
	 DEPLOY("3", COUNTS("3", "3", "2") ", " FINISHED),
	 "[" GOOD ", " IN(WAITS("ContainerCreating", "")) "]",
	 {{0}},
	 "",
	 {"Ready True Ready: @", "Progressing False Complete: @",
	  "Degraded True NotAllReplicas: fewer pods than wanted are available: " STARTING}},
	{"fewer than wanted, and nothing is known",
	 DEPLOY("3", COUNTS("3", "3", "2") ", " FINISHED),
	 NULL,
	 {{0}},
	 "",
	 {"Degraded True NotAllReplicas: fewer pods than wanted are available"}},
	{"more are wanted than were",
	 DEPLOY("2", COUNTS("1", "1", "1") ", " FINISHED),
	 "[" GOOD "]",
	 {{0}},
	 "",
	 {"Ready True Ready: @", "Progressing True RollingOut: @", "Degraded False AsExpected: @"}},
	{"one of several crashes",
	 DEPLOY("2", COUNTS("2", "2", "1") ", " FINISHED),
	 "[" GOOD ", " IN(WAITS("CrashLoopBackOff", "back-off 5m0s")) "]",
	 {{0}},
	 "",
	 {"Degraded True CrashLoop: @"}},
	// Pods
	{"image: the kubelet's message",
	 STARTS,
	 "[" IN(WAITS("ErrImagePull", "rpc error: 401\\nnext")) "]",
	 {{0}},
	 "",
	 {"Ready False " PULL ": rpc error: 401\\nnext" PULL_SAYS, "Degraded False AsExpected: @"}},
	{"image: a newer kubelet's message while it waits",
	 STARTS,
	 "[" IN(WAITS("ImagePullBackOff", "Back-off pulling image \"img/kbs\": ErrImagePull: 401")) "]",
	 {{0}},
	 "",
	 {"Ready False " PULL ": 401" PULL_SAYS}},
	{"image: an older kubelet's",
	 STARTS,
	 "[" IN(WAITS("ImagePullBackOff", "Back-off pulling image \"img/kbs\"")) "]",
	 {{0}},
	 "",
	 {"Ready False " PULL PULL_SAYS}},
	{"image: no message",
	 STARTS,
	 "[" IN("state: {waiting: {reason: ErrImageNeverPull}}") "]",
	 {{0}},
	 "",
	 {"Ready False " PULL ": ErrImageNeverPull" PULL_SAYS}},
	{"image: not a name",
	 STARTS,
	 "[" IN(WAITS("InvalidImageName", "x")) "]",
	 {{0}},
	 "",
	 {"Ready False ImagePull: container \"kbs\": \"img/kbs\" is not the name of an image; correct spec.image"}},
	{"crash: waits",
	 STARTS,
	 "[" IN(WAITS("CrashLoopBackOff", "back-off 10s") ", restartCount: 7, lastState: " ENDED("2", "Error")) "]",
	 {{0}},
	 "",
	 {"Ready False " CRASHES(", with exit code 2 (Error); " LOGS)}},
	{"crash: has ended",
	 STARTS,
	 "[" IN("restartCount: 7, state: " ENDED("2", "Error") ", lastState: " ENDED("3", "Error")) "]",
	 {{0}},
	 "",
	 {"Ready False " CRASHES(", with exit code 2 (Error); " LOGS)}},
	{"crash: runs again",
	 STARTS,
	 "[" IN("restartCount: 8, state: {running: {}}, lastState: " ENDED("2", "Error")) "]",
	 {{0}},
	 "",
	 {"Ready False " CRASHES(", with exit code 2 (Error); " LOGS)}},
	{"crash: how isn't known",
	 STARTS,
	 "[" IN(WAITS("CrashLoopBackOff", "back-off 10s")) "]",
	 {{0}},
	 "",
	 {"Ready False " CRASHES("; " LOGS)}},
	{"crash: out of memory",
	 STARTS,
	 "[" IN("state: " ENDED("137", "OOMKilled")) "]",
	 {{0}},
	 "",
	 {"Ready False " CRASHES(", with exit code 137 (OOMKilled); raise spec.resources.limits.memory, and " LOGS)}},
	{"crash: a container that ends well",
	 STARTS,
	 "[" IN("state: " ENDED("0", "Completed")) "]",
	 {{0}},
	 "",
	 {"Ready False " CRASHES(", with exit code 0 (Completed); " LOGS)}},
	{"init: one that is done is no trouble",
	 STARTS,
	 "[" POD("initContainerStatuses: [" CONTAINER(
		 "i", "state: " ENDED("0", "Completed")) "], containerStatuses: [" CONTAINER("kbs",
																					 "state: {running: {}}") "]") "]",
	 {{0}},
	 "",
	 {"Ready False NotRunning: container \"kbs\" runs, and its readiness probe fails; see what it says: kubectl logs "
	  "-n ns "
	  "deploy/d -c kbs"}},
	{"init: one that crashes",
	 STARTS,
	 "[" POD(
		 "initContainerStatuses: [" CONTAINER("i", "state: " ENDED("1", "Error")) "], containerStatuses: [" CONTAINER(
			 "kbs", WAITS("PodInitializing", "")) "]") "]",
	 {{0}},
	 "",
	 {"Ready False CrashLoop: container \"i\" ends again and again, with exit code 1 (Error); @"}},
	{"init: one that runs",
	 STARTS,
	 "[" POD("initContainerStatuses: [" CONTAINER("i", "state: {running: {}}") "]") "]",
	 {{0}},
	 "",
	 {"Ready False Pending: " STARTING}},
	{"no node",
	 STARTS,
	 "[" POD("conditions: [{type: PodScheduled, status: 'False', reason: Unschedulable, message: '0/3 nodes are "
			 "available: Insufficient memory.'}]") "]",
	 {{0}},
	 "",
	 {"Ready False Unschedulable: the scheduler finds no node for the pods: 0/3 nodes are available: Insufficient "
	  "memory; add nodes, or "
	  "lower "
	  "spec.resources.requests"}},
	{"not scheduled yet", STARTS, "[" POD("phase: Pending") "]", {{0}}, "", {"Ready False Pending: " STARTING}},
	{"a Secret is missing",
	 STARTS,
	 "[" IN(WAITS("CreateContainerConfigError", "secret \"s\" not found")) "]",
	 {{0}},
	 "",
	 {"Ready False Pending: container \"kbs\" can't be started (CreateContainerConfigError): secret \"s\" not found; "
	  "correct "
	  "that, and the kubelet tries again"}},
	{"being made", STARTS, "[" IN(WAITS("ContainerCreating", "")) "]", {{0}}, "", {"Ready False Pending: " STARTING}},
	{"a quota",
	 DEPLOY("1", "observedGeneration: 3, conditions: [{type: ReplicaFailure, status: 'True', reason: FailedCreate, "
				 "message: 'exceeded quota: q'}]"),
	 "[]",
	 {{0}},
	 "",
	 {"Ready False FailedCreate: the API server takes no more pods: exceeded quota: q; correct what refuses them"}},
	{"pods on their way out, and evicted ones, don't count",
	 STARTS,
	 "[{metadata: {name: a, deletionTimestamp: x}, status: {containerStatuses: [" CONTAINER(
		 "kbs", WAITS("ErrImagePull",
					  "x")) "]}}, " POD("phase: Failed, containerStatuses: [" CONTAINER("kbs",
																						"state: " ENDED(
																							"1", "Error")) "]") "]",
	 {{0}},
	 "",
	 {"Ready False Pending: " STARTING}},
	{"the worst of several",
	 STARTS,
	 "[" IN("state: {running: {}}") ", " IN(WAITS("CreateContainerError", "x")) ", " IN(
		 "state: " ENDED("1", "Error")) ", " IN(WAITS("ContainerCreating", "")) "]",
	 {{0}},
	 "",
	 {"Ready False CrashLoop: @"}},
	{"the same of two that are as bad",
	 STARTS,
	 "[" IN(WAITS("ErrImagePull", "b")) ", " IN(WAITS("ErrImagePull", "a")) "]",
	 {{0}},
	 "",
	 {"Ready False " PULL ": a" PULL_SAYS}},
	{"another container's",
	 STARTS,
	 "[" POD("containerStatuses: [{name: kbs, ready: true, state: {running: {}}}, " CONTAINER(
		 "as", WAITS("ErrImagePull", "b")) "]") "]",
	 {{0}},
	 "",
	 {"Ready False ImagePull: container \"as\": image \"img/as\" can't be pulled: b" PULL_SAYS}},
};

// ---- What a row says

struct trustee {
	struct trustee_status_input in;
	struct remarks remarks;
	json_t *object, *kbs, *deployment, *pods;
};

static bool flag(const struct status_case *c, char letter)
{
	return strchr(c->flags, letter) != NULL;
}

static json_t *object_of(const char *kind, const char *name)
{
	return json_pack("{s:s, s:s, s:{s:s, s:s, s:s, s:i}}", "apiVersion", NAME_TRUSTEE_GROUP_VERSION, "kind", kind,
					 "metadata", "name", name, "namespace", "ns", "uid", "uid-1", "generation", 7);
}

static void trustee_set_up(struct trustee *t, const struct status_case *c)
{
	*t = (struct trustee){
		.object = flag(c, 'K') ? object_of("KbsConfig", "k") : object_of("TrusteeConfig", "t"),
		.kbs = flag(c, 'n') ? NULL : object_of("KbsConfig", "t-kbs-config"),
		.deployment = c->deployment != NULL ? yaml_tree(c->deployment) : NULL,
		.pods = c->pods != NULL ? yaml_tree(c->pods) : NULL,
	};
	if (flag(c, 'o'))
		(void)json_object_set_new(t->kbs, "spec", json_pack("{s:{s:s}}", "exposure", "host", "kbs"));
	if (flag(c, 'b'))
		(void)json_object_set_new(t->kbs, "spec", json_pack("{s:s}", "kbsServiceType", "LoadBalancer"));
	for (size_t i = 0; i < REMARKS && c->remarks[i].reason != NULL; i++)
		remarks_add(&t->remarks, c->remarks[i].level, c->remarks[i].about, c->remarks[i].reason, "%s",
					c->remarks[i].message);
	t->in = (struct trustee_status_input){
		.object = t->object,
		.kbs = flag(c, 'K') ? t->object : t->kbs,
		.remarks = &t->remarks,
		.deployment = t->deployment,
		.pods = t->pods,
		.https = flag(c, 'h'),
		.exposed = flag(c, 'e'),
		.permissive = flag(c, 'p'),
		.synced = flag(c, 's'),
		.url = flag(c, 'u') ? "https://kbs" : NULL,
		.not_after_s = flag(c, 'x') ? EXPIRY : 0,
		.now = NOW,
	};
}

static void trustee_tear_down(struct trustee *t)
{
	json_decref(t->object);
	json_decref(t->kbs);
	json_decref(t->deployment);
	json_decref(t->pods);
	remarks_release(&t->remarks);
}

// ---- What must hold of every status

static const json_t *status_schema(struct crd *crd, const char *kind)
{
	const bool kbs = strcmp(kind, "KbsConfig") == 0;
	crd_read(crd,
			 kbs ? "crds/" NAME_TRUSTEE_GROUP "_kbsconfigs.yaml" : "crds/" NAME_TRUSTEE_GROUP "_trusteeconfigs.yaml");
	return property(crd->schema, "status");
}

static bool has_type(const json_t *v, const char *type)
{
	return strcmp(type, "object") == 0    ? json_is_object(v)
		   : strcmp(type, "array") == 0   ? json_is_array(v)
		   : strcmp(type, "string") == 0  ? json_is_string(v)
		   : strcmp(type, "boolean") == 0 ? json_is_boolean(v)
										  : strcmp(type, "integer") == 0 && json_is_integer(v);
}

static void assert_pattern(const json_t *schema, const json_t *v, const char *path)
{
	const char *pattern = json_string_value(json_object_get(schema, "pattern"));
	regex_t re;
	if (pattern == NULL)
		return;
	assert_int_equal(regcomp(&re, pattern, REG_EXTENDED | REG_NOSUB), 0);
	if (regexec(&re, json_string_value(v), 0, NULL, 0) != 0)
		fail_msg("%s doesn't match %s: %s", path, pattern, json_string_value(v));
	regfree(&re);
}

// As far as the schema of a status goes.
static void assert_fits(const json_t *schema, json_t *v, const char *path)
{
	if (schema == NULL)
		fail_msg("%s isn't in the schema", path);
	if (!has_type(v, json_text(schema, "type")))
		fail_msg("%s is no %s", path, json_text(schema, "type"));
	size_t i;
	json_t *sub;
	const char *key;
	json_array_foreach (json_object_get(schema, "required"), i, sub) {
		if (json_object_get(v, json_string_value(sub)) == NULL)
			fail_msg("%s has no %s", path, json_string_value(sub));
	}
	bool is_listed = json_object_get(schema, "enum") == NULL;
	json_array_foreach (json_object_get(schema, "enum"), i, sub) {
		is_listed |= json_equal(sub, v) != 0;
	}
	assert_true(is_listed);
	assert_pattern(schema, v, path);
	json_array_foreach (v, i, sub) {
		assert_fits(json_object_get(schema, "items"), sub, path);
	}
	json_object_foreach (v, key, sub) {
		assert_fits(property(schema, key), sub, key);
	}
}

static void assert_schema(const struct trustee *t, json_t *status)
{
	struct crd crd = {0};
	assert_fits(status_schema(&crd, json_text(t->object, "kind")), status, "status");
	json_decref(crd.root);
}

// What is written is what the API server has next: then there is nothing to write, at whatever time, in whatever order.
static void assert_idle(struct trustee *t, json_t *status)
{
	json_t *stored = json_deep_copy(status);
	json_t *conditions = json_object_get(stored, "conditions");
	assert_int_equal(json_array_append(conditions, json_array_get(conditions, 0)), 0);
	assert_int_equal(json_array_remove(conditions, 0), 0);
	assert_int_equal(json_array_insert_new(conditions, 0, json_pack("{s:s}", "type", "Others")), 0);
	assert_int_equal(json_object_set_new(t->object, "status", stored), 0);
	t->in.now = "2030-01-01T00:00:00Z";
	assert_null(trustee_status(&t->in));
	for (size_t i = 0, n = json_array_size(t->pods); n > 0 && i < n; i++) {
		json_t *pod = json_incref(json_array_get(t->pods, n - 1));
		assert_int_equal(json_array_remove(t->pods, n - 1), 0);
		assert_int_equal(json_array_insert_new(t->pods, 0, pod), 0);
		assert_null(trustee_status(&t->in));
	}
}

static void assert_trimmed_says_the_same(struct trustee *t, const json_t *status)
{
	for (size_t i = 0; i < json_array_size(t->pods); i++)
		assert_int_equal(json_array_set_new(t->pods, i, trustee_pod_trim(json_incref(json_array_get(t->pods, i)))), 0);
	json_t *again = trustee_status(&t->in);
	assert_true(json_equal(again, status));
	json_decref(again);
}

static const json_t *find_condition(const json_t *status, const char *type)
{
	const json_t *conditions = json_object_get(status, "conditions");
	for (size_t i = 0; i < json_array_size(conditions); i++)
		if (json_text_is(json_array_get(conditions, i), "type", type))
			return json_array_get(conditions, i);
	fail_msg("there is no condition %s", type);
	return NULL;
}

// '@' in want stands for any text at the end.
static void assert_condition(const json_t *status, const char *want)
{
	CLEANUP_FREE
	char *type = xstrndup((struct str){want, strcspn(want, " ")});
	const json_t *c = find_condition(status, type);
	CLEANUP_FREE
	char *got =
		xasprintf("%s %s %s: %s", type, json_text(c, "status"), json_text(c, "reason"), json_text(c, "message"));
	const char *at = strchr(want, '@');
	if (at == NULL)
		assert_string_equal(got, want);
	else if (strncmp(got, want, (size_t)(at - want)) != 0)
		fail_msg("got %s\nnot %s", got, want);
}

static void test_status(void **state)
{
	const struct status_case *c = *state;
	struct trustee t;
	trustee_set_up(&t, c);
	json_t *status = trustee_status(&t.in);
	assert_non_null(status);
	assert_int_equal(json_array_size(json_object_get(status, "conditions")), 6);
	for (size_t i = 0; i < WANTED && c->want[i] != NULL; i++)
		assert_condition(status, c->want[i]);
	const json_t *ready = find_condition(status, "Ready");
	assert_int_equal(json_is_true(json_object_get(status, "isReady")), json_text_is(ready, "status", "True"));
	assert_text(json_string_value(json_object_get(status, "statusDescription")),
				flag(c, 'K') ? NULL : json_text(ready, "message"));
	assert_int_equal(json_integer_value(json_object_get(status, "observedGeneration")), 7);
	assert_schema(&t, status);
	assert_trimmed_says_the_same(&t, status);
	assert_idle(&t, status);
	json_decref(status);
	trustee_tear_down(&t);
}

static struct starting_case {
	const char *name;
	struct status_case of;
	bool starting;
} starting_cases[] = {
	{"starting: nothing is made yet", {"", NULL, NULL, {{0}}, "n", {NULL}}, true},
	{"starting: no pod yet", {"", STARTS, "[]", {{0}}, "", {NULL}}, true},
	{"starting: a container is being made",
	 {"", STARTS, "[" IN(WAITS("ContainerCreating", "")) "]", {{0}}, "", {NULL}},
	 true},
	{"not starting: an image can't be pulled",
	 {"", STARTS, "[" IN(WAITS("ImagePullBackOff", "")) "]", {{0}}, "", {NULL}},
	 false},
	{"not starting: an error", {"", NULL, NULL, {{REMARK_ERROR, ABOUT_SPEC, "A", "b"}}, "", {NULL}}, false},
	{"not starting: scaled to zero",
	 {"", DEPLOY("0", COUNTS("0", "0", "0") ", " FINISHED), "[]", {{0}}, "", {NULL}},
	 false},
	{"not starting: it runs", {"", RUNS, "[" GOOD "]", {{0}}, "", {NULL}}, false},
};

static void test_starting(void **state)
{
	const struct starting_case *c = *state;
	struct trustee t;
	trustee_set_up(&t, &c->of);
	assert_int_equal(trustee_is_starting(&t.in), c->starting);
	trustee_tear_down(&t);
}

// ---- The address

static struct url_case {
	const char *name, *deployment;
	const char *before; // status.url
	const char *flags;
	const char *want;
} url_cases[] = {
	{"url: nothing is made yet", NULL, NULL, "nu", NULL},
	{"url: no pod has run yet", STARTS, NULL, "u", NULL},
	{"url: a pod runs", RUNS, NULL, "u", "https://kbs"},
	{"url: pods ran once", STARTS, "https://kbs", "u", "https://kbs"},
	{"url: another one, and pods ran once", STARTS, "https://old", "u", "https://kbs"},
	{"url: it isn't known any more", RUNS, "https://kbs", "", NULL},
};

static void test_url(void **state)
{
	const struct url_case *c = *state;
	const struct status_case of = {.deployment = c->deployment, .flags = c->flags};
	struct trustee t;
	trustee_set_up(&t, &of);
	if (c->before != NULL)
		assert_int_equal(json_object_set_new(t.object, "status", json_pack("{s:s}", "url", c->before)), 0);
	json_t *status = trustee_status(&t.in);
	assert_text(json_string_value(json_object_get(status, "url")), c->want);
	json_decref(status);
	trustee_tear_down(&t);
}

// ---- What an Event tells

static struct told_case {
	const char *name;
	struct status_case of;
	const char *want;
} told_cases[] = {
	{"told: Ready's own",
	 {"", RUNS, NULL, {{REMARK_ERROR, ABOUT_SPEC, "A", "all of it"}}, "", {NULL}},
	 "all of it; what ran before keeps running"},
	{"told: another condition's",
	 {"", RUNS, NULL, {{REMARK_ERROR, ABOUT_CERTIFICATE, "A", "all of it"}}, "h", {NULL}},
	 "all of it"},
	{"told: what isn't done yet", {"", NULL, NULL, {{0}}, "", {NULL}}, "the Deployment isn't made yet"},
	{"told: it runs",
	 {"", RUNS, NULL, {{REMARK_NOTE, ABOUT_ROUTE, "A", "no route"}}, "", {NULL}},
	 "It runs, but has no address for guests yet, as condition RouteAdmitted tells."},
};

static void test_told(void **state)
{
	const struct told_case *c = *state;
	struct trustee t;
	trustee_set_up(&t, &c->of);
	assert_null(trustee_status_told(t.object));
	assert_int_equal(json_object_set_new(t.object, "status", trustee_status(&t.in)), 0);
	assert_text(trustee_status_told(t.object), c->want);
	trustee_tear_down(&t);
}

// ---- All of it, and times

static struct status_case whole = {"", RUNS, "[" GOOD "]", {{0}}, "hesux", {NULL}};

static void test_whole(void **state)
{
	(void)state;
	struct trustee t;
	trustee_set_up(&t, &whole);
	json_t *status = trustee_status(&t.in);
	assert_int_equal(json_object_del(status, "conditions"), 0);
	CLEANUP_FREE
	char *got = json_dumps(status, JSON_SORT_KEYS | JSON_INDENT(1));
	assert_string_equal(got, "{\n"
							 " \"certificateExpiry\": \"2027-01-01T00:00:00Z\",\n"
							 " \"isReady\": true,\n"
							 " \"kbsConfigRef\": {\n"
							 "  \"apiVersion\": \"confidentialcontainers.org/v1alpha1\",\n"
							 "  \"kind\": \"KbsConfig\",\n"
							 "  \"name\": \"t-kbs-config\",\n"
							 "  \"namespace\": \"ns\",\n"
							 "  \"uid\": \"uid-1\"\n"
							 " },\n"
							 " \"observedGeneration\": 7,\n"
							 " \"statusDescription\": \"Guests can use it at https://kbs.\",\n"
							 " \"url\": \"https://kbs\"\n"
							 "}");
	json_decref(status);
	trustee_tear_down(&t);
}

static struct change_case {
	const char *name;
	// What is missing in a stored condition, or with a point before it in the stored status; NULL: a field is there that isn't
	// said any more.
	const char *path;
	const char *flags; // of the world that comes then
} change_cases[] = {
	{"a message of another's", "message", "hesux"},
	{"a time that is missing", "lastTransitionTime", "hesux"},
	{"the generation", "observedGeneration", "hesux"},
	{"a field that is missing", ".isReady", "hesux"},
	{"the status' generation", ".observedGeneration", "hesux"},
	{"no URL any more", NULL, "hesx"},
	{"no certificate any more", NULL, "esu"},
	{"no KbsConfig any more", NULL, "hesuxn"},
};

static void test_change(void **state)
{
	const struct change_case *c = *state;
	struct status_case then = whole;
	struct trustee t;
	trustee_set_up(&t, &whole);
	json_t *stored = trustee_status(&t.in);
	trustee_tear_down(&t);
	if (c->path != NULL && c->path[0] == '.')
		assert_int_equal(json_object_del(stored, c->path + 1), 0);
	else if (c->path != NULL)
		assert_int_equal(json_object_del(json_array_get(json_object_get(stored, "conditions"), 3), c->path), 0);
	then.flags = c->flags;
	trustee_set_up(&t, &then);
	assert_int_equal(json_object_set_new(t.object, "status", stored), 0);
	json_t *status = trustee_status(&t.in);
	assert_non_null(status);
	json_decref(status);
	trustee_tear_down(&t);
}

static struct time_case {
	const char *name;
	const char *old; // condition Ready before
	const char *want;
} time_cases[] = {
	{"time: nothing before", "{type: Ready}", NOW},
	{"time: the same status, for another reason",
	 "{type: Ready, status: 'True', reason: X, lastTransitionTime: '" BEFORE "'}", BEFORE},
	{"time: another status", "{type: Ready, status: 'False', reason: Ready, lastTransitionTime: '" BEFORE "'}", NOW},
	{"time: another type", "{type: Degraded, status: 'True', lastTransitionTime: '" BEFORE "'}", NOW},
	{"time: none before", "{type: Ready, status: 'True'}", NOW},
	{"time: nonsense before", "7", NOW},
};

static void test_time(void **state)
{
	const struct time_case *c = *state;
	struct trustee t;
	trustee_set_up(&t, &whole);
	assert_int_equal(json_object_set_new(t.object, "status", json_pack("{s:[o]}", "conditions", yaml_tree(c->old))), 0);
	json_t *status = trustee_status(&t.in);
	assert_text(json_text(find_condition(status, "Ready"), "lastTransitionTime"), c->want);
	json_decref(status);
	trustee_tear_down(&t);
}

// ---- What alternates while a kubelet tries again

static struct retry_case {
	const char *name;
	const char *states[3]; // of the container, one after the other
} retry_cases[] = {
	{"retry: an image",
	 {WAITS("ErrImagePull", "not found"), WAITS("ImagePullBackOff", "Back-off pulling image"),
	  WAITS("ErrImagePull", "not found")}},
	{"retry: an image, with a newer kubelet",
	 {WAITS("ErrImagePull", "not found"),
	  WAITS("ImagePullBackOff", "Back-off pulling image \"x\": ErrImagePull: not found"),
	  WAITS("ErrImagePull", "not found")}},
	{"retry: a crash",
	 {"restartCount: 1, state: " ENDED("1", "Error"),
	  "restartCount: 1, lastState: " ENDED("1", "Error") ", " WAITS("CrashLoopBackOff", "back-off 20s"),
	  "restartCount: 2, lastState: " ENDED("1", "Error") ", state: {running: {}}"}},
};

// Nothing is written but the first status.
static void test_retry(void **state)
{
	const struct retry_case *c = *state;
	struct status_case starts = {"", STARTS, "[" IN("state: {}") "]", {{0}}, "", {NULL}};
	struct trustee t;
	trustee_set_up(&t, &starts);
	for (size_t i = 0; i < COUNT(c->states); i++) {
		CLEANUP_FREE
		char *pods = xasprintf(
			"[{metadata: {name: d-1}, status: {containerStatuses: [{name: kbs, ready: false, %s}]}}]", c->states[i]);
		json_decref(t.pods);
		t.pods = yaml_tree(pods);
		t.in.pods = t.pods;
		json_t *status = trustee_status(&t.in);
		assert_int_equal(status != NULL, i == 0);
		if (status != NULL)
			assert_int_equal(json_object_set_new(t.object, "status", status), 0);
	}
	trustee_tear_down(&t);
}

// ---- Pods

static void test_trim(void **state)
{
	(void)state;
	json_t *pod = yaml_tree("{apiVersion: v1, kind: Pod, metadata: {name: a, namespace: ns, uid: u, resourceVersion: "
							"'1', labels: {b: c}, annotations: "
							"{d: e}, managedFields: [x], ownerReferences: [x]}, spec: {containers: [{name: kbs, env: "
							"[{name: A, value: secret}]}]}, "
							"status: {phase: Running, podIP: x, conditions: [{type: Initialized, status: 'True'}, "
							"{type: Ready, status: 'False', "
							"reason: R, message: M, lastTransitionTime: x}], containerStatuses: [{name: kbs, image: i, "
							"ready: false, restartCount: 2, "
							"state: {running: {startedAt: x}}, lastState: {terminated: {exitCode: 1, reason: Error, "
							"message: secret, finishedAt: x}}}]}}");
	json_t *trimmed = trustee_pod_trim(pod);
	json_t *want = yaml_tree(
		"{apiVersion: v1, kind: Pod, metadata: {name: a, namespace: ns, uid: u, resourceVersion: '1', labels: {b: c}, "
		"annotations: "
		"{d: e}}, status: {phase: Running, conditions: [{type: Ready, status: 'False', reason: R, message: M}], "
		"initContainerStatuses: [], containerStatuses: [{name: kbs, ready: false, restartCount: 2, state: {}, "
		"lastState: "
		"{terminated: {exitCode: 1, reason: Error}}}]}}");
	CLEANUP_FREE
	char *got = json_dumps(trimmed, JSON_SORT_KEYS);
	CLEANUP_FREE
	char *expected = json_dumps(want, JSON_SORT_KEYS);
	assert_string_equal(got, expected);
	json_decref(want);
	// Once more, it is the same.
	trimmed = trustee_pod_trim(trimmed);
	CLEANUP_FREE
	char *again = json_dumps(trimmed, JSON_SORT_KEYS);
	assert_string_equal(again, expected);
	json_decref(trimmed);
}

int main(void)
{
	static struct tests tests;
	ADD_TABLE(&tests, url_cases, test_url);
	ADD_TABLE(&tests, told_cases, test_told);
	ADD_TABLE(&tests, status_cases, test_status);
	ADD_TABLE(&tests, starting_cases, test_starting);
	tests_add(&tests, "all fields", test_whole, NULL);
	ADD_TABLE(&tests, change_cases, test_change);
	ADD_TABLE(&tests, time_cases, test_time);
	ADD_TABLE(&tests, retry_cases, test_retry);
	tests_add(&tests, "a trimmed pod", test_trim, NULL);
	return tests_run("trustee status", &tests);
}
