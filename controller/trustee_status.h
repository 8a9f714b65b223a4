// What the status of a TrusteeConfig and of a KbsConfig says. PURE
//
//   conditions:
//     Ready            True: guests can use it, reason Ready; NotForProduction with profile Permissive; or, where it runs and
//                      releases nothing to anybody, the reason of that remark. False: the reason of the worst remark of level
//                      error, even where what ran before keeps running; Pending where an object isn't made yet; ScaledToZero;
//                      or, where no pod is available, what is wrong with them (pod_trouble.h)
//     Progressing      True while pods are being replaced (RollingOut), False with reason Complete, with Stalled where that
//                      takes too long, and with Waiting where an error keeps the Deployment from being made
//     Degraded         True: the worst remark of level warning or error, what is wrong with pods beside those that are available
//                      and won't pass by itself, Stalled, or NotAllReplicas; else False with AsExpected
//     CertificateValid True (Valid, or the reason of a warning), False, or Unknown: PlainHTTP, or NotKnown before it was read
//     RouteAdmitted    True (Admitted), False, or Unknown: NotExposed, Pending, or the reason of a note
//     ResourcesSynced  True (Synced): all objects are as rendered; False: Drifted (driftPolicy Warn), what can't be applied, or
//                      Pending
//   objects          what was applied for it, as "Kind/name": one of these that isn't there was deleted by somebody
//   url              where guests reach it, once that is known and a pod has been available
//   observedGeneration, certificateExpiry, isReady, and of a TrusteeConfig kbsConfigRef and statusDescription
//
// A text stands whole in one condition: a remark's in the one that it is about (of the spec: Ready for an error, Degraded for a
// warning), pods' trouble in Ready where none is available. Others name the condition that tells it.
// Messages name the field or object, the value and the remedy, and hold nothing that changes by itself (counts, times), so
// that a status is written only where something has changed.
#ifndef COCO_CONTROLLER_TRUSTEE_STATUS_H
#define COCO_CONTROLLER_TRUSTEE_STATUS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "controller/remarks.h"

struct trustee_status_input {
	const json_t *object; // the TrusteeConfig or KbsConfig that it is the status of, as it is live
	const json_t *kbs;    // the KbsConfig: object itself, or the one that was made of it; NULL: there is none yet
	const struct remarks *remarks;
	const json_t *deployment; // live, or NULL
	const json_t *pods;       // an array of the Deployment's pods, or NULL
	bool https;               // it speaks HTTPS
	bool exposed;             // something is to expose it
	bool permissive;          // the profile, of a TrusteeConfig
	bool synced;              // every object was seen, or made, as rendered in this generation
	const json_t *objects;    // an array of "Kind/name", or NULL for none
	const char *url;          // NULL: not known
	int64_t not_after_s;      // of the certificate in use; 0: not known
	const char *now;          // RFC 3339: lastTransitionTime of what changes
};

// The status to apply, new; NULL where the object says all that already. All that the controller owns of status is in it,
// and nothing else: it is meant for server-side apply.
json_t *trustee_status(const struct trustee_status_input *in) __attribute__((warn_unused_result, nonnull));

// Whether it isn't Ready for no other reason than that its objects and pods are being made: nothing to be warned of.
bool trustee_is_starting(const struct trustee_status_input *in) __attribute__((warn_unused_result, nonnull));

// A condition of a status by its type; NULL where there is none. Borrowed.
const json_t *status_condition(const json_t *object, const char *type) __attribute__((nonnull(2)));

// What an object's condition Ready is about, whole, be it told by another condition: for an Event. Borrowed; NULL: it has
// none.
const char *trustee_status_told(const json_t *object);

// An informer's trim for pods: takes the pod. What is left is metadata (name, namespace, uid, resourceVersion, annotations,
// labels, deletionTimestamp) and what trustee_status() reads.
json_t *trustee_pod_trim(json_t *pod) __attribute__((warn_unused_result, nonnull, returns_nonnull));

#endif
